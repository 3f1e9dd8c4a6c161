"""What a driver's test module supplies to the suite, and what the suite's tests work with."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from fanlight.errors import ObjectNotFound
from fanlight.model import Caller, Location
from fanlight.settings import StoreSettings, StoresSettings
from fanlight.stores import Stores, create_stores
from fanlight.stores.driver import Source

MIB = 1 << 20
RecordProperty = Callable[[str, object], None]
"""pytest's fixture `record_property`."""
STORE = "conformance"
"""Id of the store under test."""

REASONS = {
    "local": "nothing of it lies behind a network",
    "no permissions": "it has no permissions that could be missing",
    "no quota": "it has no limit that could be reached",
    "no waiting": "nothing of it can be waited for",
    "shared": "the fault would hit everybody who uses the same server",
    "no ranges": "it reads whole objects only, and says so",
    "no ACLs": "it has no access control lists, and says so",
    "nothing in use": "it lets anything be deleted at any time",
    "one use": "what is in use cannot be read meanwhile; that it stays is the driver's own test",
}
"""Names of reasons why a fault cannot be made for a store, or something cannot be had of it."""


class Backend:
    """A real back end, and a private place in it: a container, a prefix, a folder. Subclass it in the driver's test."""

    type = ""
    """Type of the store, as in `enabled_backends`."""
    block = MIB
    """Bytes that the driver moves at a time, or the size of a part under the options of `small`. Round trips are tried
    around this size, and with three times as much."""
    memory = 64 * MIB
    """Bytes by which a process may grow while it adds and reads an object of any size; 0: it keeps whole objects in
    memory, and the suite holds it to that."""
    secrets: Sequence[str] = ()
    """Texts that must never show: passwords, keys, tokens, also as they look in a URL."""
    malformed: Sequence[str] = ()
    """URLs with one of the driver's schemes that must be refused."""

    def options(self) -> Mapping[str, Any]:
        """Options of a store that works, over the private place; those not named have their defaults."""
        raise NotImplementedError

    def small(self) -> Mapping[str, Any]:
        """The same with which objects of `block` bytes and more are large: they go in parts, segments, extensions."""
        return self.options()

    def leftovers(self) -> Sequence[str]:
        """All that lies in the place now: objects, segments, open uploads, snapshots, volumes, temporary files."""
        raise NotImplementedError

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        """Options of a store that fails, or a name of REASONS.

        `down`: nothing listens where its server should be. `slow`: something listens and never answers. `denied`:
        nothing may be added. `full`: there is room for less than 8 MiB. Give `denied` and `full` places of their own.
        """
        raise NotImplementedError

    def absent(self) -> str:
        """URL of an object that is not there. By default one that was."""
        return ""

    def seed(self, data: bytes) -> str:
        """URL of an object with this data, made past the driver; only drivers that cannot add are asked."""
        raise NotImplementedError

    def busy(self, url: str) -> AbstractContextManager[None] | str:
        """Have an object used (attached, cloned) as long as the context lasts; or a name of REASONS."""
        return "nothing in use"

    def spellings(self, url: str) -> Sequence[str]:
        """Other URLs under which Glance may have stored the same object."""
        return ()

    def context(self) -> Caller | None:
        """In whose name everything is done."""
        return None


def open_one(kind: str, options: Mapping[str, Any]) -> Stores:
    """Stores that hold one store under test."""
    one = StoreSettings(id=STORE, type=kind, options=dict(options))
    return create_stores(StoresSettings(stores=(one,), default=STORE))


class Place:
    """The store under test, and what was put into it, which is removed at the end."""

    def __init__(self, backend: Backend, options: Mapping[str, Any]) -> None:
        self.backend = backend
        self._before = set(backend.leftovers())
        self.stores = open_one(backend.type, options)
        self.driver = self.stores.get(STORE)
        self.context = backend.context()
        self._put: list[Location] = []

    def put(self, source: Source, size: int | None, object_id: str | None = None, **more: Any) -> Location:
        """Add an object and check what was measured; it is removed at the end."""
        stored = self.stores.put(
            STORE, object_id or new_id(), source, size, algorithm="sha512", context=self.context, **more
        )
        location = Location(url=stored.url, metadata=stored.metadata)
        self._put.append(location)
        if isinstance(source, Bytes):
            assert stored.size == len(source.data)
            assert stored.checksum == hashlib.md5(source.data, usedforsecurity=False).hexdigest()
            assert stored.os_hash_algo == "sha512"
            assert stored.os_hash_value == hashlib.sha512(source.data).hexdigest()
        assert stored.metadata["store"] == STORE
        return location

    def having(self, data: bytes) -> Location:
        """An object with this data, added or, where the driver cannot, made past it."""
        if self.driver.traits.add:
            return self.put(Bytes(data), len(data))
        return Location(url=self.backend.seed(data), metadata={"store": STORE})

    def read(self, location: Location, offset: int = 0, length: int | None = None) -> bytes:
        """What comes, which must be as much as was said."""
        reader = self.stores.open(location, offset, length, context=self.context)
        try:
            data = b"".join(bytes(block) for block in reader)
        finally:
            reader.close()
        assert len(data) == reader.size
        return data

    def delete(self, location: Location) -> None:
        self.stores.delete(location, context=self.context)

    def absent(self) -> Location:
        """Where an object is not, though it could be."""
        url = self.backend.absent()
        if url:
            return Location(url=url, metadata={"store": STORE})
        location = self.put(Bytes(b"soon gone"), 9)
        self.delete(location)
        return location

    def leftovers(self) -> list[str]:
        """What lies there that did not when the test began."""
        return sorted(set(self.backend.leftovers()) - self._before)

    def clear(self) -> None:
        """Remove what is still there of what was put."""
        for location in self._put:
            try:
                self.delete(location)
            except ObjectNotFound:
                continue


def new_id() -> str:
    return str(uuid.uuid4())


def pattern(size: int) -> bytes:
    """Bytes of which no two blocks are alike, so that one out of place shows."""
    piece = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(997))
    return (piece * (size // len(piece) + 1))[:size]


class Bytes:
    """A source of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        end = len(self.data) if size < 0 else min(len(self.data), self._at + size)
        block = self.data[self._at : end]
        self._at = end
        return block


class Pieces(Bytes):
    """The same in pieces of odd sizes, as they come from a network."""

    def read(self, size: int = -1, /) -> bytes:
        return super().read(min(65_537, size) if size >= 0 else 65_537)


class Failing(Bytes):
    """Raises `error` once `data` is through."""

    def __init__(self, data: bytes, error: BaseException) -> None:
        super().__init__(data)
        self._error = error

    def read(self, size: int = -1, /) -> bytes:
        block = super().read(size)
        if not block:
            raise self._error
        return block
