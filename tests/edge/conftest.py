"""A real server process for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .raw import SHORT, Server, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server with these options (see bare_app); it ends with the test."""
    servers: list[Server] = []

    def start_one(**options: Any) -> Server:
        servers.append(Server(options, tmp_path / f"server-{len(servers)}.log"))
        return servers[-1]

    yield start_one
    for server in servers:
        server.end()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker with short limits, shared by the tests of a module."""
    server = Server({"limits": SHORT}, tmp_path_factory.mktemp("strict") / "server.log")
    assert server.port
    yield server
    server.end()
