"""One store of this process: configured at the start or, where its back end is not there then, when it is asked for."""

from __future__ import annotations

import logging
import threading
import time

from fanlight.errors import (
    BadStoreConfiguration,
    StoreDenied,
    StoreError,
    StoreForbidden,
    StoreReadOnly,
    StoreUnreachable,
)
from fanlight.stores.driver import Store

LOG = logging.getLogger(__name__)
PAUSE = 10.0
"""Seconds after a failure before a store is configured again; until then whoever asks gets that failure."""


class Held:
    """A store and how far it got: nothing, reading, or adding, too. Safe in any thread."""

    def __init__(self, store: Store, weight: int = 0) -> None:
        self.store = store
        self.weight = weight
        self.failure: StoreError | None = None
        self.reads = self._adds = False
        self._again = 0.0
        self._turn = threading.Lock()

    def readable(self) -> Store:
        """The store, to read and delete. Raises StoreUnreachable while it cannot be configured."""
        if not self.reads:
            self._configure()
            if not self.reads:
                raise StoreUnreachable(f"The store {self.store.id} cannot be used: {self.failure}")
        return self.store

    def addable(self) -> Store:
        """The store, to add. Raises StoreReadOnly, StoreDenied, StoreUnreachable."""
        if not self.store.traits.add:
            raise StoreReadOnly(f"Nothing can be added to the store {self.store.id}.")
        if not self._adds:
            self._configure()
            if not self._adds:
                if self.reads and isinstance(self.failure, BadStoreConfiguration):
                    raise StoreReadOnly(f"Nothing can be added to the store {self.store.id}.")
                if isinstance(self.failure, (StoreDenied, StoreForbidden)):
                    raise StoreDenied(f"The store {self.store.id} cannot be used: {self.failure}")
                raise StoreUnreachable(f"The store {self.store.id} cannot be used: {self.failure}")
        return self.store

    def _configure(self) -> None:
        """Get as far as it goes now. One thread tries, at most once in PAUSE; the others go by what is known."""
        if time.monotonic() < self._again or not self._turn.acquire(blocking=self.failure is None):
            return
        try:
            if self._adds or (self.reads and not self.store.traits.add):
                return
            if not self.reads:
                self.store.configure()
                self.reads = True
            if self.store.traits.add:
                self.store.configure_add()
                self._adds = True
            if self.failure is not None:
                LOG.info("the store %s can be used again", self.store.id)
            self.failure = None
        except StoreError as error:
            what = "added to" if self.reads else "read from"
            LOG.warning("nothing can be %s store %s: %s", what, self.store.id, error)
            self.failure = error
            self._again = time.monotonic() + PAUSE
        finally:
            self._turn.release()

    def start(self) -> StoreError | None:
        """Configure now; what is in the way, if anything is."""
        self._configure()
        return self.failure
