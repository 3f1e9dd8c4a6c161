"""The bytes of an image across the async/sync border: uploads in blocks, downloads by slices.

Stands between the handlers of http/v2/data.py and the operations. A handler uses it like this:

    source = body.upload(scope, budget, size)           # size: bytes announced by another header, or None
    await pools.transfer(data.upload, service, caller, image_id, source, source.size)

    download = await sending.begin(data.open_download, ...)
    await body.download(scope, sending, 200, headers, download.reader, download.length)

An upload holds its transfer thread to the end: the thread itself receives from the socket, straight into a block of
the budget, so the event loop has nothing to do with it and a stalled client costs one sleeping thread and no
block. A download is pulled by slices and holds no thread while the client does not read.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, TypeVar

from fanlight.errors import SizeMismatch
from fanlight.http.cycle import Cycle
from fanlight.http.pools import Sending
from fanlight.http.wire import Input, Output

T = TypeVar("T")
MIB = 1024 * 1024
OVERDRAFT = 64 * 1024
FILL_SECONDS = 0.1
"""How long a block that has begun may wait for more before it is handed on as it is."""


class Budget:
    """The memory that all uploads of one process share, in blocks. Threads take; a block comes back by itself.

    `total` bytes for all, `share` bytes for one upload. Blocks have `largest` bytes while few uploads run and halve,
    down to `smallest`, when many do. A block is back when nobody holds a reference to its view any more,
    be it the store, a hash lane or a queue: nobody has to say so. Blocks are used again: fresh pages cost more
    than the copy into them.
    """

    def __init__(
        self, total: int = 128 * MIB, share: int = 16 * MIB, largest: int = 4 * MIB, smallest: int = MIB // 4
    ) -> None:
        self._total, self._share_limit = total, share
        self._largest, self._smallest = largest, smallest
        self._used = 0
        self._holders = 0
        self._free: dict[int, list[bytearray]] = {}
        self._free_bytes = 0
        self._loans: dict[int, _Loan] = {}
        self._returned: deque[_Loan] = deque()
        # Re-entrant: a view may die, and call _give_back, wherever the interpreter frees memory.
        self._changed = threading.Condition(threading.RLock())

    @property
    def used(self) -> int:
        """Bytes lent out now."""
        with self._changed:
            self._settle()
            return self._used

    def take(self, share: Share) -> bytearray:
        """A block for `share`, to be lent with `lend`; waits for one.

        When none comes back for a second, because clients stall while a store holds on to their last block, it is a
        block of `OVERDRAFT` bytes beyond the total: every upload goes on, if slowly.
        """
        end = time.monotonic() + 1.0
        with self._changed:
            while True:
                self._settle()
                size = self._size(share)
                if self._used + size <= self._total and share.used + size <= self._share_limit:
                    break
                left = end - time.monotonic()
                if left <= 0:
                    size = OVERDRAFT
                    break
                # A return that came while this thread held the lock could not notify: look again soon.
                self._changed.wait(min(left, 0.05))
            self._holders += not share.used
            self._used += size
            share.used += size
            free = self._free.get(size)
            if free:
                self._free_bytes -= size
                return free.pop()
            if self._used + self._free_bytes > self._total:
                self._drop_free()
        return bytearray(size)

    def _size(self, share: Share) -> int:
        # Four blocks an upload: one being received, the others with the hash lanes and the writer.
        running = self._holders + (not share.used)
        size = self._largest
        while size > self._smallest and size * 4 * running > self._total:
            size //= 2
        return size

    def lend(self, block: bytearray, share: Share, length: int) -> memoryview:
        """The first `length` bytes of a block taken, read only; when the last view of it dies, the block is back."""
        view = memoryview(block)[:length].toreadonly()
        loan = _Loan(view, self._give_back)
        loan.block, loan.share = block, share
        self._loans[id(loan)] = loan
        return view

    def release(self, block: bytearray, share: Share) -> None:
        """Give back a block that was taken and not lent."""
        with self._changed:
            self._account(block, share)
            self._changed.notify_all()

    def _give_back(self, loan: weakref.ref[memoryview]) -> None:
        # May run in any thread at any moment: nothing here may wait.
        assert isinstance(loan, _Loan)  # made by lend
        self._loans.pop(id(loan), None)
        self._returned.append(loan)
        if self._changed.acquire(blocking=False):
            try:
                self._changed.notify_all()
            finally:
                self._changed.release()

    def _settle(self) -> None:
        while self._returned:
            loan = self._returned.popleft()
            block = loan.block
            del loan.block
            self._account(block, loan.share)

    def _account(self, block: bytearray, share: Share) -> None:
        size = len(block)
        self._used -= size
        share.used -= size
        self._holders -= not share.used
        # Somebody cut a view of his own from the lent one and holds it: such a block is not used again.
        # (References: the caller's, this one, getrefcount's.)
        if sys.getrefcount(block) <= 3 and self._holders:
            self._free.setdefault(size, []).append(block)
            self._free_bytes += size
        if not self._holders:
            self._drop_free()

    def _drop_free(self) -> None:
        self._free.clear()
        self._free_bytes = 0


class Share:
    """What one upload has of the budget now, in bytes."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0


