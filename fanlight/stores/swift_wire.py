"""Calls of python-swiftclient for one account: with a valid token, over kept connections, with errors explained.

swiftclient's `Connection` serves one thread and knows no end of a token, so its functions are used beneath it.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from fanlight.errors import (
    BadStoreConfiguration,
    FanlightError,
    ObjectExists,
    StoreForbidden,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores.patience import Turn
from fanlight.stores.statuses import PASSING, meaning

CONNECT_SECONDS = 5
STORE_SECONDS = 60
"""How long Swift may take to take or store a piece of a body."""
READ_SECONDS = 30
"""How long a body that comes may pause."""
LOOK_SECONDS = 10
"""How long Swift may take to answer a request that moves no data."""
LONG = {"get_container": 60, "delete_object": 60}
"""The same for those that are more work: a long list, a static large object with all its segments."""
IDLE = 8
"""Connections to one server that are kept for later."""
IDLE_SECONDS = 30.0
"""How long. A firewall may have forgotten an older one, and tell nobody: its next request would wait in vain."""
PAUSES = (0.2, 1.0)
"""Seconds before a request that failed for a passing reason is repeated."""
_BROKEN = frozenset({408, 499})
"""Statuses after which a connection is in an unknown state."""


class Grant(Struct, frozen=True):
    """What a login gives: the storage URL, a token, and when that ends (seconds since 1970; None: not known)."""

    storage: str
    token: str
    ends: float | None = None

    def __repr__(self) -> str:
        return "<Grant>"


class Session:
    """The valid token of one account. `log_in` gets one; `renewable`: it can get others."""

    def __init__(self, log_in: Callable[[], Grant], margin: float = 0, *, renewable: bool = True) -> None:
        self._log_in, self._margin, self._renewable = log_in, margin, renewable
        self._entering = Turn()
        self._grant: Grant | None = None

    def grant(self) -> Grant:
        """A token that holds for at least the margin. Raises StoreError."""
        grant = self._grant
        if grant is not None and self._lasts(grant):
            return grant
        with self._entering.taken():
            grant = self._grant
            if grant is None or not self._lasts(grant):
                grant = self._grant = self._log_in()
            return grant

    def refused(self, grant: Grant) -> bool:
        """The server does not take this token. Whether another one can be had."""
        known = self._grant
        # Without the turn, which may be waited for: at worst a token that has just come is fetched once more.
        if known is not None and known.token == grant.token:
            self._grant = None
        return self._renewable

    def _lasts(self, grant: Grant) -> bool:
        return not self._renewable or grant.ends is None or time.time() + self._margin < grant.ends


class Elsewhere:
    """The session of an account, for another account's storage that lets it in."""

    def __init__(self, session: Session, storage: str) -> None:
        self._session, self._storage = session, storage

    def grant(self) -> Grant:
        """As of the session. Raises StoreError."""
        grant = self._session.grant()
        return Grant(self._storage, grant.token, grant.ends)

    def refused(self, grant: Grant) -> bool:
        """As of the session."""
        return self._session.refused(grant)


class Wires:
    """Connections that are open: to any server, for any account, each used by one thread at a time."""

    def __init__(self, verify: bool | str) -> None:
        self._verify = verify
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str, float], deque[tuple[float, Any]]] = {}
        """Each with the time since when, the oldest first."""

    def take(self, storage: str, seconds: float) -> Any:
        """What swiftclient calls `http_conn`. `seconds`: the limit for whatever is waited for.

        While a body is sent, urllib3 leaves a socket at the limit of the request before, or of connecting: so each
        limit has connections of its own, and where data is sent connecting has that same limit.
        """
        parts = urlsplit(storage)
        self._close_old()
        with self._lock:
            idle = self._idle.get((parts.scheme, parts.netloc, seconds))
            connection = idle.pop()[1] if idle else None
        if connection is None:
            cacert = self._verify if isinstance(self._verify, str) else None
            connection = swiftclient().HTTPConnection(storage, cacert=cacert, insecure=self._verify is False)
            # Elsewhere a PUT would come without its bytes, a DELETE as a GET, and the token to whoever is there.
            connection.requests_args["allow_redirects"] = False
        connecting = seconds if seconds >= STORE_SECONDS else CONNECT_SECONDS
        connection.requests_args["timeout"] = (connecting, seconds)
        return parts, connection

    def give(self, wire: Any) -> None:
        """Back, after an answer was read to its end."""
        parts, connection = wire
        with self._lock:
            seconds = connection.requests_args["timeout"][1]
            idle = self._idle.setdefault((parts.scheme, parts.netloc, seconds), deque())
            if len(idle) < IDLE:
                idle.append((time.monotonic(), connection))
                return
        _hang_up(connection)

    def _close_old(self) -> None:
        """Close what was kept for long enough, to whatever server."""
        with self._lock:
            start = time.monotonic() - IDLE_SECONDS
            kept = self._idle.values()
            old = [idle.popleft()[1] for idle in kept for _ in range(len(idle)) if idle[0][0] < start]
        for connection in old:
            _hang_up(connection)


def _hang_up(connection: Any) -> None:
    connection.close()
    # urllib3 ends an idle connection when the last answer over it is forgotten, and swiftclient's refers to itself.
    connection.resp = None


class Body(Protocol):
    """What a PUT sends. swiftclient sees a file."""

    failure: BaseException | None
    """What the source has raised."""

    @property
    def fresh(self) -> bool:
        """Whether it can be sent from the start."""

    def read(self, size: int = -1, /) -> bytes | memoryview: ...


class Link:
    """Requests to one account."""

    def __init__(self, session: Session | Elsewhere, wires: Wires) -> None:
        self._session, self._wires = session, wires

    def storage(self) -> str:
        """The storage URL. Raises StoreError."""
        return self._session.grant().storage

    def look(self, function: str, *arguments: Any, **more: Any) -> Any:
        """A request that moves no data and can be repeated."""
        answer, wire = self._call(function, arguments, more, LONG.get(function, LOOK_SECONDS), lambda: True)
        self._wires.give(wire)
        return answer

    def put(self, container: str, name: str, body: bytes | Body, size: int | None, headers: dict[str, str]) -> str:
        """PUT an object; its ETag. Repeated only while nothing was taken from the body."""

        def fresh() -> bool:
            return isinstance(body, bytes) or body.fresh

        more = {"contents": body, "content_length": size, "headers": headers}
        try:
            etag, wire = self._call("put_object", (container, name), more, STORE_SECONDS, fresh, writing=True)
        except BaseException:
            # What a source raises may look like a failure of the network, and libraries wrap it as one.
            if not isinstance(body, bytes) and body.failure is not None:
                raise body.failure from None
            raise
        self._wires.give(wire)
        return str(etag)

    def get(self, container: str, name: str, headers: dict[str, str]) -> tuple[dict[str, str], Any, Any]:
        """GET an object: headers of the answer, its body, and the connection to give back or close."""
        more = {"headers": headers, "resp_chunk_size": 1}
        (found, body), wire = self._call("get_object", (container, name), more, READ_SECONDS, lambda: True)
        return found, body, wire

    def done(self, wire: Any, whole: bool) -> None:
        """After a `get`: the answer was read to its end, or is given up."""
        if whole:
            self._wires.give(wire)
        else:
            _hang_up(wire[1])

    def _call(
        self,
        function: str,
        arguments: tuple[Any, ...],
        more: dict[str, Any],
        seconds: float,
        fresh: Callable[[], bool],
        *,
        writing: bool = False,
    ) -> tuple[Any, Any]:
        """The answer, and the connection that it came over. Raises StoreError, and what a body raises."""
        client, pauses, renewed = swiftclient(), iter(PAUSES), False
        while True:
            grant = self._session.grant()
            wire = self._wires.take(grant.storage, seconds)
            try:
                return getattr(client, function)(grant.storage, grant.token, *arguments, http_conn=wire, **more), wire
            except BaseException as error:
                status = getattr(error, "http_status", None)
                if status is None or status in _BROKEN or not fresh():
                    _hang_up(wire[1])
                else:
                    self._wires.give(wire)
                if not isinstance(error, failures()):
                    raise
                if status == 401 and not renewed and fresh() and self._session.refused(grant):
                    renewed = True
                    continue
                pause = next(pauses, None) if _passes(error) and fresh() else None
                if pause is None:
                    raise explain(error, writing) from error
                time.sleep(pause)


@contextmanager
def explained(*, writing: bool = False) -> Iterator[None]:
    """What the errors of the libraries mean."""
    try:
        yield
    except failures() as error:
        raise explain(error, writing) from error


def explain(error: BaseException, writing: bool = False) -> FanlightError:
    """What an exception of swiftclient, requests or urllib3 means."""
    status = getattr(error, "http_status", None)
    if status is not None:
        if 300 <= status < 400:
            return StoreUnreachable(f"Swift redirects ({status}): its endpoint must be configured as it really is.")
        return ObjectExists() if status == 409 else meaning(status, "Swift", writing=writing)
    if _is_timeout(error):
        return StoreTimeout()
    if isinstance(error, swiftclient().ClientException):
        # No answer of a server: swiftclient itself says that a login failed.
        return StoreForbidden("Swift's account cannot be used: the login failed.")
    return StoreUnreachable()


def swiftclient() -> Any:
    """The module, told to show nothing of a token in its log. Raises BadStoreConfiguration where it is missing."""
    try:
        from swiftclient import client
    except ImportError as error:
        raise BadStoreConfiguration("python-swiftclient is missing: pip install 'fanlight[swift]'") from error
    client.logger_settings["reveal_sensitive_prefix"] = 0
    return client


def failures() -> tuple[type[BaseException], ...]:
    """What calls raise when the server or the way to it fails."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    return swiftclient().ClientException, RequestException, HTTPError, http.client.HTTPException, OSError


def _passes(error: BaseException) -> bool:
    """Whether the same request may go well in a moment. A server that was silent has had its time."""
    status = getattr(error, "http_status", None)
    if status is not None:
        return status in PASSING
    return not _is_timeout(error) and not _is_refused(error)


def _is_timeout(error: BaseException) -> bool:
    from requests import Timeout
    from urllib3.exceptions import TimeoutError as Urllib3Timeout

    return isinstance(error, Timeout | Urllib3Timeout | TimeoutError)


def _is_refused(error: BaseException) -> bool:
    """Whether there was no connection at all, or none that can be trusted: no use in asking again."""
    from requests.exceptions import SSLError
    from urllib3.exceptions import NewConnectionError

    reason = getattr(error.args[0] if error.args else None, "reason", error)
    return isinstance(reason, NewConnectionError) or isinstance(error, SSLError)
