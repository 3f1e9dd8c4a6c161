"""The portable part of all stores, written once; drivers do what is different.

Operations come in by `Stores`: it finds the store, counts, hashes and bounds what passes, checks ranges, undoes what
failed, and makes of everything that goes wrong a `StoreError`. It knows nothing of HTTP, catalogue or settings files.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Protocol

from msgspec.structs import replace

from fanlight.errors import (
    AclsUnsupported,
    BadStoreConfiguration,
    LimitExceeded,
    MalformedLocation,
    ObjectNotFound,
    RangeNotSatisfiable,
    RangeUnsupported,
    SizeMismatch,
    StoreDeleteUnsupported,
    StoreError,
    StoreUnreachable,
    UnknownScheme,
    UnknownStore,
)
from fanlight.model import Location, Stored
from fanlight.stores.driver import Context, Opened, Source, Store, leave_to_discard
from fanlight.stores.hashing import Lane
from fanlight.stores.held import Held
from fanlight.stores.sealing import Seal

LOG = logging.getLogger(__name__)
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}", re.ASCII)


class Observer(Protocol):
    """Sees every byte once, in order, before it is stored; what it raises ends the upload."""

    def update(self, block: bytes | memoryview) -> None: ...


class Reader:
    """An open object: iterate for its blocks, then close. `size` bytes will come; `file` as in `Opened`.

    The first block is read at once, unless a file is there: many back ends tell only then that something is wrong.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self.size = opened.size
        self.file = opened.file
        self._blocks = opened.blocks
        if opened.file is None:
            try:
                self._blocks = chain([next(opened.blocks)], opened.blocks)
            except StopIteration:
                self._blocks = iter(())
            except BaseException:
                opened.close()
                raise

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return self._blocks

    def close(self) -> None:
        """Give everything back. Idempotent."""
        self._opened.close()


