"""Waiting for back ends that do not answer, with an end.

`Patience` for calls that may hang: a network file system whose server is away blocks whoever asks, for as long as it
is away. `Turn` for what all callers need first, so that they do not wait for a dead back end one after the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from fanlight.errors import StoreError, StoreTimeout, StoreUnreachable

LOG = logging.getLogger(__name__)
T = TypeVar("T")


class Patience:
    """Runs calls of one store in threads that may be left behind, and waits only so long for each.

    `seconds`: 0 means for ever, in the caller's own thread. `most`: calls at once; a hung one counts until it ends.
    `percent`: share of those above which a warning is logged.
    """

    def __init__(self, store_id: str, seconds: float, most: int, percent: int) -> None:
        self._store_id = store_id
        self._seconds = seconds
        self._most = most
        self._percent = percent
        self._running = 0
        self._change = threading.Condition()

    def limit(self, function: Callable[..., T], undo: Callable[[T], object] | None = None) -> Callable[..., T]:
        """The same function, which raises StoreTimeout in time, and StoreUnreachable if no thread can be had.

        `undo`: for an outcome that comes too late.
        """
        return partial(self._call, function, undo) if self._seconds else function

    def _call(self, function: Callable[..., T], undo: Callable[[T], object] | None, *args: Any) -> T:
        with self._change:
            if not self._change.wait_for(lambda: self._running < self._most, self._seconds):
                raise StoreTimeout(f"All {self._most} threads of the store {self._store_id} are waiting.")
            self._running += 1
            if self._running * 100 > self._most * self._percent:
                LOG.warning("store %s: %d of %d threads are busy", self._store_id, self._running, self._most)
        outcome: Future[T] = Future()
        # A daemon, since nobody can end a call that hangs in the kernel: it must not keep the service from ending.
        thread = threading.Thread(target=self._run, args=(outcome, function, args), daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            # A thread that never ran does not count itself as ended.
            self._end_one()
            raise StoreUnreachable("The service cannot start another thread now.") from error
        with self._change:
            if not self._change.wait_for(outcome.done, self._seconds):
                if undo is not None:
                    outcome.add_done_callback(lambda late: late.exception() or undo(late.result()))
                raise StoreTimeout(f"The store {self._store_id} did not answer within {self._seconds} seconds.")
        return outcome.result()

    def _run(self, outcome: Future[T], function: Callable[..., T], args: tuple[Any, ...]) -> None:
        try:
            outcome.set_result(function(*args))
        except BaseException as error:
            outcome.set_exception(error)
        self._end_one()

    def _end_one(self) -> None:
        with self._change:
            self._running -= 1
            self._change.notify_all()


class Turn:
    """For what one caller does for all: a login, a connection, an index. Safe in any thread.

    One at a time. Who waited while another tried in vain does not try again, but gets that failure.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failure: tuple[float, type[StoreError], str] | None = None
        """When, and what. Not the error itself: its traceback holds all that the caller had in hand."""

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Within it look first whether another has done it. Raises the StoreError of an attempt during the wait."""
        began = time.monotonic()
        with self._lock:
            if self._failure is not None and self._failure[0] > began:
                _, kind, message = self._failure
                raise kind(message)
            try:
                yield
            except StoreError as error:
                self._failure = time.monotonic(), type(error), str(error)
                raise
            self._failure = None
