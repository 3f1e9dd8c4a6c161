"""A whole service for the tables: real HTTP against `fanlight serve` with identity from headers (mode `trusted`)."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CALLERS = {
    "admin": {"x-user-id": "adm", "x-project-id": "proj-admin", "x-roles": "admin,member,reader"},
    "alice": {"x-user-id": "alice", "x-project-id": "proj-a", "x-roles": "member,reader"},
    "bob": {"x-user-id": "bob", "x-project-id": "proj-b", "x-roles": "member,reader"},
}


class Reply(NamedTuple):
    """What came back. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Sends requests as one of `CALLERS` (None: as nobody), exactly as given, over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str | None] | None = None,
        who: str | None = "alice",
    ) -> Reply:
        raw = body.encode() if isinstance(body, str) else body
        wanted: dict[str, str | None] = {"accept": "application/json"}
        if who:
            wanted |= {"x-identity-status": "Confirmed", **CALLERS[who]}
        if raw is not None:
            wanted["content-length"] = str(len(raw))
        wanted |= headers or {}
        self._connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in wanted.items():
            if value is not None:
                self._connection.putheader(name, value)
        self._connection.endheaders(raw)
        response = self._connection.getresponse()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())

    def create(self, who: str = "alice", **fields: Any) -> str:
        """Make an image and return its id."""
        reply = self.ask("POST", "/v2/images", json.dumps(fields), who=who)
        assert reply.status == 201, reply
        identifier: str = reply.json()["id"]
        return identifier

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="session")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running service."""
    folder = tmp_path_factory.mktemp("v2")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    config = folder / "glance-api.conf"
    config.write_text("[paste_deploy]\nflavor = trusted\n")
    log = (folder / "log").open("wb")
    command = [sys.executable, "-m", "fanlight", "serve", "--config-file", str(config), "--data-dir", str(folder / "d")]
    process = subprocess.Popen([*command, "--port", str(number)], stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(number, process, folder / "log")
        yield number
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the service did not start: {log.read_text()}")


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    client = Client(port)
    yield client
    client.close()
