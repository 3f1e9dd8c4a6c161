"""HTTP/1.1 on one connection: uvicorn's httptools protocol, with limits on time and size and a way to the raw socket.

The first step of every request. What it adds to `uvicorn.protocols.http.httptools_impl` (0.54, pinned):
- time limits, kept by one sweep a second over all connections of the process (`sweep`), not by a timer per event;
- a limit on the size of a request's head (431);
- a body that does not end as announced is always a disconnect for the application, never a clean end;
- an offer of another protocol is declined and the request answered, body and all; trailer fields are no headers;
- an answer given before the body was read reaches the client: write, half-close, read and discard for a bounded time;
- each request is a `Cycle` (cycle.py), through which the bytes of an image go past the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn._types import HTTPScope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from fanlight.http.cycle import BETWEEN, BODY, HEAD, Cycle
from fanlight.http.wire import unsent

LOG = logging.getLogger(__name__)
CODING = b"transfer-encoding"
MOST_WAITING = 64
"""Requests of one connection that may wait for an answer. Others may be sent again by the client (RFC 9112, 9.3.2)."""
NOT_HTTP = "The request is not valid HTTP."
NOT_DECODED = "The only transfer coding understood is chunked."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may cost. Times in seconds, sizes in bytes."""

    head_seconds: float = 30.0
    """From the first byte of a request (or the connection) to the end of its head."""
    body_seconds: float = 60.0
    """Without one byte of a body that the application wants."""
    answer_seconds: float = 60.0
    """Without the client taking one byte of an answer."""
    idle_seconds: float = 75.0
    """Between two requests on one connection."""
    linger_seconds: float = 10.0
    """Reading on, and discarding, after an answer that came before the end of the request's body."""
    head_size: int = 64 * 1024
    """Request line and headers; longer is 431."""


