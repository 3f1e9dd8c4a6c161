"""Reading objects over HTTP with the standard library: connections, ranges and bodies, for the drivers that need them.

Why http.client: the connection must go to an address that was judged before (stores/addresses.py), the body must be
counted against what was announced, to the last byte and beyond, and nothing must be decoded on the way. urllib3 and
requests do all three differently, make the same calls underneath and are as fast (docs/stores/http.md has figures).

Every connection serves one request and is closed: what a server sends too much cannot be taken for another answer.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectNotFound,
    RangeNotSatisfiable,
    RangeUnsupported,
    StoreError,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores.driver import Opened

BLOCK = 1024 * 1024
"""Bytes read at a time."""
SKIP_MOST = 64 * 1024 * 1024
"""Bytes thrown away to reach an offset in an answer of a server that knows no ranges. A limit, because a request for
one byte would otherwise fetch a whole image."""
CLOSE_SECONDS = 1.0
"""How long a server may take to close a connection after the last byte, as it was asked to; then it is left alone."""
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)")


class Answer:
    """A response and its connection, until `close`."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        # http.client lets go of it as soon as the head says that the server will close.
        self._socket = connection.sock
        self.response = response = connection.getresponse()
        self.status = response.status

    def header(self, name: str) -> str | None:
        """A header's value."""
        return self.response.getheader(name)

    @property
    def length(self) -> int | None:
        """Content-Length in bytes; None where the answer has none that can be believed."""
        text = (self.header("Content-Length") or "").strip()
        return int(text) if re.fullmatch(r"\d{1,19}", text, re.ASCII) and not self.is_chunked else None

    @property
    def is_chunked(self) -> bool:
        return (self.header("Transfer-Encoding") or "").lower() == "chunked"

    @property
    def total(self) -> int | None:
        """Size of the whole object, as Content-Range tells it."""
        match = _CONTENT_RANGE.fullmatch((self.header("Content-Range") or "").strip())
        return int(match[3]) if match and match[3] != "*" else None

    def range(self) -> tuple[int, int] | None:
        """Start and stop (exclusive) of what a 206 brings."""
        match = _CONTENT_RANGE.fullmatch((self.header("Content-Range") or "").strip())
        return (int(match[1]), int(match[2]) + 1) if match and match[1] is not None else None

    def blocks(self, skip: int, length: int, *, whole: bool) -> Iterator[bytes]:
        """`length` bytes after the first `skip`; `whole`: the body must end there.

        The last block is given out only when everything is known to be right. Raises StoreError.
        """
        if not self.response.chunked:
            # Read on to the end of the connection: http.client would hide what comes beyond the announced length.
            self.response.length = None
        if not length:
            if whole and not skip:
                self._require_end()
            return
        while skip:
            skip -= len(self._read(min(BLOCK, skip)))
        while length:
            block = self._read(min(BLOCK, length))
            length -= len(block)
            if not length and whole:
                self._require_end()
            yield block

    def _read(self, size: int) -> bytes:
        with explained():
            block = self.response.read(size)
        if not block:
            raise StoreError("The server's answer ended before its announced length.")
        return block

    def _require_end(self) -> None:
        try:
            self._socket.settimeout(CLOSE_SECONDS)
            more = self.response.read(1)
        except (OSError, HTTPException):
            # It does not close, or not nicely: all that was announced is here.
            return
        if more:
            raise StoreError("The server's answer is longer than announced.")

    def close(self) -> None:
        """End the connection. Any number of times."""
        self.response.close()
        self._connection.close()


def ask(
    connection: HTTPConnection, method: str, target: str, headers: Mapping[str, str], seconds: float, body: bytes = b""
) -> Answer:
    """Send a request and read the head of its answer; `seconds` is the limit for each wait. Raises StoreError."""
    try:
        with explained():
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(seconds)
            wanted = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": "fanlight", **headers}
            connection.request(method, target, body or None, wanted)
            return Answer(connection)
    except BaseException:
        connection.close()
        raise


def connection_to(
    host: str, port: int, addresses: Iterable[tuple[int, str]], seconds: float, tls: ssl.SSLContext | None
) -> HTTPConnection:
    """A connection to the first of these addresses that takes one. Raises StoreError."""
    failure: Exception | None = None
    for family, address in addresses:
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            opened.settimeout(seconds)
            opened.connect((address, port))
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _over(opened, host, port, tls)
        except OSError as error:
            opened.close()
            failure = error
    with explained():
        raise failure or OSError("no address")
    raise AssertionError


