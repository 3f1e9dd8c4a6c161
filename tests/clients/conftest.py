"""Fixtures of this folder.

cloud   a service with several stores, without identity and with Keystone in turn
disks   a real raw disk and a real qcow2
mark    a name that nobody else uses: tests share a service
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bed.servers import Server
from tests.clients.cloud import STORES, Cloud, Disks

KINDS = [pytest.param("none"), pytest.param("keystone", marks=pytest.mark.services)]
FindCloud = Callable[[str], Cloud]


@pytest.fixture(scope="session")
def clouds(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, region: str
) -> Iterator[FindCloud]:
    """One cloud of each kind, started when the first test asks."""
    made: dict[str, Cloud] = {}

    def find(kind: str) -> Cloud:
        if kind not in made:
            folder = tmp_path_factory.mktemp(f"cloud-{kind}")
            made[kind] = _start(folder, request, f"{region}-clients") if kind == "keystone" else _start(folder)
        return made[kind]

    yield find
    for one in made.values():
        one.close()
        one.server.end()


def _start(folder: Path, request: pytest.FixtureRequest | None = None, region: str = "") -> Cloud:
    keystone = request.getfixturevalue("keystone") if request else None
    config: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": ", ".join(f"{store}:file" for store in STORES)},
        "glance_store": {"default_backend": STORES[0]},
        **{store: {"filesystem_store_datadir": str(folder / store)} for store in STORES},
    }
    if keystone:
        config["keystone_authtoken"] = keystone.configuration()
    server = Server(folder / "server", flavor="keystone" if keystone else None, config=config).start()
    if keystone:
        keystone.publish(server.url, region)
    return Cloud(server, folder, keystone, region)


@pytest.fixture(params=KINDS)
def cloud(request: pytest.FixtureRequest, clouds: FindCloud) -> Iterator[Cloud]:
    one = clouds(request.param)
    since = one.server.log_size()
    yield one
    one.close()
    assert not one.server.unexpected_tracebacks(since)


@pytest.fixture(scope="session")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Disks:
    return Disks(tmp_path_factory.mktemp("disks"))


@pytest.fixture
def mark() -> str:
    return f"mark-{uuid.uuid4().hex[:12]}"
