"""Worker threads below the event loop: where every synchronous operation of a request runs.

Stands between the pipeline and the operations. Pools for each kind of work, so that none starves another, and for the
downloads from each store, so that one that does not answer keeps nobody waiting for the others:

    pools = Pools(metadata_threads=8, transfer_threads=512, sending_threads=32, store_threads=32)
    answer = await pools.metadata(function, *args)   # catalogue work; queues, never refuses
    answer = await pools.storing(function, *args)    # the same, and a store is asked, which may take minutes
    result = await pools.transfer(function, *args)   # an upload holds its thread to the end; Busy when all are taken
    sending = pools.sending("store")
    opened = await sending.begin(function, *args)    # a download is opened; Busy when nothing moves at that store
    state = await sending(function, *args)           # one slice of it; queues, never refuses
    pools.close(seconds)                             # waits for what still runs

A job runs in the context of the task that hands it in, so what it logs carries the id of its request (logs.py).
Threads start when first needed. A hand-off costs about a third of `loop.run_in_executor` (35 against 84 µs for one
request at a time, 2 against 13 µs with 64 at once): no lock of our own, no second future, and answers that
arrive together wake the loop once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple

from fanlight.errors import Busy

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
STALLED_SECONDS = 30.0
"""A store from which nothing has come for so long, in any of its threads, gets no further downloads: as long as the
drivers wait for an answer.
"""
_Job = tuple["asyncio.Future[Any]", Context, Callable[..., Any], tuple[Any, ...]]


class Pools:
    """The thread pools of one worker process. Made before or inside the loop, used only from that one loop.

    `metadata_threads`: at once in catalogue operations. `transfer_threads`: uploads at once, each holding a thread
    (a waiting one costs some 20 KiB of real memory). `sending_threads`: download slices at once from one store.
    `store_threads`: operations at once that ask a store for something and move no body.
    """

    def __init__(
        self,
        metadata_threads: int = 8,
        transfer_threads: int = 512,
        sending_threads: int = 32,
        store_threads: int = 32,
    ) -> None:
        self._metadata = _Pool("metadata", metadata_threads)
        self._storing = _Pool("storing", store_threads)
        self._transfer = _Pool("transfer", transfer_threads)
        self._sending_threads = sending_threads
        self._sending: dict[str, Sending] = {}

    async def metadata(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run `function(*args)` in a metadata thread; returns or raises what it does."""
        return await self._metadata.submit(function, args)  # type: ignore[no-any-return]  # a future of T by construction

    async def storing(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run `function(*args)`, which may wait for a store, in a thread for that; returns or raises what it does."""
        return await self._storing.submit(function, args)  # type: ignore[no-any-return]  # a future of T by construction

    async def transfer(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run `function(*args)` in a transfer thread. Raises Busy at once when every one is taken."""
        if self._transfer.load >= self._transfer.size:
            raise Busy("All transfer threads are in use.", retry_after=5)
        return await self._transfer.submit(function, args)  # type: ignore[no-any-return]  # a future of T by construction

    def sending(self, store: str) -> Sending:
        """The threads for downloads from one store."""
        found = self._sending.get(store)
        if found is None:
            found = self._sending[store] = Sending(store, self._sending_threads)
        return found

    @property
    def transfers(self) -> int:
        """How many transfer threads are in use."""
        return self._transfer.load

    def close(self, seconds: float = 5.0) -> bool:
        """Let running functions end for at most `seconds` and end idle threads. Whether all have ended."""
        end = time.monotonic() + seconds
        pools = (self._metadata, self._storing, self._transfer, *(one.pool for one in self._sending.values()))
        for pool in pools:
            pool.stop()
        return all(tuple(pool.join(end) for pool in pools))


class Sending:
    """Threads in which downloads from one store are opened and sent."""

    def __init__(self, store: str, threads: int) -> None:
        self.pool = _Pool(f"sending-{store}", threads)

    async def __call__(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a bounded slice of a download, after those that wait already."""
        return await self.pool.submit(function, args)  # type: ignore[no-any-return]  # a future of T by construction

    async def begin(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run what opens a download. Raises Busy when all threads have been waiting for the store for too long."""
        if self.pool.load >= self.pool.size and time.monotonic() - self.pool.moved > STALLED_SECONDS:
            raise Busy("The store of this image does not answer.", retry_after=10)
        return await self(function, *args)


class _Pool:
    """Daemon threads over one queue. `load` counts jobs handed in and not yet answered; only the loop changes it."""

    def __init__(self, name: str, size: int) -> None:
        self.size = size
        self.load = 0
        self.moved = 0.0
        """When a thread was free or became so for the last time."""
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._waking = False

    def submit(self, function: Callable[..., Any], args: tuple[Any, ...]) -> asyncio.Future[Any]:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self.load < self.size:
            self.moved = time.monotonic()
        self.load += 1
        if self.load > len(self._threads) < self.size:
            self._grow()
        self._jobs.put((future, copy_context(), function, args))
        return future

    def _grow(self) -> None:
        thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, context, function, args = job
            outcome: tuple[asyncio.Future[Any], Any, BaseException | None]
            try:
                outcome = (future, context.run(function, *args), None)
            except BaseException as error:
                outcome = (future, None, error)
            self._hand_back(outcome)
            # Hold nothing while waiting: arguments may carry a body's blocks.
            del job, future, context, function, args, outcome

    def _hand_back(self, outcome: tuple[asyncio.Future[Any], Any, BaseException | None]) -> None:
        self._done.append(outcome)
        if self._waking:
            return
        self._waking = True
        assert self._loop is not None  # submit() has set it
        try:
            self._loop.call_soon_threadsafe(self._settle)
        except RuntimeError:
            # The loop has closed: the process is ending and nobody waits for this answer any more.
            self._done.clear()

    def _settle(self) -> None:
        # Cleared before the queue is emptied: an answer that comes in between wakes the loop again.
        self._waking = False
        self.moved = time.monotonic()
        while self._done:
            future, result, error = self._done.popleft()
            self.load -= 1
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration):
                # A future cannot carry StopIteration (PEP 479).
                future.set_exception(RuntimeError("StopIteration left a worker function"))
            else:
                future.set_exception(error)

    def stop(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)

    def join(self, end: float) -> bool:
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)