class _Loan(weakref.ref[memoryview]):
    __slots__ = ("block", "share")
    block: bytearray
    share: Share


class BlockSource:
    """The body of an upload as a worker thread reads it: `read` and `read_block`, empty at the clean end.

    `size`: bytes announced, None if unknown. Reading raises ClientGone (cut, stalled or closed), SizeMismatch
    (shorter or longer than `size`), Invalid (malformed chunk).
    A view that was returned stays valid as long as it is referred to, and counts in the budget as long: drop it
    (`del block`) before reading on, or a client that stalls holds it.
    """

    def __init__(self, source: Input, budget: Budget, size: int | None) -> None:
        self.size = size
        self._source = source
        self._budget = budget
        self._share = Share()
        self._rest: memoryview | None = None
        self._prefix = memoryview(source.prefix)
        self._count = 0

    @property
    def received(self) -> int:
        """Bytes handed out so far."""
        return self._count

    def read(self, size: int = -1, /) -> memoryview | bytes:
        """The next bytes, at most `size` if that is not negative; fewer at the end of a block, b"" at the clean end."""
        if size == 0:
            return b""
        rest, self._rest = self._rest, None
        block = rest if rest is not None else self.read_block()
        if 0 < size < len(block):
            self._rest = memoryview(block)[size:]
            return memoryview(block)[:size]
        return block

    def read_block(self) -> memoryview | bytes:
        """The next block, as large as the budget gives unless the client is slow; b"" at the clean end.

        Raises SizeMismatch, and what the source raises (ClientGone, framing that is broken).
        """
        source = self._source
        if source.ended and not self._prefix:
            self._check(final=True)
            return b""
        with source:
            if not self._prefix:
                # While nothing has come, nothing is held.
                source.wait()
            block = self._budget.take(self._share)
            try:
                length = self._fill(memoryview(block))
            except BaseException:
                self._budget.release(block, self._share)
                raise
        self._count += length
        view: memoryview | bytes
        if length <= OVERDRAFT:
            # A slow client: a copy is cheaper than a block that waits half empty.
            view = bytes(memoryview(block)[:length])
            self._budget.release(block, self._share)
        else:
            view = self._budget.lend(block, self._share, length)
        del block
        self._check(final=False)
        return view if length else self.read_block()

    def _fill(self, view: memoryview) -> int:
        source, place = self._source, min(len(self._prefix), len(view))
        if place:
            view[:place] = self._prefix[:place]
            self._prefix = self._prefix[place:]
        end = time.monotonic() + FILL_SECONDS
        while place < len(view) and not source.ended:
            count = source.receive(view[place:])
            place += count
            if not count:
                left = end - time.monotonic()
                if left <= 0 or not source.wait(left):
                    break
        return place

    def _check(self, final: bool) -> None:
        if self.size is None:
            return
        if self._count > self.size or (final and self._count != self.size):
            raise SizeMismatch(f"{self.size} bytes of data were announced, {self._count} or more came.")

    def close(self) -> None:
        """End the feed, from any thread; a pending or later read of more raises ClientGone. Idempotent."""
        self._source.close()


def upload(scope: Any, budget: Budget, size: int | None = None) -> BlockSource:
    """Take the body of the request for a transfer thread. `size` overrides Content-Length as what is announced.

    Instead of ASGI's `receive`, once, on the loop. A client that waits for `100 Continue` gets it with the first read.
    Raises ClientGone.
    """
    cycle: Cycle = scope["extensions"]["fanlight.cycle"]
    return BlockSource(cycle.input(), budget, cycle.content_length if size is None else size)


class Readable(Protocol):
    """What a download is read from: blocks, in a worker thread.

    `file`, where there is one, is a descriptor and the place in it of the first byte: such a body is read from there,
    piece by piece as the socket takes it (`Output.pump_file`), and the blocks are not asked for.
    """

    def __iter__(self) -> Iterator[bytes | memoryview]: ...

    def close(self) -> None: ...


async def download(
    scope: Any, sending: Sending, status: int, headers: list[tuple[bytes, bytes]], reader: Readable, length: int
) -> None:
    """Answer with `length` bytes from `reader`, which is closed at every end. `headers` must hold Content-Length.

    Instead of ASGI's `send`. Raises ClientGone, and what the reader raises; the connection is closed then, so that
    the client sees a cut answer and never a complete one.
    """
    cycle: Cycle = scope["extensions"]["fanlight.cycle"]
    output: Output | None = None
    try:
        output = await cycle.output(status, headers, length)
        file: tuple[int, int] | None = getattr(reader, "file", None)
        pump = partial(output.pump_blocks, iter(reader)) if file is None else partial(output.pump_file, *file)
        while (state := await _slice(sending, pump)) is not Output.DONE:
            if state is Output.BLOCKED:
                await cycle.writable()
        await cycle.finish()
    except BaseException:
        cycle.cut()
        raise
    finally:
        if output is not None:
            cycle.sent = output.sent
            output.close()
        await _slice(sending, reader.close)


async def _slice(sending: Sending, function: Callable[[], T]) -> T:
    """Run in a thread of the store; when cancelled, still wait until the thread has let go of the socket and reader."""
    job = asyncio.ensure_future(sending(function))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait({job})
        raise
