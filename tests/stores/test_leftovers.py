"""Stores that go away while a failed upload is being undone: they tell that something stays, and of what it failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from fanlight.errors import ClientGone, SizeMismatch, StoreUnreachable
from fanlight.settings import StoreSettings, StoresSettings
from fanlight.stores import Stores, create_stores
from fanlight.stores.driver import Added, Context, Leftovers, Source
from fanlight.stores.finding import BUILT_IN
from fanlight.stores.memory import Memory
from tests.bed.databases import needed
from tests.stores import s3_servers
from tests.stores import swift_bed as bed
from tests.stores.place import STORE, Bytes, new_id, open_one, pattern
from tests.stores.relay import Relay

MIB = 1 << 20


class Stopping(Memory):
    """Reads what was announced and no more; what it has it gives up only while it is there."""

    away: ClassVar[bool] = False

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        class Announced(Bytes):
            def __init__(self) -> None:
                super().__init__(bytes(source.read(size or 0)))

        return super().add(object_id, Announced(), size, context)

    def delete(self, url: str, context: Context | None = None) -> None:
        if self.away:
            raise StoreUnreachable
        super().delete(url, context)


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.setitem(BUILT_IN, "stopping", f"{__name__}:Stopping")
    return create_stores(StoresSettings(stores=(StoreSettings(id=STORE, type="stopping"),), default=STORE))


@pytest.mark.parametrize("away", [False, True])
def test_more_than_announced(stopping: Stores, monkeypatch: pytest.MonkeyPatch, away: bool) -> None:
    """Found out when the store has everything."""
    monkeypatch.setattr(Stopping, "away", away)
    with pytest.raises(Leftovers if away else SizeMismatch) as raised:
        stopping.put(STORE, "x", Bytes(b"abcd"), 3, algorithm="sha512")
    assert not away or isinstance(raised.value.__cause__, SizeMismatch)


class Leaving(Bytes):
    """The client and the store go at the same time: the network of this machine does."""

    def __init__(self, data: bytes, leave: Callable[[], object], error: BaseException) -> None:
        super().__init__(data)
        self._leave, self._error = leave, error

    def read(self, size: int = -1, /) -> bytes:
        block = super().read(min(size, 300_000))
        if not block:
            self._leave()
            raise self._error
        return block


def left(stores: Stores, relay: Relay, size: int) -> str:
    """Id of an image whose upload left something."""
    object_id, gone = new_id(), ClientGone()
    with pytest.raises(Leftovers) as raised:
        stores.put(STORE, object_id, Leaving(pattern(size), relay.cut, gone), None, algorithm="sha512")
    # What is being stored while the source fails may be what fails first.
    assert raised.value.__cause__ is gone or isinstance(raised.value.__cause__, StoreUnreachable)
    relay.mend()
    return object_id


@pytest.mark.services
def test_swift() -> None:
    auth = needed("FANLIGHT_TEST_SWIFT_V1")
    with bed.Container.made(bed.own()) as container, Relay(auth.removesuffix("/auth/v1.0")) as relay:
        options: dict[str, Any] = {
            "swift_store_auth_address": auth,
            "swift_store_auth_version": "1",
            "swift_store_user": "test:tester",
            "swift_store_key": "testing",
            "swift_store_endpoint": f"{relay.url}/v1/AUTH_test",
            "swift_store_container": container.name,
        }
        stores = open_one("swift", bed.small(options))
        object_id = left(stores, relay, 5_000_000)
        assert f"{object_id}-00001" in container.names()
        stores.discard_partial(STORE, object_id)
        assert container.names() == []


@pytest.mark.services
def test_s3() -> None:
    with s3_servers.swift().made() as bucket, Relay(bucket.endpoint) as relay:
        options = {
            **bucket.options(),
            "s3_store_host": relay.url,
            "s3_store_large_object_size": 5,
            "s3_store_large_object_chunk_size": 5,
        }
        stores = open_one("s3", options)
        object_id = left(stores, relay, 12 * MIB)
        assert bucket.contents() == [f"{object_id} (open)"]
        stores.discard_partial(STORE, object_id)
        assert bucket.contents() == []
