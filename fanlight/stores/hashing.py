"""Hashes of a body while it is being written: each in a lane of its own, beside the thread that writes.

hashlib lets other threads run, so that both hashes and the write use several processors. A lane takes a thread of the
shared pool only while it has blocks: a thousand stalled uploads hash in no thread at all.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

DEPTH = 2
"""Blocks that one lane may have waiting or in work; more would only hold memory."""
SMALL = 32 * 1024
"""Bytes: below this, handing a block over costs more than hashing it here."""


class Lane:
    """Feeds blocks to one hash, in order."""

    def __init__(self, pool: ThreadPoolExecutor, algorithm: str) -> None:
        self._hash: Any = hashlib.new(algorithm, usedforsecurity=False)
        self._pool = pool
        self._waiting: deque[bytes | memoryview] = deque()
        self._state = threading.Condition()
        self._busy = False
        self._inside = 0

    def put(self, block: bytes | memoryview) -> None:
        """Take one block; waits while the lane has DEPTH blocks."""
        with self._state:
            if len(block) < SMALL and not self._inside:
                self._hash.update(block)
                return
            while self._inside >= DEPTH:
                self._state.wait()
            self._inside += 1
            self._waiting.append(block)
            if self._busy:
                return
            self._busy = True
        self._pool.submit(self._drain)

    def hexdigest(self) -> str:
        """The hash of everything put, once it is all through."""
        with self._state:
            while self._inside:
                self._state.wait()
            return str(self._hash.hexdigest())

    def _drain(self) -> None:
        while True:
            with self._state:
                if not self._waiting:
                    self._busy = False
                    return
                block = self._waiting.popleft()
            self._hash.update(block)
            # The block goes back to the budget as soon as nobody refers to it.
            del block
            with self._state:
                self._inside -= 1
                self._state.notify_all()
