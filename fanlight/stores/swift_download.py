"""Data on its way out of Swift: one GET, and others from where a broken one ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from fanlight.errors import FanlightError, RangeNotSatisfiable, StoreError, StoreUnreachable
from fanlight.stores.swift_objects import size_of
from fanlight.stores.swift_wire import Link, explain, failures

BLOCK = 1024 * 1024
"""Bytes read at a time."""
PATIENCE = 5
"""Seconds for which a reader may leave a download alone; longer, and Swift may have hung up for that reason."""


class Download:
    """`length` bytes of an object from `offset` (None: all from there). Raises StoreError, RangeNotSatisfiable."""

    def __init__(
        self, link: Link, container: str, name: str, offset: int, length: int | None, resumptions: int
    ) -> None:
        self._link, self._container, self._name, self._left_over = link, container, name, resumptions
        self._place = offset
        self._body: Any = None
        self._wire: Any = None
        found = self._ask(None if length is None else offset + length)
        self._etag = found.get("etag")
        try:
            total = size_of(link, found)
            self._end = total if length is None else offset + length
            if self._end > total:
                raise RangeNotSatisfiable(size=total)
        except BaseException:
            # The answer goes on coming, and nobody else knows of it.
            self.close()
            raise
        self.size = self._end - offset

    def blocks(self) -> Iterator[bytes]:
        """Everything, in order. Ends early never: raises StoreUnreachable instead."""
        try:
            while self._place < self._end:
                block = self._read()
                self._place += len(block)
                if self._place == self._end:
                    # Before the last block, since whoever counts does not ask for more.
                    self._give_back()
                yield block
        finally:
            self.close()

    def _give_back(self) -> None:
        """The connection, if this was the end of its answer."""
        with suppress(*failures()):
            if not self._body.read(1):
                self._link.done(self._wire, whole=True)
                self._body = self._wire = None

    def close(self) -> None:
        """End it, early or late, once or twice."""
        if self._wire is not None:
            self._link.done(self._wire, whole=False)
            self._body = self._wire = None

    def _read(self) -> bytes:
        wanted = min(BLOCK, self._end - self._place)
        while True:
            began = time.monotonic()
            try:
                block: bytes = self._body.read(wanted)
                failure: FanlightError = StoreUnreachable("The store ended the data too early.")
            except failures() as error:
                block, failure = b"", explain(error)
            if block:
                self._touched = time.monotonic()
                return block
            self._resume(failure, began)

    def _resume(self, failure: FanlightError, began: float) -> None:
        """Ask for the rest, which must be of the same object. Raises the failure when that was done often enough."""
        # The server has ended a download that its reader had left alone: nothing is broken then.
        if began - self._touched < PATIENCE:
            if self._left_over <= 0:
                raise failure
            self._left_over -= 1
        self.close()
        try:
            found = self._ask(self._end)
        except RangeNotSatisfiable:
            found = {"etag": "of a shorter one"}
        self._touched = time.monotonic()
        if found.get("etag") != self._etag:
            raise StoreError("The object was replaced while it was read.")

    def _ask(self, end: int | None) -> dict[str, str]:
        """GET from the place on; headers of the answer."""
        headers = {}
        if self._place or end is not None:
            headers["Range"] = f"bytes={self._place}-{'' if end is None else end - 1}"
        found, self._body, self._wire = self._link.get(self._container, self._name, headers)
        if headers and self._place and "content-range" not in found:
            self.close()
            raise StoreError("The store does not give parts of objects.")
        self._touched = time.monotonic()
        return found
