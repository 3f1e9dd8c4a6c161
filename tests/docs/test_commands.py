"""Commands of the documentation are run as they stand, in a scratch folder, next to a server where they need one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import bcrypt
import pytest

from tests.bed.servers import Config, Server
from tests.conftest import StartServer
from tests.docs.pages import COMMAND, ROOT, Block, block, blocks, pages

WRITTEN = "http://127.0.0.1:9292"
"""Where the pages say that the service is."""


class Run(NamedTuple):
    """How a block is run: next to a server of this flavor (None: no server), and what its output must match."""

    flavor: str | None = None
    shows: str = ""


RUNS = {
    "quickstart": Run("", r'status +\| active.*\| first .*"images":\['),
    "none-clients": Run("", r'"images":\['),
    "http-basic-clients": Run("http_basic", r'"images":\['),
    "fakeauth-client": Run("fakeauth", r'"images":\['),
    "policy-sample": Run(),
    "config-sample": Run(),
    "doctor": Run(shows=r"ok   options"),
    "health": Run("", "OK"),
}
"""Every block that is marked `tested`."""

NOT_RUN = {
    "make-run": "its own test, test_make_run.py",
    "make-test": "it is what runs this",
    "make-bench": "a quarter of an hour alone on the machine",
    "htpasswd": "Apache's program, which nothing here needs; the line below it does the same",
    "bcrypt-line": "asks for a password: run by tests/identity/test_docs.py",
    "user-and-folders": "makes a user and folders of the system",
    "bare-machine": "installs Debian packages",
    "systemd": "needs systemd as the first process",
    "journal": "needs systemd's journal",
    "drain-node": "needs several nodes behind a load balancer",
    "upgrade": "replaces an installed release by the next one",
    "add-a-route": "run on a copy of the tree by test_adding_a_route.py",
    "virtual-environment": "installs into /opt; `make run` does the same, see test_make_run.py",
}
"""Every block that is marked `not tested`, and why."""

PAGES_OF_THEIR_OWN = {
    "docs/adding-a-store.md": "tests/stores/test_vendor.py",
    "docs/databases.md": "tests/catalog/test_docs.py",
}
"""Pages that another test takes word by word."""

OURS = [page for page in pages() if page not in PAGES_OF_THEIR_OWN and not page.startswith("docs/stores/")]
"""Commands in docs/stores/ are for the back ends' own machines."""
FOUND = [one for page in OURS for one in blocks(page) if one.language == COMMAND]
PROGRAMS = "apt apt-get curl fanlight glance htpasswd make openstack pip python python3 systemctl"
LIKE_A_COMMAND = re.compile(rf"\s*(?:\$ |(?:{'|'.join(PROGRAMS.split())}) [-\w./]+( |$))")


def test_every_block_of_commands_has_a_mark() -> None:
    for one in FOUND:
        kind, _, name = one.mark.partition(": ")
        assert (kind == "tested" and name in RUNS) or (kind == "not tested" and name in NOT_RUN), f"{one}: {one.mark!r}"


def test_no_mark_is_stale() -> None:
    marks = {one.mark for page in OURS for one in blocks(page)}
    assert {f"tested: {name}" for name in RUNS} <= marks
    assert {name for name in NOT_RUN if f"not tested: {name}" not in marks} == set()
    for page, test in PAGES_OF_THEIR_OWN.items():
        assert page in (ROOT / test).read_text(encoding="utf-8"), f"{test} does not read {page}"


def test_commands_stand_in_blocks_of_commands_only() -> None:
    for page in OURS:
        text = pages()[page]
        inside = {line for one in blocks(page) for line in one.text.splitlines()}
        for number, line in enumerate(text.splitlines(), 1):
            indented = line.startswith(("    ", "\t"))
            assert line in inside or not indented or not LIKE_A_COMMAND.match(line), f"{page}:{number}: {line}"
        for one in blocks(page):
            if one.language != COMMAND:
                for line in one.text.splitlines():
                    assert not LIKE_A_COMMAND.match(line), f"{one}: a command outside of a console block: {line}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "scratch"
    made.mkdir()
    shutil.copy(ROOT / "README.md", made)
    return made


@pytest.mark.clients
@pytest.mark.parametrize("one", [one for one in FOUND if one.mark.startswith("tested: ")], ids=str)
def test_the_commands_do_what_the_page_says(one: Block, server: StartServer, folder: Path) -> None:
    run = RUNS[one.mark.removeprefix("tested: ")]
    url = start(server, run.flavor, folder).url if run.flavor is not None else WRITTEN
    out = shell(one.script().replace(WRITTEN, url), folder)
    assert re.search(run.shows, out, re.DOTALL), out


def start(server: StartServer, flavor: str | None, folder: Path) -> Server:
    config: Config = {}
    if flavor == "http_basic":
        (folder / "htpasswd").write_bytes(b"alice:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)) + b"\n")
        (folder / "users.ini").write_text(block("docs/identity.md", "[alice]").text)
        config = {"fanlight": {"htpasswd_file": folder / "htpasswd", "mapping_file": folder / "users.ini"}}
    return server(flavor=flavor or None, config=config)


def shell(script: str, folder: Path, seconds: float = 100.0) -> str:
    """Output of a script, run in a folder with the programs of this virtual environment; it must succeed."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "FANLIGHT_", "PYTHON"))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**kept, "PATH": programs, "HOME": str(folder), "no_proxy": "127.0.0.1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout
