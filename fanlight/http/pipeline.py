"""The way of every request, from ASGI to a handler and back: one ordered list of stages.

    request id       first, so that every line of the log and every error carries it
    OPTIONS, CORS    before identity: a browser's preflight has no token
    health check     before identity: load balancers have no token
    versions         before identity: clients look for versions before they log in
    route            found early (a dictionary walk), but its refusal is told only after
    identity         so that a stranger learns nothing about paths: 401 comes before 404 and 405
    body             the small JSON bodies are read before the one hop into a worker thread (a larger one only when its
                     sender is known: strangers take no memory) ...
    handler          ... in which identity, operation and document run as plain synchronous code
    faults           any exception above becomes an answer here, once
    access log       last: one line a request, with what was really sent

Streams (upload, download) are coroutines: they make their own hops, see v2/data.py.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from msgspec.structs import replace

from fanlight.errors import (
    ClientGone,
    FanlightError,
    Invalid,
    LimitExceeded,
    NotAuthenticated,
    RequestIdTooLong,
    StoreError,
)
from fanlight.http import compression, faults, forwarded, json, negotiation
from fanlight.http.call import Answer, Call, Headers
from fanlight.http.edge import Edge
from fanlight.http.identity import RequestHead
from fanlight.http.routes import JSON, REFUSED, STREAMING, Match, Route, Router
from fanlight.logs import REQUEST_ID
from fanlight.model import Caller

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LOG = logging.getLogger(__name__)
NOBODY = Caller()
SMALL = 16 * 1024
"""Bytes of a body that are read before anything is known of its sender."""
LONGEST_ID = 255
"""Characters of the id of a project or a user: the columns have room for so many."""


class Exchange:
    """One request while it is answered: what the access log and the faults need to know."""

    __slots__ = (
        "answered",
        "caller",
        "doing",
        "edge",
        "head",
        "received",
        "request_id",
        "scope",
        "send",
        "sent",
        "show_id",
        "status",
    )

    def __init__(self, edge: Edge, scope: Scope, send: Send) -> None:
        self.edge = edge
        self.scope = scope
        self.send = send
        self.head = RequestHead.from_scope(scope)
        self.request_id = ""
        self.doing: str | None = None
        self.show_id = True
        self.status = 0
        self.sent = 0
        self.received = 0
        self.answered = False
        self.caller = NOBODY

    def started(self, status: int, headers: Headers) -> Headers:
        """Note that an answer begins; its headers with those that every answer carries.

        That is CORS, and the request id (not on the answers that need no identity, nor where it was refused).
        """
        self.answered = True
        self.status = status
        if self.edge.cors.enabled:
            headers = [*headers, *self.edge.cors.headers(self.head)]
        if not self.show_id or not self.request_id:
            return headers
        return [*headers, (b"x-openstack-request-id", self.request_id.encode())]

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        headers = answer.headers
        if answer.status != 204 or headers:
            headers = [*headers, (b"content-length", b"%d" % len(answer.body))]
        headers = self.started(answer.status, headers)
        await self.send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": answer.body})


class Pipeline:
    """The ASGI application."""

    def __init__(self, edge: Edge, router: Router) -> None:
        self._edge = edge
        self._router = router
        self._proxied = edge.service.settings.server.enable_proxy_headers_parsing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"unknown protocol {scope['type']}")
        started = time.perf_counter()
        exchange = Exchange(self._edge, scope, send)
        if self._proxied:
            exchange.head = forwarded.believe(exchange.head)
        try:
            await self._respond(exchange, receive)
        except Exception as error:
            await self._fail(exchange, error)
        finally:
            cycle = scope["extensions"]["fanlight.cycle"]
            exchange.received, exchange.sent = cycle.received, cycle.sent
            exchange.status = cycle.refused or exchange.status
            self._edge.access_log.write(exchange, time.perf_counter() - started)

    async def _respond(self, exchange: Exchange, receive: Receive) -> None:
        edge, head = self._edge, exchange.head
        exchange.request_id = name_request(head.get("x-openstack-request-id"), edge.max_request_id_length)
        REQUEST_ID.set(exchange.request_id)
        if head.method == "OPTIONS":
            exchange.show_id = False
            await exchange.answer(Answer(200, []))
            return
        place = negotiation.split(head.path, head.get("accept"), edge.versions)
        if place.kind != "api":
            exchange.show_id = False
            await exchange.answer(compression.compress(place.answer(head, edge), head))
            return
        match = self._router.match(head.method, place.path)
        exchange.doing = match.route.doing if match.route else None
        if exchange.doing in STREAMING:
            await self._stream(exchange, match)
            return
        if is_large(match.route, head):
            await edge.pools.metadata(self._identify, exchange, match, b"")
        body = await read_body(match.route, receive, edge.max_json_body)
        run = edge.pools.storing if exchange.doing in edge.storing else edge.pools.metadata
        await exchange.answer(await run(self._handle, exchange, match, body))

    def _handle(self, exchange: Exchange, match: Match, body: bytes) -> Answer:
        """In a worker thread: who calls, does the route exist, may it have a body, and the handler itself."""
        call, function = self._identify(exchange, match, body)
        answer: Answer = function(call)
        return compression.compress(answer, exchange.head)

    async def _stream(self, exchange: Exchange, match: Match) -> None:
        call, function = await self._edge.pools.metadata(self._identify, exchange, match, b"")
        answer = await function(call, exchange)
        if answer is not None:
            await exchange.answer(answer)

    def _identify(self, exchange: Exchange, match: Match, body: bytes) -> tuple[Call, Callable[..., Any]]:
        """In a worker thread: the call and its handler. Raises NotAuthenticated before anything else is told."""
        edge, head = self._edge, exchange.head
        caller = edge.identity.identify(head)
        if len(caller.project_id or "") > LONGEST_ID or len(caller.user_id or "") > LONGEST_ID:
            raise NotAuthenticated(f"The ids of projects and users have at most {LONGEST_ID} characters.")
        exchange.caller = replace(caller, request_id=exchange.request_id)
        route = match.route
        if route is None:
            raise faults.no_route(match.status, head.method, match.allow)
        for value in match.params.values():
            if not value.isascii() or "\0" in value:
                require_utf_8(exchange.scope["raw_path"])
                json.require_storable(value)
        if route.body == REFUSED and has_body(head):
            raise Invalid("The request must not have a body.")
        return Call(edge, head, match.params, body, exchange.caller), route.function

    async def _fail(self, exchange: Exchange, error: Exception) -> None:
        """Answer `error`, or cut the connection where an answer has already begun."""
        fault = faults.answer(error, exchange.head, exchange.doing)
        if _needs_trace(error, fault.status):
            LOG.error("%s %s failed", exchange.head.method, exchange.head.path, exc_info=error)
        elif fault.status >= 500 and (exchange.answered or not _is_told(error, exchange.doing)):
            LOG.warning("%s %s: %s", exchange.head.method, exchange.head.path, error)
        if exchange.answered:
            # The head said 200: returning without the end of the body makes the server cut the connection,
            # which is the only thing that can still tell the client.
            return
        if fault.status == 401:
            exchange.show_id = False
        await exchange.answer(fault)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._edge.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self._edge.stop()
                self._edge.access_log.flush()
                await send({"type": "lifespan.shutdown.complete"})
                return


def name_request(given: str | None, longest: int) -> str:
    """The id of a request: the client's own, always beginning `req-`, or a new one. Raises RequestIdTooLong."""
    if given and 0 < longest < len(given):
        raise RequestIdTooLong(f"The request id is longer than {longest} characters.")
    # With blanks and other characters in it an id could pass for further fields of a log line.
    if not given or not given.isascii() or not given.isprintable() or " " in given:
        return f"req-{uuid.uuid4()}"
    return given if given.startswith("req-") else f"req-{given}"


