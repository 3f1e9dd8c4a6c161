"""A simulated vCenter of a test's own, which can be told to end sessions, to run full, or to stop."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.bed.databases import needed

USER, PASSWORD = "user", "open&<sesame>"
START_SECONDS = 30.0


class Simulator:
    """scripts/services/vcsim on an address of its own, with its files in `folder`; in a `with` block it runs."""

    def __init__(self, folder: Path, files: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = free_address()
        self.ca = folder / "cert.pem"
        self.log = folder / "vcsim.log"
        self.files = files or folder / "files"
        self.files.mkdir(exist_ok=True)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Simulator:
        key = self._folder / "key.pem"
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        words += ["-addext", f"subjectAltName=IP:{self.host},DNS:localhost", "-keyout", str(key), "-out", str(self.ca)]
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        self.start()
        return self

    def start(self) -> None:
        """Start, also again: on the same address, with new datastores."""
        words = [needed("FANLIGHT_TEST_VSPHERE_PROGRAM"), "-address", self.host, "-control", str(self._control)]
        words += ["-cert", str(self.ca), "-key", str(self._folder / "key.pem")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, env={"TMPDIR": str(self.files)})
        deadline = time.monotonic() + START_SECONDS
        while not _listens(self.host):
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)

    def pause(self) -> None:
        """It goes on listening, and answers no more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def tell(self, word: str) -> None:
        """Leave a word to be obeyed once: front.go says which there are."""
        self._control.write_text(word)

    @property
    def obeyed(self) -> bool:
        return not self._control.exists()

    @property
    def _control(self) -> Path:
        return self._folder / "control"

    def requests(self, begin: str) -> list[str]:
        """Lines of its log about requests that begin like this: `PUT /folder/`."""
        return [line for line in self.log.read_text().splitlines() if begin in line]

    def stored(self) -> list[str]:
        """Names of all files in its datastores, and their folders."""
        found = sorted(self.files.glob("govcsim-DC0-LocalDS_*/**/*"))
        return [str(path.relative_to(self.files).as_posix()).partition("/")[2] for path in found if path.is_file()]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_address() -> str:
    """A loopback address on whose port 443 nothing listens."""
    while True:
        host = f"127.{random.randint(20, 219)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        if not _listens(host):
            return host


def _listens(host: str) -> bool:
    with socket.socket() as one:
        one.settimeout(5)
        return one.connect_ex((host, 443)) == 0
