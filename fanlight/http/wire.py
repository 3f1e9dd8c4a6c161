"""The socket of one connection as a worker thread uses it, for the bytes of an image and nothing else.

Small requests live on the event loop. A body of gigabytes does not: while it runs, the loop stops reading (or does
not write) and a worker thread receives straight into a block (`Input`) or sends straight from the file (`Output`).
Measured against chunks going through the loop this halves the processor time of an upload and leaves the
loop free for listings. `cycle.Cycle` makes both; body.py drives them.

Each works on its own duplicate of the descriptor: when the loop closes the connection meanwhile, the number cannot
be given to another connection under the thread's feet.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import socket
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import httptools

from fanlight.errors import ClientGone, Invalid, StoreError

CHUNKED_READ = 256 * 1024
"""Bytes received at once of a chunked body: raw and decoded both stay in the processor's cache."""
SLICE = 64 * 1024 * 1024
"""Bytes a download may send before it lets another one have the thread."""
READ = 512 * 1024
"""Bytes read from a file at once: as much as stays in the processor's cache until it is sent."""
PATIENCE_MS = 5
"""How long a sending thread waits for a full socket before it gives the wait to the event loop."""


class Exchange(Protocol):
    """What an `Input` asks of the request it belongs to; called in the worker thread."""

    def decode(self, raw: memoryview) -> tuple[list[bytes], bool]:
        """Take the framing off a chunked body: the data in it, and whether the last chunk was among it."""
        ...

    def client_gone(self) -> None:
        """There will be no answer."""
        ...