def is_large(route: Route | None, head: RequestHead) -> bool:
    """Whether the body of a route that takes JSON may be more than is read of anybody."""
    if route is None or route.body != JSON:
        return False
    length = head.get("content-length")
    return not length.isdigit() or int(length) > SMALL if length else head.get("transfer-encoding") is not None


def has_body(head: RequestHead) -> bool:
    """Whether the request brings a body: a length above 0, or (POST, PUT, PATCH) a transfer coding."""
    length = head.get("content-length")
    if length is not None and length != "0":
        return True
    return head.method in {"POST", "PUT", "PATCH"} and head.get("transfer-encoding") is not None


def _needs_trace(error: Exception, status: int) -> bool:
    """Whether the log must show where an error came from. A store's own (no other caused it) says all there is."""
    if not isinstance(error, FanlightError):
        return True
    return status == 500 and not (isinstance(error, StoreError) and error.__cause__ is None)


def _is_told(error: Exception, doing: str | None) -> bool:
    """Whether the log has the cause: of a download, operations/reading.py tells each location that does not open."""
    return doing == "download" and isinstance(error, StoreError)


def require_utf_8(raw_path: bytes) -> None:
    """Raise Invalid if a path, still percent-encoded, is not UTF-8: what was decoded of it is not what was asked."""
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        raise Invalid("The path is not UTF-8.") from None


async def read_body(route: Route | None, receive: Receive, most: int) -> bytes:
    """The whole body of a route that takes JSON, at most `most` bytes (LimitExceeded); nothing for other routes."""
    if route is None or route.body != JSON:
        return b""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise LimitExceeded(f"The JSON body is larger than {most} bytes.")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