def _over(opened: socket.socket, host: str, port: int, tls: ssl.SSLContext | None) -> HTTPConnection:
    if tls is None:
        connection = HTTPConnection(host, port)
        connection.sock = opened
        return connection
    secure = HTTPSConnection(host, port, context=tls)
    secure.sock = tls.wrap_socket(opened, server_hostname=host)
    return secure


def trust(ca_file: str | None, insecure: bool) -> ssl.SSLContext:
    """How certificates are verified: by these CAs, not at all, or as the system does. Raises BadStoreConfiguration."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        raise BadStoreConfiguration(f"The CA file {ca_file!r} cannot be used: {error}") from error
    if insecure and not ca_file:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def range_header(offset: int, length: int | None) -> dict[str, str]:
    """The header that asks for `length` bytes (None: all) from `offset`; none where everything is wanted."""
    if not offset and length is None:
        return {}
    return {"Range": f"bytes={offset}-" + ("" if length is None else str(offset + length - 1))}


def opened(answer: Answer, offset: int, length: int | None) -> Opened:
    """What a good answer (200 or 206) to a request with `range_header` brings, checked.

    Raises RangeNotSatisfiable, RangeUnsupported, StoreError; the answer is then closed.
    """
    try:
        if answer.status == 206:
            size = _checked_range(answer, offset, length)
            return Opened(size, answer.blocks(0, size, whole=True), answer.close)
        size = _checked_whole(answer, offset, length)
        return Opened(size, answer.blocks(offset, size, whole=offset + size == answer.length), answer.close)
    except BaseException:
        answer.close()
        raise


def nothing(answer: Answer, offset: int, length: int | None) -> Opened:
    """What 416 means: no bytes where none were asked for (at the end of the object). Raises RangeNotSatisfiable."""
    total = answer.total
    answer.close()
    if offset == total and not length:
        return Opened(0, iter(()), answer.close)
    raise RangeNotSatisfiable(size=total)


def _checked_range(answer: Answer, offset: int, length: int | None) -> int:
    """How many bytes a 206 brings: those that were asked for, or it is an error."""
    found, total = answer.range(), answer.total
    if found is None or found[0] != offset:
        raise StoreError("The server answered with another range than was asked for.")
    size = found[1] - offset
    if answer.length is not None and answer.length != size:
        raise StoreError("The server's answer has another length than its range.")
    wanted = length if length is not None else None if total is None else total - offset
    if wanted is not None and size != wanted:
        if total is not None and offset + wanted > total:
            raise RangeNotSatisfiable(size=total)
        raise StoreError("The server answered with another range than was asked for.")
    return size


def _checked_whole(answer: Answer, offset: int, length: int | None) -> int:
    """How many bytes of a 200 are wanted: all of it, or a part that has to be cut out."""
    total = answer.length
    if total is None and length is None:
        raise StoreError("The server does not tell the size of the data.")
    if total is not None and offset + (length or 0) > total:
        raise RangeNotSatisfiable(size=total)
    if offset > SKIP_MOST:
        raise RangeUnsupported("The server of this image does not send parts of it.")
    return length if length is not None else (total or 0) - offset


@contextmanager
def explained() -> Iterator[None]:
    """What the errors of sockets, TLS and http.client mean."""
    try:
        yield
    except TimeoutError as error:
        raise StoreTimeout("The server did not answer in time.") from error
    except ssl.SSLCertVerificationError as error:
        raise StoreUnreachable(f"The server's certificate is not trusted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise StoreUnreachable(f"TLS with the server failed: {error.reason or 'it closed the connection'}") from error
    except IncompleteRead as error:
        raise StoreError("The server's answer ended before its announced length.") from error
    except OSError as error:
        raise StoreUnreachable(f"The server cannot be reached: {error.strerror or 'it hung up'}") from error
    except HTTPException as error:
        raise StoreError("The server's answer is no HTTP.") from error


def failure(status: int) -> StoreError:
    """What a status from 400 on means. The page that came with it is not shown: it may repeat what was sent."""
    text = f"The server answered with status {status}."
    if status in (404, 410):
        return ObjectNotFound()
    return StoreUnreachable(text) if status >= 500 or status in (407, 408, 429) else MalformedLocation(text)
