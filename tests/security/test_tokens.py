"""Tokens that end while data comes (OSSA-2015-020), with the real Keystone."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.bed.callers import Client
from tests.bed.keystone import Keystone
from tests.bed.servers import Server
from tests.conftest import StartServer

BLOCK = b"x" * 300_000


class Gone(Exception):
    """The client ends its request in the middle."""


@pytest.fixture
def one(server: StartServer, keystone: Keystone) -> Server:
    # Without a cache a revoked token is refused at once.
    options = {**keystone.configuration(), "token_cache_time": -1}
    return server(flavor="keystone", config={"keystone_authtoken": options})


def revoke(keystone: Keystone, token: str) -> None:
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    answer = httpx.delete(f"{keystone.url}/auth/tokens", headers=headers, timeout=30, trust_env=False)
    assert answer.status_code == 204


def data(keystone: Keystone, token: str, cut: bool) -> Iterator[bytes]:
    """A body in whose middle the token is revoked."""
    yield BLOCK
    revoke(keystone, token)
    if cut:
        raise Gone
    yield BLOCK


def member(one: Server, token: str) -> Client:
    return one.client({"X-Auth-Token": token})


@pytest.mark.parametrize("cut", [False, True])
def test_ossa_2015_020_a_token_revoked_while_data_comes(one: Server, keystone: Keystone, cut: bool) -> None:
    token = keystone.token("demo")
    image = member(one, token).create()
    url = f"/v2/images/{image['id']}"
    if cut:
        with pytest.raises(Gone):
            member(one, token).upload(image["id"], data(keystone, token, cut))
        one.wait_for_log(f"PUT {url}/file")
    else:
        # Whoever may begin may end: what was asked at the beginning holds to the end.
        assert member(one, token).upload(image["id"], data(keystone, token, cut)).status_code == 204
    for method in ("GET", "DELETE"):
        assert member(one, token).request(method, url).status_code == 401
    again = member(one, keystone.token("demo"))
    shown = again.show(image["id"])
    assert (shown["status"], shown["size"]) == (("queued", None) if cut else ("active", 2 * len(BLOCK)))
    assert one.files() == ({} if cut else {image["id"]: 2 * len(BLOCK)})
    assert again.delete(url).status_code == 204
    assert one.files() == {}
    assert one.rows("SELECT * FROM fanlight_leases") == []
