"""The bytes of an image, from whichever location gives them: all hold the same, so one may go on for another."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from fanlight.errors import ObjectDamaged, ObjectNotFound, RangeNotSatisfiable, StoreError
from fanlight.model import Caller, Image, Location
from fanlight.stores import Reader, Stores

LOG = logging.getLogger(__name__)


class Reading:
    """An open download of `size` bytes: iterate for its blocks, then close.

    A location that does not open, holds another number of bytes than the record says, or fails on the way, is followed
    by the next one, at the same byte. Raises what the last one raised; ObjectNotFound where none has the data. `file`:
    see `Reader`; a local file is not followed.
    """

    def __init__(
        self,
        stores: Stores,
        image: Image,
        locations: Sequence[Location],
        offset: int,
        length: int | None,
        caller: Caller,
    ) -> None:
        self._stores, self._image, self._caller = stores, image, caller
        self._left = list(locations)
        self._reader = self._next(offset, length, ObjectNotFound())
        self._offset = offset
        self.size = self._reader.size
        self.file = self._reader.file

    def __iter__(self) -> Iterator[bytes | memoryview]:
        given = 0
        while True:
            try:
                for block in self._reader:
                    given += len(block)
                    yield block
                if given >= self.size:
                    return
                raise StoreError("The stored data ends before its recorded size.")
            except StoreError as error:
                self._tell(error)
                self._reader.close()
                self._reader = self._next(self._offset + given, self.size - given, error)

    def close(self) -> None:
        """Give everything back. Idempotent."""
        self._reader.close()

    def _next(self, offset: int, length: int | None, failure: StoreError) -> Reader:
        while self._left:
            self._at = self._left.pop(0)
            try:
                return self._open(offset, length)
            except StoreError as error:
                self._tell(error)
                failure = error
        raise failure

    def _open(self, offset: int, length: int | None) -> Reader:
        size = self._image.size
        try:
            reader = self._stores.open(self._at, offset, length, self._caller)
        except RangeNotSatisfiable as error:
            # What was asked for lies within the image.
            raise ObjectDamaged("The stored data ends before its recorded size.") from error
        if length is None and size is not None and reader.size != size - offset:
            reader.close()
            raise ObjectDamaged(f"The stored data has {offset + reader.size} bytes, not the {size} that are recorded.")
        return reader

    def _tell(self, error: StoreError) -> None:
        store = self._at.metadata.get("store")
        LOG.warning("image %s cannot be read from store %s: %s", self._image.id, store, error)
