"""A location with credentials names the server to log in at: one of ours, or clients choose whom we ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.stores.listening import Listener


@pytest.fixture
def known() -> Iterator[Listener]:
    with Listener() as one:
        yield one


@pytest.fixture
def service(server: StartServer, known: Listener) -> Server:
    config: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": "local:file, objects:swift", "show_multiple_locations": True},
        "glance_store": {"default_backend": "local"},
        "objects": {
            "swift_store_auth_address": f"{known.url}/auth/v1.0",
            "swift_store_auth_version": "1",
            "swift_store_user": "account:user",
            "swift_store_key": "key",
        },
    }
    return server(config=config)


def named(service: Server, url: str) -> int:
    """The status of the answer to who names this URL for a new image."""
    member = service.as_member("p")
    image_id = member.create()["id"]
    answer = member.change(image_id, {"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}})
    assert member.show(image_id)["status"] == "queued"
    return answer.status_code


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "user@127.0.0.1"])
def test_nobody_else_is_asked(service: Server, host: str) -> None:
    with Listener() as other:
        for scheme in ("swift+http", "swift", "swift+https", "SWIFT+HTTP"):
            for path in ("auth/v1.0/", "v3/", ""):
                url = f"{scheme}://account%3Auser:key@{host}:{other.port}/{path}container/object"
                assert named(service, url) == 400
        assert other.requests == []


def test_ours_is_asked(service: Server, known: Listener) -> None:
    """It is no Swift, so there is nothing to be had of it."""
    url = f"swift+http://account%3Auser:key@127.0.0.1:{known.port}/auth/v1.0/container/object"
    assert named(service, url) in (400, 503)
    assert known.requests
