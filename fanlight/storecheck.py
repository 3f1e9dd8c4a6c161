"""`fanlight stores`: which stores are configured, whether each can be used, and how fast it is.

Beside the command line, like the doctor; goes through the same door as the service (fanlight.stores).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fanlight.errors import FanlightError, StoreError
from fanlight.model import Location
from fanlight.settings import Settings, StoreSettings
from fanlight.stores import Stores, create_stores

MIB = 1024 * 1024


class Line(NamedTuple):
    """What is said of one store; `good` is whether it can be used as configured."""

    store: str
    good: bool
    text: str


def listed(settings: Settings) -> Iterator[Line]:
    """Every store with its type, weight and description. Nothing is reached."""
    for store in settings.stores.stores:
        words = [store.type, f"weight {store.weight}"]
        words += ["default"] if store.id == settings.stores.default else []
        words += [store.description] if store.description else []
        yield Line(store.id, True, ", ".join(words))


def checked(settings: Settings, names: Sequence[str] = ()) -> Iterator[Line]:
    """Reach each store (or those named) without changing anything. Raises SettingsError, UnknownStore."""
    unmade = {one.id: line for one in settings.stores.stores if (line := _unmade(one)) is not None}
    others = tuple(one for one in settings.stores.stores if one.id not in unmade)
    stores = create_stores(replace(settings.stores, stores=others), settings.api.metadata_encryption_key)
    for name in names:
        if name not in unmade:
            stores.get(name)
    for name in names or [one.id for one in settings.stores.stores]:
        if name in unmade:
            yield unmade[name]
            continue
        try:
            text = stores.check(name)
        except StoreError as error:
            yield Line(name, False, str(error))
            continue
        if stores.get(name).traits.add and not stores.writable(name):
            yield Line(name, False, f"{text}; nothing can be added to it")
            continue
        yield Line(name, True, text)


def _unmade(store: StoreSettings) -> Line | None:
    """What to say of a store whose folders the first start will make; opening the store would make them."""
    if store.type != "file":
        return None
    listed = [item.rpartition(":")[0] or item for item in store.options.get("filesystem_store_datadirs") or []]
    for folder in map(Path, listed or [store.options["filesystem_store_datadir"]]):
        if not folder.exists():
            parent = next(one for one in folder.absolute().parents if one.exists())
            good = os.access(parent, os.W_OK | os.X_OK) and parent.is_dir()
            return Line(store.id, good, f"{folder} {'will' if good else 'cannot'} be made")
    return None


def measured(settings: Settings, size: int, names: Sequence[str] = ()) -> Iterator[Line]:
    """Add an object of `size` random bytes to each store, read it and remove it. Raises SettingsError, UnknownStore."""
    stores = _opened(settings)
    for name in _chosen(stores, names):
        if not stores.get(name).traits.add:
            yield Line(name, True, "read only: nothing to measure")
            continue
        try:
            yield Line(name, True, _measure(stores, name, size, settings.api.hashing_algorithm))
        except FanlightError as error:
            yield Line(name, False, str(error))


def _measure(stores: Stores, name: str, size: int, algorithm: str) -> str:
    source = _Random(size)
    begun = time.perf_counter()
    stored = stores.put(name, f"fanlight-measured-{uuid.uuid4()}", source, size, algorithm=algorithm)
    added = time.perf_counter() - begun
    location = Location(url=stored.url, metadata=stored.metadata)
    try:
        begun = time.perf_counter()
        reader = stores.open(location)
        try:
            first, count = 0.0, 0
            for block in reader:
                first = first or time.perf_counter() - begun
                count += len(block)
        finally:
            reader.close()
        read = time.perf_counter() - begun
        if count != size:
            raise StoreError(f"{size} bytes were added, {count} came back.")
    finally:
        stores.delete(location)
    megabytes = size / 1e6
    return (
        f"added at {megabytes / added:,.0f} MB/s, read at {megabytes / read:,.0f} MB/s, "
        f"first byte after {1000 * first:,.0f} ms"
    )


class _Random:
    """So many bytes that neither a disk nor a back end can make smaller."""

    def __init__(self, size: int) -> None:
        self._rest = size
        self._block = os.urandom(MIB)
        self._number = 0

    def read(self, size: int = -1, /) -> bytes:
        count = min(self._rest, MIB if size < 0 else min(size, MIB))
        self._rest -= count
        self._number += 1
        # Blocks differ, or a back end that knows equal blocks would store one.
        return (self._number.to_bytes(8, "big") + self._block[8:])[:count]


def _opened(settings: Settings) -> Stores:
    return create_stores(settings.stores, settings.api.metadata_encryption_key)


def _chosen(stores: Stores, names: Sequence[str]) -> Sequence[str]:
    for name in names:
        stores.get(name)
    return names or stores.ids()
