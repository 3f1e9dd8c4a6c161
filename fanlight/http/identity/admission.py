"""Keeps a Keystone that does not answer from taking all threads of the service (mode keystone).

A token that was accepted a moment ago is most likely still cached and passes at once. All others may have to wait for
Keystone, and only a few threads may do so; when those have waited for long already, the next caller is told to come
back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fanlight.errors import Busy

MOST_WAITING = 4
"""Threads of this process that wait for Keystone at the same time; the metadata pool has more."""
PATIENCE_SECONDS = 1.0
"""How long a caller waits for one of those places, and how long they may be taken before nobody waits any more."""
KNOWN_MOST = 8192


class Admission:
    """Who may wait for Keystone. `known_seconds`: how long an accepted token counts as cached."""

    def __init__(self, known_seconds: float) -> None:
        self._known_seconds = known_seconds
        # Hashes only: nothing here can be used to call anybody.
        self._known: dict[int, float] = {}
        self._places = threading.BoundedSemaphore(MOST_WAITING)
        self._waiting: dict[int, float] = {}

    def knows(self, token: str) -> bool:
        """Whether `token` was accepted so recently that it should be in the cache."""
        return self._known.get(hash(token), 0.0) > time.monotonic()

    def accepted(self, token: str) -> None:
        """Remember that `token` was accepted, from now on if it is new."""
        if not self.knows(token):
            if len(self._known) >= KNOWN_MOST:
                self._known.clear()
            self._known[hash(token)] = time.monotonic() + self._known_seconds

    def refused(self, token: str) -> None:
        """Forget `token`."""
        self._known.pop(hash(token), None)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the few places. Raises Busy when none gets free in time."""
        oldest = min(list(self._waiting.values()), default=None)
        stuck = oldest is not None and time.monotonic() - oldest > PATIENCE_SECONDS
        if not self._places.acquire(timeout=0.0 if stuck else PATIENCE_SECONDS):
            raise Busy("The identity service does not answer; try again later.")
        me = threading.get_ident()
        self._waiting[me] = time.monotonic()
        try:
            yield
        finally:
            del self._waiting[me]
            self._places.release()