class Input:
    """The rest of a request body, received by a thread.

    `prefix`: what the loop has received already. `remaining`: bytes still to come, None when the chunks tell.
    `idle` seconds without a byte end it. `invitation`: what the client waits for, sent when its body is first waited
    for. Afterwards `ended` says that the body is complete, `gone` that the client is not to be had any more; `received`
    counts body bytes.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        prefix: bytes,
        remaining: int | None,
        exchange: Exchange,
        idle: float,
        invitation: bytes = b"",
    ) -> None:
        self.prefix = prefix
        self.received = len(prefix)
        self.ended = remaining == 0
        self.gone = False
        self._remaining = remaining
        self._exchange = exchange
        self._idle = idle
        self._invitation = invitation
        self._lock = threading.Lock()
        self._busy = False
        self._closed = self.ended
        self._socket: socket.socket | None = None
        if self.ended:
            return
        self._socket = _duplicate(transport)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until bytes can be received; False after `seconds`. Raises ClientGone: idle limit, or `close`."""
        limit = self._idle if seconds is None else seconds
        if self._invitation:
            self._invite()
        ready = not self._closed and self._poll.poll(limit * 1000)
        if self._closed:
            raise ClientGone("The upload was ended by the service.")
        if not ready and seconds is None:
            raise self._lost(f"The client sent nothing for {limit:g} seconds.")
        return bool(ready)

    def _invite(self) -> None:
        try:
            # Nothing else is on its way to this client: it fits.
            self._connection().send(self._invitation)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._lost() from error
        self._invitation = b""

    def receive(self, view: memoryview) -> int:
        """Receive into `view`; 0 when nothing has come. Raises ClientGone (cut body), Invalid (broken chunk)."""
        try:
            if self._remaining is None:
                return self._receive_chunked(view)
            count = self._connection().recv_into(view, min(len(view), self._remaining))
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._lost() from error
        if count == 0:
            raise self._lost()
        self._remaining -= count
        self.received += count
        self.ended = self._remaining == 0
        return count

    def _receive_chunked(self, view: memoryview) -> int:
        window = view[:CHUNKED_READ]
        count = self._connection().recv_into(window)
        if count == 0:
            raise self._lost()
        try:
            pieces, self.ended = self._exchange.decode(window[:count])
        except httptools.HttpParserError as error:
            raise Invalid("The chunked request body is malformed.") from error
        place = 0
        for piece in pieces:
            view[place : place + len(piece)] = piece
            place += len(piece)
        self.received += place
        return place

    def _connection(self) -> socket.socket:
        if self._socket is None:
            raise ClientGone("The upload was ended by the service.")
        return self._socket

    def _lost(self, message: str | None = None) -> ClientGone:
        self.gone = True
        self._exchange.client_gone()
        return ClientGone(message)

    def __enter__(self) -> None:
        """Use it: until `__exit__` its descriptors stay open, whoever closes it."""
        with self._lock:
            self._busy = True

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._busy = False
            if self._closed or self.ended:
                self._release()

    def close(self) -> None:
        """End it, from any thread: a pending or later `wait` raises. Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.eventfd_write(self._wake, 1)
            if not self._busy:
                self._release()

    def _release(self) -> None:
        self._closed = True
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            os.close(self._wake)


class Output:
    """An answer's head and body, sent by slices of thread time: `pump` until DONE, waiting on the loop when BLOCKED."""

    DONE, MORE, BLOCKED = "done", "more", "blocked"

    def __init__(self, transport: asyncio.Transport, head: bytes, length: int) -> None:
        self.sent = 0
        self._pending = memoryview(head)
        self._remaining = length
        self._head = True
        self._socket = _duplicate(transport)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLOUT)

    def fileno(self) -> int:
        """The duplicate's descriptor, for the loop to watch."""
        return self._socket.fileno()

    def pump_file(self, file: int, offset: int) -> str:
        """Send from a file descriptor, in which this body begins at `offset`. Holds no data between calls."""
        buffer = memoryview(bytearray(min(READ, self._remaining)))
        return self._pump(lambda: self._send_file(file, offset, buffer))

    def pump_blocks(self, blocks: Iterator[bytes | memoryview]) -> str:
        """Send what `blocks` gives, one block at a time. Raises what it raises."""
        return self._pump(lambda: self._send_block(blocks))

    def _pump(self, step: Callable[[], int]) -> str:
        """One slice. Raises ClientGone when the client has closed, StoreError when the reader ends early."""
        end = self.sent + SLICE
        while self._pending or self._remaining:
            try:
                count = self._send_pending() if self._pending else step()
            except BlockingIOError:
                if not self._poll.poll(PATIENCE_MS):
                    return self.BLOCKED
                continue
            except (ConnectionError, TimeoutError) as error:
                raise ClientGone from error
            self.sent += count
            if self.sent >= end:
                return self.MORE
        return self.DONE

    def _send_pending(self) -> int:
        more = socket.MSG_MORE if self._head and self._remaining else 0
        count = self._socket.send(self._pending, more)
        self._pending = self._pending[count:]
        if self._head:
            self._head = bool(self._pending)
            return 0
        return count

    def _send_file(self, file: int, offset: int, buffer: memoryview) -> int:
        # Not sendfile: over the loopback (a proxy on the same machine) a copy that stays in the processor's cache is
        # faster than pages that the receiver finds cold, 2.7 against 2.1 GB/s, and costs both sides together less.
        try:
            count = os.preadv(file, (buffer[: self._remaining],), offset + self.sent)
        except OSError as error:
            raise StoreError("The stored data cannot be read.") from error
        if count == 0:
            raise StoreError("The stored data ends before its recorded size.")
        # What the socket does not take is read again: cheaper than keeping it for a client that has stopped.
        count = self._socket.send(buffer[:count])
        self._remaining -= count
        return count

    def _send_block(self, blocks: Iterator[bytes | memoryview]) -> int:
        block = next(blocks, None)
        if block is None:
            raise StoreError("The stored data ends before its recorded size.")
        view = memoryview(block)[: self._remaining]
        self._remaining -= len(view)
        self._pending = view
        return 0

    def close(self) -> None:
        """Give the descriptor back. Only while no thread pumps. Idempotent."""
        self._pending = memoryview(b"")
        self._socket.close()


def unsent(descriptor: int) -> int:
    """Bytes in the kernel that the client has not acknowledged: they shrink while it still takes any."""
    count: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    return count


def _duplicate(transport: asyncio.Transport) -> socket.socket:
    # Non-blocking is a property of the open socket, so the duplicate is non-blocking as well.
    return socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
