"""The stores: where the bytes of images are. This is the way in, for the service and for programs of others.

    from fanlight.settings.load import load
    from fanlight.stores import create_stores, get_from_backend

    stores = create_stores(load(["/etc/glance/glance-api.conf"]).stores)
    blocks, size = get_from_backend(stores, "rbd://fsid/images/id/snap")

Who knows glance_store knows the names. What is different: there is no global state, so each function takes the stores
that `create_stores` made; and everything that goes wrong is a `fanlight.errors.StoreError`. The service itself calls
the methods of `Stores` (portable.py) that these functions call. Nothing of HTTP or the catalogue is imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from fanlight.errors import AclsUnsupported, BadStoreConfiguration, Invalid, SettingsError, UnknownScheme
from fanlight.model import Location, Stored
from fanlight.stores.driver import Context, Source
from fanlight.stores.finding import driver_of, make
from fanlight.stores.held import Held
from fanlight.stores.portable import Observer, Reader, Stores
from fanlight.stores.sealing import Seal

__all__ = [
    "Reader",
    "Stores",
    "create_stores",
    "delete_from_backend",
    "driver_of",
    "get_from_backend",
    "get_known_schemes",
    "get_size_from_backend",
    "set_acls",
    "store_add_to_backend",
    "store_add_to_backend_with_multihash",
]


class StoreSettings(Protocol):
    """The settings of one store."""

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def weight(self) -> int: ...


class StoresSettings(Protocol):
    """The settings of all stores."""

    @property
    def stores(self) -> Sequence[StoreSettings]: ...
    @property
    def default(self) -> str: ...


def create_stores(settings: StoresSettings, encryption_key: str | None = None) -> Stores:
    """Make and configure all stores. One that cannot be reached or written now is tried again when it is asked for.

    `encryption_key`: `metadata_encryption_key`, of 16, 24 or 32 bytes. Raises SettingsError: that key, a type that
    nobody serves, or the default store's options.
    """
    held: dict[str, Held] = {}
    for one in settings.stores:
        try:
            held[one.id] = Held(make(one.id, one.type, one.options), one.weight)
        except BadStoreConfiguration as error:
            raise SettingsError(str(error)) from error
        failure = held[one.id].start()
        if isinstance(failure, BadStoreConfiguration) and one.id == settings.default:
            raise SettingsError(f"The default store {one.id} does not work: {failure}") from failure
    return Stores(held, settings.default, Seal(encryption_key) if encryption_key else None)


def get_from_backend(
    stores: Stores,
    uri: str,
    offset: int = 0,
    chunk_size: int | None = None,
    backend: str | None = None,
    context: Context | None = None,
) -> tuple[Reader, int]:
    """Open an object: its blocks (to be closed) and how many bytes will come. `chunk_size`: how many are wanted.

    `backend`: id of the store; None: found by the URI. So everywhere below. Raises StoreError, RangeNotSatisfiable.
    """
    reader = stores.open(_location(stores, uri, backend), offset, chunk_size, context)
    return reader, reader.size


def get_size_from_backend(stores: Stores, uri: str, backend: str | None = None, context: Context | None = None) -> int:
    """Bytes of an object. Raises StoreError."""
    return stores.size(_location(stores, uri, backend), context)


def delete_from_backend(stores: Stores, uri: str, backend: str | None = None, context: Context | None = None) -> None:
    """Remove an object. Raises StoreError."""
    stores.delete(_location(stores, uri, backend), context)


def store_add_to_backend(
    stores: Stores,
    image_id: str,
    data: Source | Iterable[bytes],
    size: int,
    backend: str | None = None,
    context: Context | None = None,
    verifier: Observer | None = None,
) -> tuple[str, int, str, dict[str, Any]]:
    """Store `data`: URI, bytes, MD5 in hexadecimal, metadata. `size` 0: unknown. `backend` None: the default store.

    Raises SizeMismatch, StoreError, and what `data` and `verifier` raise; nothing is stored then.
    """
    stored = _add(stores, image_id, data, size, "sha512", backend, context, verifier)
    return stored.url, stored.size, stored.checksum, stored.metadata


def store_add_to_backend_with_multihash(
    stores: Stores,
    image_id: str,
    data: Source | Iterable[bytes],
    size: int,
    hashing_algo: str,
    backend: str | None = None,
    context: Context | None = None,
    verifier: Observer | None = None,
) -> tuple[str, int, str, str, dict[str, Any]]:
    """The same, with a hash of a name that hashlib knows, after the MD5. Raises Invalid for another before it reads."""
    if hashing_algo not in hashlib.algorithms_available or not hashlib.new(hashing_algo).digest_size:
        raise Invalid(f"There is no hash {hashing_algo}.")
    stored = _add(stores, image_id, data, size, hashing_algo, backend, context, verifier)
    return stored.url, stored.size, stored.checksum, stored.os_hash_value, stored.metadata


def set_acls(
    stores: Stores,
    uri: str,
    public: bool = False,
    read_tenants: Collection[str] = (),
    write_tenants: Collection[str] = (),
    backend: str | None = None,
    context: Context | None = None,
) -> None:
    """Say which projects may read and write an object in the back end itself; where it knows none of that, nothing."""
    try:
        stores.set_acls(_location(stores, uri, backend), public, read_tenants, write_tenants, context)
    except AclsUnsupported:
        return


def get_known_schemes(stores: Stores) -> tuple[str, ...]:
    """The schemes of all URIs that some store takes."""
    return tuple(sorted(stores.schemes))


def _location(stores: Stores, uri: str, backend: str | None) -> Location:
    if backend is not None:
        stores.get(backend)
    elif "://" in uri and uri.partition("://")[0].lower() not in get_known_schemes(stores):
        raise UnknownScheme
    return Location(url=uri, metadata={"store": backend} if backend else {})


def _add(
    stores: Stores,
    image_id: str,
    data: Source | Iterable[bytes],
    size: int,
    algorithm: str,
    backend: str | None,
    context: Context | None,
    verifier: Observer | None,
) -> Stored:
    source = cast("Source", data) if hasattr(data, "read") else _Iterated(iter(data))
    observers = [verifier] if verifier else []
    return stores.put(
        backend or stores.default,
        image_id,
        source,
        size or None,
        algorithm=algorithm,
        observers=observers,
        context=context,
    )


class _Iterated:
    """An iterator of blocks as something to read from."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def read(self, size: int = -1, /) -> memoryview:
        while not self._rest:
            try:
                self._rest = memoryview(next(self._blocks))
            except StopIteration:
                return self._rest
        end = len(self._rest) if size < 0 else size
        block, self._rest = self._rest[:end], self._rest[end:]
        return block
