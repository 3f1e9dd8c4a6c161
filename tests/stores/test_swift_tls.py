"""Swift and Keystone over TLS: with a CA of one's own, not verified at all, and refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import BadStoreConfiguration, StoreUnreachable
from fanlight.stores.swift import Swift
from tests.bed.databases import needed
from tests.stores import swift_bed as bed
from tests.stores.place import STORE, Bytes, pattern
from tests.stores.relay import Relay, certificate_in

SEGMENT = 1_024_000


def configured(options: dict[str, Any]) -> Swift:
    store = Swift(STORE, bed.small(options))
    store.configure()
    store.configure_add()
    return store


def read(store: Swift, url: str) -> bytes:
    opened = store.open(url)
    try:
        return b"".join(map(bytes, opened.blocks))
    finally:
        opened.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["own", "keystone"])
def options(request: pytest.FixtureRequest, certificate: Path) -> Iterator[dict[str, Any]]:
    """Of an account whose logins and whose storage are behind fronts with that certificate."""
    with ExitStack() as stack:
        if request.param == "own":
            auth, storage = needed("FANLIGHT_TEST_SWIFT_V1"), "/v1/AUTH_test"
            login = {"swift_store_auth_version": "1", "swift_store_user": "test:tester", "swift_store_key": "testing"}
            server = auth.removesuffix("/auth/v1.0")
            container = stack.enter_context(bed.Container.made(bed.own()))
        else:
            auth, server = needed("FANLIGHT_TEST_KEYSTONE"), needed("FANLIGHT_TEST_SWIFT_V3")
            user = stack.enter_context(bed.User.made())
            login = {"swift_store_user": f"{user.project}:{user.name}", "swift_store_key": user.password}
            storage = bed.storage("", user.project_id)
            container = stack.enter_context(bed.Container.made(user.client()))
        front, before = (stack.enter_context(Relay(url, certificate)).url for url in (server, auth))
        yield {
            "swift_store_auth_address": before + "/" + auth.split("/", 3)[3],
            "swift_store_endpoint": front + storage,
            "swift_store_container": container.name,
            **login,
        }


@pytest.mark.services
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("insecure", [False, True])
def test_round_trip(options: dict[str, Any], certificate: Path, insecure: bool) -> None:
    how = {"swift_store_auth_insecure": True} if insecure else {"swift_store_cacert": str(certificate)}
    store = configured({**options, **how})
    for size in (1000, 2 * SEGMENT + 1):
        url = store.add(f"image{size}", Bytes(pattern(size)), size).url
        assert url.startswith("swift+https://")
        assert store.get_size(url) == size
        assert read(store, url) == pattern(size)
        store.delete(url)


@pytest.mark.services
@pytest.mark.parametrize("own", [False, True])
def test_with_other_cas(options: dict[str, Any], own: bool, tmp_path: Path) -> None:
    """Those of the library's own, and one that has nothing to do with it."""
    ca = str(certificate_in(tmp_path)) if own else None
    with pytest.raises(StoreUnreachable):
        configured({**options, "swift_store_cacert": ca}).add("image", Bytes(b"x"), 1)


@pytest.mark.services
def test_storage_is_verified_as_well(options: dict[str, Any], certificate: Path, tmp_path: Path) -> None:
    with Relay(needed("FANLIGHT_TEST_SWIFT_V3"), certificate_in(tmp_path)) as front:
        storage = f"{front.url}/{options['swift_store_endpoint'].split('/', 3)[3]}"
        more = {"swift_store_endpoint": storage, "swift_store_cacert": str(certificate)}
        with pytest.raises(StoreUnreachable):
            configured({**options, **more}).add("image", Bytes(b"x"), 1)


def test_a_ca_file_that_is_missing(tmp_path: Path) -> None:
    """Found when the store is configured, not at the first image."""
    with pytest.raises(BadStoreConfiguration, match="CA file"):
        configured({"swift_store_cacert": str(tmp_path / "missing")})