class Stores:
    """All configured stores of this process. URLs of locations are as the catalogue keeps them: see sealing.py."""

    def __init__(self, held: Mapping[str, Held], default: str, seal: Seal | None = None) -> None:
        self._held = held
        self.default = default
        self.weights = {store_id: one.weight for store_id, one in held.items()}
        self._seal = seal
        self._hashing = ThreadPoolExecutor(max(4, 2 * (os.cpu_count() or 1)), thread_name_prefix="hashing")

    def ids(self) -> tuple[str, ...]:
        """The ids of all stores, in the order of the configuration."""
        return tuple(self._held)

    def get(self, store_id: str) -> Store:
        """The store of that id, configured or not. Raises UnknownStore."""
        return self._one(store_id).store

    def writable(self, store_id: str) -> bool:
        """Whether objects can be added now. Raises UnknownStore."""
        try:
            self._one(store_id).addable()
        except UnknownStore:
            raise
        except StoreError:
            return False
        return True

    def check(self, store_id: str) -> str:
        """Reach a store and tell in one line how it is. Raises StoreError."""
        return self._one(store_id).readable().check()

    def planned_url(self, store_id: str, object_id: str) -> str | None:
        """Where an object will lie, if that is known before. Raises UnknownStore, StoreReadOnly, StoreUnreachable."""
        url = self._one(store_id).addable().planned_url(object_id)
        return url if url is None or self._seal is None else self._seal.close(url)

    def placed(self, location: Location) -> Location:
        """A location with the store that it is in.

        Rows from before stores had ids name none, or one that has gone from the configuration: then it is the first
        whose URLs look like this one, if any does. Nothing is asked.
        """
        if location.metadata.get("store") in self._held:
            return location
        try:
            url = self._plain(location)
        except BadStoreConfiguration:
            return location
        for store_id, one in self._held.items():
            if one.reads and one.store.owns(url):
                return replace(location, metadata={**location.metadata, "store": store_id})
        return location

    def shown(self, location: Location) -> Location:
        """A location as who may see it reads it: `placed`, its URL plain. Raises BadStoreConfiguration (key)."""
        location, url = self.placed(location), self._plain(location)
        held = self._held.get(location.metadata.get("store", ""))
        if held is None:
            # In none of our stores; what its form hides, one of the same kind knows.
            scheme = url.partition("://")[0].lower()
            held = next((one for one in self._held.values() if scheme in one.store.schemes), None)
        return replace(location, url=url if held is None else held.store.shown(url))

    def _plain(self, location: Location) -> str:
        return location.url if self._seal is None else self._seal.open(location.url)

    def put(
        self,
        store_id: str,
        object_id: str,
        source: Source,
        size: int | None,
        *,
        algorithm: str,
        cap: int | None = None,
        observers: Iterable[Observer] = (),
        context: Context | None = None,
    ) -> Stored:
        """Store what `source` gives and measure it on the way. `cap`: bytes allowed.

        Raises SizeMismatch (not `size` bytes), LimitExceeded (more than `cap`), StoreError, and what `source` and
        `observers` raise; nothing is stored then, or it is Leftovers.
        """
        store = self._one(store_id).addable()
        _require_plain(object_id)
        lanes = [Lane(self._hashing, "md5"), Lane(self._hashing, algorithm)]
        meter = _Meter(source, size, cap, lanes, tuple(observers))
        added = store.add(object_id, meter, size, context)
        try:
            meter.finish(added.size)
            checksum, multihash = [lane.hexdigest() for lane in lanes]
            if added.md5 not in (None, checksum):
                raise StoreError("The store has other bytes than were sent.")
        except BaseException as error:
            _remove(store, added.url, context, error)
            raise
        return Stored(
            url=added.url if self._seal is None else self._seal.close(added.url),
            size=added.size,
            checksum=checksum,
            os_hash_algo=algorithm,
            os_hash_value=multihash,
            metadata={**added.metadata, "store": store_id},
        )

    def open(
        self, location: Location, offset: int = 0, length: int | None = None, context: Context | None = None
    ) -> Reader:
        """Open `length` bytes (None: to the end) from `offset`. Raises RangeNotSatisfiable, StoreError."""
        store, url = self._place(location, context)
        if (offset or length is not None) and not store.traits.ranges:
            raise RangeUnsupported
        if offset < 0 or (length is not None and length < 0):
            raise RangeNotSatisfiable
        opened = store.open(url, offset, length, context)
        if length not in (None, opened.size):
            opened.close()
            raise StoreError("The store gives another number of bytes than was asked for.")
        return Reader(opened)

    def size(self, location: Location, context: Context | None = None) -> int:
        """Size of an object in bytes. Raises StoreError."""
        store, url = self._place(location, context)
        return store.get_size(url, context)

    def place(self, url: str, context: Context | None = None) -> tuple[Location, int]:
        """The location that a plain URL of a client's is, as the catalogue keeps it, and the size of the object there.

        Raises UnknownScheme, ObjectNotFound, StoreError.
        """
        store, size = self._search(url, context, named=True)
        return Location(url=url if self._seal is None else self._seal.close(url), metadata={"store": store.id}), size

    @property
    def schemes(self) -> frozenset[str]:
        """The schemes of all URLs that some store takes."""
        return frozenset(scheme for one in self._held.values() for scheme in one.store.schemes)

    def delete(self, location: Location, context: Context | None = None) -> None:
        """Remove an object. Raises ObjectNotFound, StoreDeleteUnsupported, and what the driver does."""
        store, url = self._place(location, context)
        if not store.traits.delete:
            raise StoreDeleteUnsupported
        store.delete(url, context)

    @property
    def knows_acls(self) -> bool:
        """Whether any store has access control lists."""
        return any(one.store.traits.acls for one in self._held.values())

    def set_acls(
        self,
        location: Location,
        public: bool,
        readers: Collection[str],
        writers: Collection[str] = (),
        context: Context | None = None,
    ) -> None:
        """Tell the back end which projects may read and write an object. Raises AclsUnsupported, StoreError."""
        store, url = self._place(location, context)
        if not store.traits.acls:
            raise AclsUnsupported
        store.set_acls(url, public, readers, writers, context)

    def discard_partial(self, store_id: str, object_id: str) -> None:
        """Remove what an upload that died left of an object, in parts or whole. Any number of times."""
        _require_plain(object_id)
        self._one(store_id).readable().discard(object_id)

    def order(self, locations: Sequence[Location], prefer: Sequence[str] = ()) -> list[Location]:
        """Locations in the order in which to try them: stores of `prefer` first, then heavier before lighter."""
        if len(locations) < 2:
            return list(locations)
        rank = {store_id: number for number, store_id in enumerate(prefer)}

        def key(location: Location) -> tuple[int, int]:
            store_id = self.placed(location).metadata.get("store", "")
            return rank.get(store_id, len(rank)), -self.weights.get(store_id, 0)

        return sorted(locations, key=key)

    def _one(self, store_id: str) -> Held:
        try:
            return self._held[store_id]
        except KeyError:
            raise UnknownStore(f"There is no store {store_id}.") from None

    def _place(self, location: Location, context: Context | None) -> tuple[Store, str]:
        """The store that a location is in, by the id that it carries, and the URL there."""
        url = self._plain(location)
        if "://" not in url:
            raise MalformedLocation(
                "The location is no URL. If it is encrypted, [DEFAULT]metadata_encryption_key is missing."
            )
        held = self._held.get(location.metadata.get("store", ""))
        if held is None:
            return self._search(url, context)[0], url
        return held.store if held.reads else held.readable(), url

    def _search(self, url: str, context: Context | None, *, named: bool = False) -> tuple[Store, int]:
        """The store that a URL is in when no id tells, and the size of the object. `named`: by a client, just now.

        Rows from before there were ids have none, an id may have gone from the configuration, and clients give none:
        then it is the first store whose URLs look like this one and that has the object. While one of them does not
        work, nobody can tell: StoreUnreachable.
        """
        scheme = url.partition("://")[0]
        failure: StoreError = UnknownScheme()
        for one in self._held.values():
            if scheme.lower() not in one.store.schemes:
                continue
            try:
                store = one.readable()
                if store.owns(url) and (not named or store.may_be_named(url)):
                    return store, store.get_size(url, context)
            except ObjectNotFound as error:
                failure = failure if isinstance(failure, StoreUnreachable) else error
            except StoreUnreachable as error:
                failure = error
        raise failure