class Connection(HttpToolsProtocol):
    """One connection. To its cycles it is the transport: they call `write`, `close` and `is_closing`."""

    cycle: Cycle
    parser: Any

    def __init__(
        self,
        limits: Limits,
        config: Config,
        state: ServerState,
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[], None],
    ) -> None:
        super().__init__(config, state, {}, loop)
        self.limits = limits
        self.running: Cycle | None = None
        """The request that is being answered; `cycle` is the one that was read last."""
        self.phase = BETWEEN
        self.since = loop.time()
        """When the present phase began, or when the last byte of a body came."""
        self.head_size = self.head_raw = 0
        """Bytes of the present head: in complete headers, and as they came."""
        self.quiet = 0
        """Bytes of a chunked body since its last data: framing and trailer fields."""
        self.trouble = NOT_HTTP
        """What is told of a head that cannot be served."""
        self.offered = b""
        """A head that offers another protocol, without the offer."""
        self.retiring = False
        self.broken = False
        """Nothing that comes in is read any more."""
        self.silent = False
        """The client has said that it sends nothing more."""
        self.linger_until = 0.0
        self.holding = False
        self.held = b""
        """The head of an answer, until the first piece of its body joins it: one system call, one packet."""
        self._unread = 0
        self._unread_since = 0.0
        self._ended = ended

    # -- from the transport

    def data_received(self, data: bytes) -> None:
        if self.broken:
            return
        # Bytes of a head are counted as they come, except in the piece in which it begins, which holds others' too.
        head = self.scope if self.phase == HEAD else None
        cycle = self.cycle if self.phase == BODY else None
        before = cycle.received if cycle is not None else 0
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if self.phase != HEAD or self.head_size + len(self.url) <= self.limits.head_size:
                self._refuse(400, self.trouble)
                return
        if self.phase == BODY and not self.adds(len(data), self.cycle is not cycle or cycle.received != before):
            self._refuse(400, NOT_HTTP)
        if self.phase == HEAD:
            self.head_raw += len(data) if self.scope is head else 0
            if max(self.head_raw, self.head_size + len(self.url)) > self.limits.head_size:
                self._refuse(431, "The request line and headers are too large.")

    def _feed(self, data: bytes) -> None:
        """Let the parser read. It ends a message at a head that offers another protocol, and takes the body for that
        protocol. Here none is spoken, and the offer may be ignored (RFC 9110, 7.8): a new one reads the head without.
        """
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as error:
                if not self.offered:
                    # CONNECT: answered as it stands; what follows is not for us.
                    self._break()
                    return
                data, self.offered = self.offered + data[error.args[0] :], b""
                self.parser = self.new_parser()

    def new_parser(self) -> Any:
        """One that has read nothing; like uvicorn's it does not mind what comes after a last request."""
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def adds(self, count: int, had_data: bool) -> bool:
        """Count `count` bytes of a chunked body; False when too many have come without data among them."""
        self.quiet = 0 if had_data else self.quiet + count
        return self.quiet <= self.limits.head_size

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio takes an answer, uvicorn gives none
        """The client sends nothing more: whether it may still take an answer, to what it has asked whole.

        A client that closed looks the same until something is sent to it; then the connection is lost as any other.
        """
        if self.idle or self.phase != BETWEEN:
            return False
        self._break()
        self.silent = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle in self._cycles():
            cycle.lost()
        super().connection_lost(exc)
        self._ended()

    def _cycles(self) -> list[Cycle]:
        """The request being answered and those waiting behind it."""
        waiting = [cycle for cycle, _ in self.pipeline if isinstance(cycle, Cycle)]
        return [self.running, *waiting] if self.running is not None else waiting

    def _break(self) -> None:
        """Read nothing more on this connection; requests that were read completely still get their answer."""
        self.broken = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _refuse(self, status: int, message: str) -> None:
        """Answer `status` if nothing else is being answered, and end the connection."""
        self._break()
        if self.phase == BODY and not self.cycle.response_complete:
            # The fault lies in the body of a request at work or waiting: its application sees a disconnect.
            self.cycle.refused = status
            self.cycle.lost()
            if self.cycle is not self.running or self.cycle.response_started:
                self.transport.close()
                return
            self.cycle.response_started = self.cycle.response_complete = True
        elif not self.idle:
            return
        else:
            LOG.info("answered %d to %s: %s", status, self.client[0] if self.client else "-", message)
        text = message.encode()
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(text)
            + text
        )
        self.linger()

    # -- from the parser

    def on_message_begin(self) -> None:
        if self.cycle is not None and self.cycle.decoding:
            # A further request right behind a chunked upload, met in a worker thread. It is not read; see Cycle.decode.
            raise RuntimeError("a request follows")
        super().on_message_begin()
        self.phase, self.since = HEAD, self.loop.time()
        self.head_size = self.head_raw = self.quiet = 0
        self.trouble = NOT_HTTP

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.phase == BODY:
            # A trailer field: none has a meaning here, and as a header it would get past what looks at heads, be it a
            # proxy in front or the identity (RFC 9110, 6.5.1).
            return
        self.head_size += len(name) + len(value)
        if len(name) == len(CODING) and name.lower() == CODING and value.strip().lower() != b"chunked":
            self.trouble = NOT_DECODED
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.head_size + len(self.url) > self.limits.head_size:
            raise ValueError("the head is too large")
        parser = self.parser
        version, target = parser.get_http_version(), httptools.parse_url(self.url)
        if self.trouble != NOT_HTTP:
            raise ValueError("a transfer coding that nobody decodes")
        if len(self.pipeline) >= MOST_WAITING:
            raise ValueError("too many requests wait; those are answered, and then the connection ends")
        if parser.should_upgrade() and parser.get_method() != b"CONNECT":
            self.offered = _without_offer(parser.get_method(), self.url, version, self.headers)
            return
        self.phase = BODY
        raw_path = target.path or b""
        path = raw_path.decode("ascii")
        scope: HTTPScope = self.scope
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = target.query or b""
        self.cycle = cycle = Cycle(self, version != "1.0" and parser.should_keep_alive() and not self.retiring)
        scope["extensions"] = {"fanlight.cycle": cycle}  # type: ignore[dict-item]  # an extension of ours
        if self.running is None or self.running.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        assert isinstance(cycle, Cycle)  # on_headers_complete makes no other
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        cycle.received += len(body)
        if cycle.pieces is not None:
            cycle.pieces.append(body)
            return
        self.since = self.loop.time()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.offered:
            return
        self.phase = BETWEEN
        self.cycle.more_body = False
        if self.cycle.pieces is None:
            super().on_message_complete()

    # -- from the cycle: its transport

    def write(self, data: bytes) -> None:
        if self.holding:
            self.held = data
        elif self.held:
            self.transport.write(self.held + data)
            self.held = b""
        else:
            self.transport.write(data)

    def flush(self) -> None:
        """Send a head that got no body."""
        if self.held:
            self.write(b"")

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def close(self) -> None:
        """End the connection after what has been written; a client that is still sending gets to see the answer."""
        self.flush()
        if self.silent or (self.phase == BETWEEN and not self.broken and not self.pipeline):
            self.transport.close()
        else:
            self.linger()

    def linger(self) -> None:
        """Half-close, then read and discard until the client closes or the limit ends (RFC 9112, 9.6)."""
        self.broken = True
        if self.transport.is_closing() or self.linger_until:
            return
        self.linger_until = self.loop.time() + self.limits.linger_seconds
        self.flow.resume_reading()
        self.transport.write_eof()

    def abort(self) -> None:
        """End the connection at once: what was not sent is lost, a worker thread on it sees ClientGone."""
        for cycle in self._cycles():
            cycle.lost()
        self.transport.abort()

    def on_response_complete(self) -> None:
        self.flush()
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self.linger_until:
            return
        if self.phase == BETWEEN:
            self.since = self.loop.time()
        if self.pipeline:
            # Nothing more is read before these are answered: each piece that comes may hold thousands.
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self.flow.resume_reading()

    # -- from the server

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.running is None or (self.running.response_complete and not self.pipeline)

    def retire(self) -> None:
        """Answer what has been asked and what is asked next, and end with it."""
        self.retiring = True
        for cycle in self._cycles():
            cycle.keep_alive = False

    def shutdown(self) -> None:
        """Answer what has been asked, and end with it."""
        self.retire()
        if self.idle and self.phase != BODY and not self.linger_until:
            self.transport.close()

    def sweep(self, now: float) -> None:
        """Apply the time limits; called about once a second with the loop's time."""
        if self.linger_until:
            if now > self.linger_until:
                self.transport.abort()
        elif not self._takes(now):
            LOG.info("a client took nothing of its answer for %g seconds", self.limits.answer_seconds)
            self.abort()
        elif not self.transport.is_closing():
            self._sweep_reading(now)

    def _sweep_reading(self, now: float) -> None:
        """Whether the client still gives what is waited for: a head, a body or the next request."""
        waited, limits, running = now - self.since, self.limits, self.running
        if not self.idle:
            assert running is not None  # else it were idle
            if running.receiving and now - max(self.since, running.receiving) > limits.body_seconds:
                LOG.info("a client sent nothing of its body for %g seconds", limits.body_seconds)
                self._refuse(408, "The body of the request did not arrive in time.")
        elif self.phase == BODY:
            # The rest of a body, skipped after an early answer.
            if waited > limits.body_seconds:
                self.transport.close()
        elif self.phase == HEAD:
            if waited > limits.head_seconds:
                self._refuse(408, "The head of the request did not arrive in time.")
        elif waited > (limits.head_seconds if running is None else limits.idle_seconds):
            self.transport.close()

    def _takes(self, now: float) -> bool:
        """Whether the client still takes what there is for it, be it a byte at a time."""
        waiting = self.transport.get_write_buffer_size()
        if waiting or (self.running is not None and self.running.blocked):
            waiting += unsent(self.transport.get_extra_info("socket").fileno())
        if not waiting or waiting != self._unread:
            self._unread, self._unread_since = waiting, now
            return True
        return now - self._unread_since <= self.limits.answer_seconds


def _without_offer(method: bytes, url: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """A head as it came, but for what offers to go on in another protocol."""
    lines = [b"%s %s HTTP/%s" % (method, url, version.encode())]
    for name, value in headers:
        if name == b"connection":
            kept = [part for part in value.split(b",") if part.strip().lower() not in (b"upgrade", b"http2-settings")]
            value = b",".join(kept)
        if name != b"upgrade":
            lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])
