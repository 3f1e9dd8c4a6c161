"""Images in the memory of one process: the reference of the contract, for tests and for reading."""

from __future__ import annotations

import threading
from typing import Self

from msgspec import Struct

from fanlight.errors import MalformedLocation, ObjectExists, ObjectNotFound, RangeNotSatisfiable
from fanlight.stores.driver import Added, Context, Opened, Source, Store

_BLOCK = 1024 * 1024


class Address(Struct, frozen=True):
    """Where an object is: under which id."""

    object_id: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises MalformedLocation."""
        scheme, separator, object_id = url.partition("://")
        if scheme.lower() != "memory" or not separator or not object_id or "/" in object_id:
            raise MalformedLocation
        return cls(object_id)

    @property
    def url(self) -> str:
        return f"memory://{self.object_id}"


class Memory(Store):
    """One store in memory; everything is gone with the process. Type `memory`, URLs `memory://<id>`."""

    schemes = ("memory",)

    def configure(self) -> None:
        """Begin empty."""
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """Open a view of the object."""
        data = self._find(url)
        rest = len(data) - offset
        if rest < 0 or (length is not None and length > rest):
            raise RangeNotSatisfiable(size=len(data))
        view = memoryview(data)[offset : len(data) if length is None else offset + length]
        return Opened(len(view), (view[at : at + _BLOCK] for at in range(0, len(view), _BLOCK)), lambda: None)

    def get_size(self, url: str, context: Context | None = None) -> int:
        """Size of the object."""
        return len(self._find(url))

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        """Read everything, then keep it if the id is free."""
        if object_id in self._objects:
            raise ObjectExists
        blocks = bytearray()
        while len(block := source.read(_BLOCK)):
            blocks += block
        with self._lock:
            if object_id in self._objects:
                raise ObjectExists
            self._objects[object_id] = bytes(blocks)
        return Added(Address(object_id).url, len(blocks))

    def delete(self, url: str, context: Context | None = None) -> None:
        """Forget the object."""
        self._find(url)
        with self._lock:
            self._objects.pop(Address.parse(url).object_id, None)

    def discard(self, object_id: str) -> None:
        """Forget the object, if there is one."""
        with self._lock:
            self._objects.pop(object_id, None)

    def planned_url(self, object_id: str) -> str | None:
        """Always known."""
        return Address(object_id).url

    def _find(self, url: str) -> bytes:
        try:
            return self._objects[Address.parse(url).object_id]
        except KeyError:
            raise ObjectNotFound from None