class _Meter:
    """The source as a driver reads it: everything that passes is counted, bounded, observed and hashed."""

    def __init__(
        self, source: Source, size: int | None, cap: int | None, lanes: Sequence[Lane], observers: Sequence[Observer]
    ) -> None:
        self.count = 0
        self._ended = False
        self._source = source
        self._size = size
        self._cap = cap
        self._lanes = lanes
        self._observers = observers

    def read(self, size: int = -1, /) -> bytes | memoryview:
        block = self._source.read(size)
        if not len(block):
            if self._size is not None and self.count != self._size:
                raise SizeMismatch(f"{self._size} bytes were announced, {self.count} came.")
            self._ended = True
            return block
        self.count += len(block)
        if self._size is not None and self.count > self._size:
            raise SizeMismatch(f"{self._size} bytes were announced, more came.")
        if self._cap is not None and self.count > self._cap:
            raise LimitExceeded(f"The data is larger than the {self._cap} bytes allowed.")
        for observer in self._observers:
            observer.update(block)
        for lane in self._lanes:
            lane.put(block)
        return block

    def finish(self, stored: int) -> None:
        """After the driver is done: everything that came was stored, and no more comes.

        A driver that was told a size may stop there, without having seen the end.
        """
        if not self._ended:
            self.read(1)
        if stored != self.count:
            raise SizeMismatch(f"{self.count} bytes came, the store has {stored}.")


def _remove(store: Store, url: str, context: Context | None, reason: BaseException) -> None:
    """Take back what was stored and must not stay. Raises Leftovers, from the reason."""
    try:
        store.delete(url, context)
    except ObjectNotFound:
        return
    except StoreError as error:
        LOG.warning("store %s: an object of a failed upload could not be removed: %s", store.id, error)
        leave_to_discard(reason)


def _require_plain(object_id: str) -> None:
    if not _PLAIN.fullmatch(object_id):
        raise StoreError(f"{object_id!r} cannot be the id of an object.")
