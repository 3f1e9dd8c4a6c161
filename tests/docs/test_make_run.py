"""`make run` in a fresh checkout: it installs, serves, what it prints works, Ctrl-C ends it and nothing stays."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_commands import shell
from tests.docs.tree import copy_to, files

pytestmark = [pytest.mark.slow, pytest.mark.clients, pytest.mark.timeout(900)]
INSTALL_SECONDS = 600.0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clean copy, in which nothing has been made yet."""
    top = tmp_path / "checkout"
    copy_to(top)
    return top


class Made:
    """A running `make run`, in a process group of its own as in a terminal."""

    def __init__(self, checkout: Path, port: int) -> None:
        self.checkout = checkout
        self.log = checkout.parent / "log"
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("FANLIGHT_", "MAKE", "PYTHON"))
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["make", "run", f"PORT={port}", f"DATA_DIR={checkout.parent / 'data'}"],
                cwd=checkout,
                env={**kept, "no_proxy": "127.0.0.1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> str:
        """All that it has said, once it says that it is ready."""
        end = time.monotonic() + INSTALL_SECONDS
        while "/v2/images\n" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.2)
        return self.log.read_text()

    def left(self) -> list[int]:
        """Processes that have the checkout on their command line or as their folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    about = (entry / "cmdline").read_bytes() + os.fsencode(os.readlink(entry / "cwd"))
                except OSError:  # it has ended, or is somebody else's
                    continue
                if os.fsencode(self.checkout) in about:
                    found.append(int(entry.name))
        return found

    def end(self) -> None:
        if self.left():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


@pytest.fixture
def made(checkout: Path) -> Iterator[Made]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    one = Made(checkout, port)
    yield one
    one.end()


def test_the_first_minutes_of_a_user(made: Made, tmp_path: Path) -> None:
    said = made.wait_until_ready()
    commands = re.findall(r"^  ((?:openstack|glance|curl) (?:.*\\\n)*.*)$", said, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["openstack", "glance", "curl"]
    (tmp_path / "FILE").write_bytes(b"an image")
    out = shell("\n".join(commands), tmp_path)
    assert re.search(r"status +\| active", out)
    assert re.search(r"\| NAME ", out)
    assert '"images":[' in out
    assert [path.read_bytes() for path in (tmp_path / "data" / "images").iterdir()] == [b"an image"]

    (service,) = [pid for pid in made.left() if _parent(pid) == made.process.pid]
    os.kill(service, signal.SIGINT)
    assert made.process.wait(60) == 0, made.log.read_text()
    assert made.left() == []
    added = {path.name for path in made.checkout.iterdir()} - {name.parts[0] for name in files()}
    assert {name for name in added if not name.endswith(".egg-info")} <= {".venv", ".state", "__pycache__"}


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
