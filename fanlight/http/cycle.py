"""One request and its answer on a connection: ASGI, and beside it the bytes of an image past the event loop.

Between the connection (protocol.py), whose parser feeds it, and the pipeline, which finds it as
`scope["extensions"]["fanlight.cycle"]`. What it adds to uvicorn's cycle:
- `input` and `output`: bodies of any size go between socket and worker thread (wire.py);
- an answer that is begun before the body was read says whether the connection can be kept.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from fanlight.errors import ClientGone
from fanlight.http.wire import Input, Output

if TYPE_CHECKING:
    from fanlight.http.protocol import Connection

BETWEEN, HEAD, BODY = "between requests", "in a head", "in a body"
"""Where the connection's parser stands."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LEFTOVER = 64 * 1024
"""Bytes: an unread rest of a body up to this is skipped and the connection kept; with more it is closed."""


class Cycle(RequestResponseCycle):
    """One request and its answer. Beside ASGI's receive and send: `input` and `output`, for bodies of any size."""

    def __init__(self, connection: Connection, keep_alive: bool) -> None:
        super().__init__(
            scope=connection.scope,
            transport=connection,  # type: ignore[arg-type]  # has the three methods that a cycle calls
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=connection.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=connection.expect_100_continue,
            keep_alive=keep_alive,
            on_response=connection.on_response_complete,
        )
        self.connection = connection
        self.received = 0
        """Bytes of the body that have come (without chunk framing)."""
        self.sent = 0
        """Bytes of the answer's body that were handed to the socket."""
        self.refused = 0
        """The status that the connection itself has answered, in place of the application."""
        self.receiving = 0.0
        """Since when the application waits for a piece of the body; 0 when it does not."""
        self.pieces: list[bytes] | None = None
        """Where the parser puts the body while a worker thread feeds it."""
        self._input: Input | None = None
        self._output: Output | None = None
        self._writable: asyncio.Future[None] | None = None

    @property
    def decoding(self) -> bool:
        return self.pieces is not None

    @property
    def blocked(self) -> bool:
        """Whether an `output` waits for the client."""
        return self._writable is not None

    # -- ASGI

    async def receive(self) -> ASGIReceiveEvent:
        connection = self.connection
        self.receiving = connection.loop.time()
        try:
            event = await super().receive()
        finally:
            self.receiving = 0.0
        if connection.pipeline and not self.more_body:
            # uvicorn reads on for this body, which has come whole.
            connection.flow.pause_reading()
        return event

    async def send(self, message: ASGISendEvent) -> None:
        if self.response_started:
            await super().send(message)
            self.sent += len(message.get("body", b""))  # type: ignore[arg-type]  # bytes, by ASGI
            return
        self._settle_body()
        self.connection.holding = True
        try:
            await super().send(message)
        finally:
            self.connection.holding = False

    async def run_asgi(self, app: Any) -> None:
        await super().run_asgi(app)
        if self._input is not None and self._input.gone:
            self.connection.abort()

    def lost(self) -> None:
        """The client is gone, or given up: whatever waits for it ends."""
        if self.response_complete:
            return
        self.disconnected = True
        self.message_event.set()
        if self._input is not None:
            self._input.close()
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ClientGone())

    # -- the way in

    @property
    def content_length(self) -> int | None:
        """What the request declares in bytes: 0 without a body, None when it is chunked."""
        length = 0
        for name, value in self.scope["headers"]:
            if name == b"transfer-encoding":
                return None
            if name == b"content-length":
                length = int(value)
        return length

    def input(self) -> Input:
        """Take the body away from the loop, for one worker thread to receive. Once, instead of `receive`.

        A client that waits for `100 Continue` gets it when the thread first wants the body, not before: until then the
        request may still be refused (RFC 9110, 10.1.1).
        """
        connection = self.connection
        if self.disconnected or connection.is_closing():
            self.disconnected = True
            raise ClientGone
        invitation, self.waiting_for_100_continue = CONTINUE if self.waiting_for_100_continue else b"", False
        if invitation and connection.transport.get_write_buffer_size():
            # An answer before this one is still on its way through the loop.
            connection.transport.write(invitation)
            invitation = b""
        prefix, self.body = bytes(self.body), bytearray()
        remaining: int | None = 0
        if self.more_body:
            connection.flow.pause_reading()
            length = self.content_length
            remaining = None if length is None else length - self.received
            self.pieces = [] if length is None else None
        self._input = Input(connection.transport, prefix, remaining, self, connection.limits.body_seconds, invitation)
        return self._input

    def decode(self, raw: memoryview) -> tuple[list[bytes], bool]:
        """Take the framing off a piece of the chunked body. In the worker thread; the loop reads nothing meanwhile."""
        connection, self.pieces = self.connection, []
        parser = connection.parser
        if parser is None:
            raise ClientGone
        try:
            parser.feed_data(raw)
        except httptools.HttpParserError:
            if self.more_body:
                raise
            # What follows the body was met before it could be answered: drop it, and the connection after the answer.
            connection.broken = True
            self.keep_alive = False
        if self.more_body and not connection.adds(len(raw), bool(self.pieces)):
            raise httptools.HttpParserError("too much framing")
        return self.pieces, not self.more_body

    def client_gone(self) -> None:
        """The input found the client gone, or stalled for too long: no answer is sent."""
        self.disconnected = True

    def _settle_body(self) -> None:
        """Before an answer: give the way in back to the loop, or see that nothing more is read from it."""
        connection, source = self.connection, self._input
        if source is not None:
            source.close()
            self.received, self.pieces = source.received, None
            if source.ended:
                if self.more_body:
                    self._resume_parsing()
            else:
                connection.broken = True
                self.keep_alive = False
        elif self.more_body:
            length = self.content_length
            if length is None or self.waiting_for_100_continue or length - self.received > LEFTOVER:
                self.keep_alive = False

    def _resume_parsing(self) -> None:
        # The worker thread received exactly Content-Length bytes, which the old parser has not seen.
        self.more_body = False
        self.connection.parser = self.connection.new_parser()
        self.connection.phase = BETWEEN

    # -- the way out

    async def output(self, status: int, headers: list[tuple[bytes, bytes]], length: int) -> Output:
        """Begin an answer of `length` bytes that worker threads send. Raises ClientGone. End with `finish`."""
        connection = self.connection
        while connection.transport.get_write_buffer_size() and not self.disconnected:
            # The answer before this one is still on its way (pipelining).
            await asyncio.sleep(0.005)
        if self.disconnected or connection.is_closing():
            self.disconnected = True
            raise ClientGone
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        head, connection.held = connection.held, b""
        self._output = Output(connection.transport, head, length)
        return self._output

    async def writable(self) -> None:
        """Wait until the client takes more. Raises ClientGone when it closes, or takes nothing for too long."""
        assert self._output is not None  # the caller's output
        if self.disconnected:
            raise ClientGone
        loop, descriptor = self.connection.loop, self._output.fileno()
        future = self._writable = loop.create_future()
        loop.add_writer(descriptor, _wake, future)
        try:
            await future
        finally:
            loop.remove_writer(descriptor)
            self._writable = None

    async def finish(self) -> None:
        """End an `output` that has sent everything."""
        assert self._output is not None  # the caller's output
        self.expected_content_length = 0
        await super().send({"type": "http.response.body", "body": b"", "more_body": False})

    def cut(self) -> None:
        """Break an answer off so that no client can take it for complete."""
        if not self.response_complete and self.response_started:
            self.connection.abort()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
