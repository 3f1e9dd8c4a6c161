"""Small requests on one connection: keep-alive, pipelining, heads too slow or too large, malformed ones."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from .raw import Server, Start, closed, eventually, read_answer

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


def test_two_requests_use_one_connection(strict: Server) -> None:
    with strict.connect() as connection:
        for _ in range(2):
            connection.sendall(HELLO)
            assert read_answer(connection).body == b"hello"


def test_pipelined_requests_are_answered_in_order(strict: Server) -> None:
    with strict.connect() as connection:
        paths = ["/sleep/0.2", "/hello/b", "/hello/c", "/hello/d"]
        connection.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
        read_answer_of(connection, [None, b"b", b"c", b"d"])


def test_more_pipelined_requests_than_anybody_sends_end_the_connection(strict: Server) -> None:
    """The first ones are answered; nothing is kept of the others."""
    with strict.connect() as connection:
        connection.sendall(b"GET /sleep/0.2 HTTP/1.1\r\nHost: x\r\n\r\n" + HELLO * 500)
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                received += piece
    assert received.count(b"HTTP/1.1 200 ") == 65
    assert received.count(b"hello") == 64


@pytest.mark.parametrize("answers_are_read", [True, False])
@pytest.mark.parametrize("message", [HELLO, b"POST /asgi HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"])
def test_pipelining_without_end_takes_no_memory(start: Start, message: bytes, answers_are_read: bool) -> None:
    server = start()
    before = server.state()["memory"]
    reader: threading.Thread | None = None
    with server.connect(timeout=2) as connection, contextlib.suppress(OSError):
        # In pieces in which less wait than end the connection.
        if answers_are_read:
            reader = threading.Thread(target=drained, args=(connection,))
            reader.start()
        for _ in range(3000):
            connection.sendall(message * 40)
            if answers_are_read:
                time.sleep(0.001)
    if reader is not None:
        reader.join()
    assert server.state()["memory"] - before < 24 * 2**20


def drained(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while connection.recv(1 << 20):
            pass


def test_idle_connections_make_room(start: Start) -> None:
    """Many that say nothing leave descriptors for one that works, and a new one still gets in."""
    server = start(files=96)
    idle = [server.connect() for _ in range(150)]
    with server.connect() as connection:
        connection.sendall(b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000))
        assert read_answer(connection).status == 200
        assert server.state()["files"] < 90
    assert 100 < sum(ended(one) for one in idle) < 150


def ended(connection: socket.socket) -> bool:
    """Whether the other side has closed it, without a wait."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def read_answer_of(connection: object, bodies: list[bytes | None]) -> None:
    """Answers that may share packets: read a byte at a time."""
    from socket import socket

    assert isinstance(connection, socket)
    for expected in bodies:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = b""
        while len(body) < length:
            body += connection.recv(1)
        if expected is not None:
            assert body == expected


def test_connection_close_is_obeyed(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = read_answer(connection)
        assert answer.headers["connection"] == "close"
        assert closed(connection)


def test_http_1_0_closes(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
        assert read_answer(connection).body == b"hello"
        assert closed(connection)


def test_head_has_no_body(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(b"HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n" + HELLO)
        data = b""
        while not data.endswith(b"hello"):
            data += connection.recv(4096)
        assert data.count(b"hello") == 1


@pytest.mark.parametrize("beginning", [b"", b"GET /hel", b"GET /hello HTTP/1.1\r\nHost: x\r\nX-A: b"])
def test_a_slow_head_ends_the_connection(strict: Server, beginning: bytes) -> None:
    with strict.connect() as connection:
        connection.sendall(beginning)
        began = time.monotonic()
        answer = read_answer(connection)
        assert 0.8 < time.monotonic() - began < 3.5
        assert answer.status == (408 if beginning else 0)


@pytest.mark.parametrize("path", ["hello", "sleep/0.5"])
def test_a_client_that_only_listens_any_more(strict: Server, path: str) -> None:
    """As `nc -N` and old scripts do: all that was asked is answered, in turn, and the connection ends at once."""
    with strict.connect() as connection:
        connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + HELLO)
        connection.shutdown(socket.SHUT_WR)
        read_answer_of(connection, [None, b"hello"])
        began = time.monotonic()
        assert closed(connection)
        assert time.monotonic() - began < 1


def test_a_dripping_head_does_not_get_more_time(strict: Server) -> None:
    with strict.connect() as connection:
        connection.settimeout(0.2)
        connection.sendall(b"GET /hello HTTP/1.1\r\nX-A: ")
        began = time.monotonic()
        answered = b""
        while not answered and time.monotonic() - began < 5:
            connection.sendall(b"a")
            try:
                answered = connection.recv(100)
            except TimeoutError:
                continue
        assert answered.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < 3.5


def test_a_slow_second_head_ends_the_connection(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(HELLO)
        read_answer(connection)
        connection.sendall(b"GET /he")
        assert read_answer(connection).status == 408


def test_an_idle_connection_is_closed(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(HELLO)
        read_answer(connection)
        began = time.monotonic()
        assert closed(connection)
        assert 1.2 < time.monotonic() - began < 4


def test_a_long_head_is_431(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n")
        answer = read_answer(connection)
        assert answer.status == 431
        assert answer.headers["connection"] == "close"
    eventually(lambda: "answered 431 to 127.0.0.1: The request line" in strict.log.read_text())


def test_a_head_without_end_is_431(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nX-A: ")
        for _ in range(20):
            connection.sendall(b"a" * 65536)
        assert read_answer(connection).status == 431


def test_a_long_url_is_431(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(b"GET /hello/" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection).status == 431


def test_many_headers_below_the_limit_pass(strict: Server) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 100) for number in range(500))
    with strict.connect() as connection:
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
        assert read_answer(connection).status == 200


MALFORMED = {
    "no http": b"hello\r\n\r\n",
    "both framings": b"POST /asgi HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /asgi HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "negative length": b"POST /asgi HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "length with a plus": b"POST /asgi HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
    "huge length": b"POST /asgi HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "blank before the colon": b"GET /hello HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc",
    "folded header": b"GET /hello HTTP/1.1\r\nX-A: b\r\n c\r\n\r\n",
    "control character": b"GET /hello HTTP/1.1\r\nX-A: \x00\r\n\r\n",
    "bytes in the path": b"GET /hello/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_400(strict: Server, name: str) -> None:
    with strict.connect() as connection:
        connection.sendall(MALFORMED[name])
        answer = read_answer(connection)
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert closed(connection)


def test_garbage_behind_a_request_does_not_disturb_its_answer(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(b"GET /sleep/0.2 HTTP/1.1\r\nHost: x\r\n\r\n\x00\x01garbage\r\n\r\n")
        answer = read_answer(connection)
        assert (answer.status, answer.complete) == (200, True)
        assert closed(connection)


def test_an_upgrade_is_not_taken_up(strict: Server) -> None:
    with strict.connect() as connection:
        for _ in range(2):
            connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            answer = read_answer(connection)
            assert (answer.status, answer.body) == (200, b"hello")


NO_TARGETS = {
    "a tunnel": b"CONNECT a:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a port that cannot be": b"GET http://a:999999/v2 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
    "half an address": b"GET http://[::1/v2 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", NO_TARGETS)
def test_a_target_that_cannot_be_is_400(strict: Server, name: str) -> None:
    """Also as the first request of a connection."""
    with strict.connect() as connection:
        connection.sendall(NO_TARGETS[name])
        assert read_answer(connection).status == 400
        assert closed(connection)
    assert "Traceback" not in strict.log.read_text()


@pytest.mark.parametrize("codings", [b"gzip", b"gzip, chunked", b"deflate,chunked", b"identity, chunked"])
def test_codings_that_are_not_decoded_are_refused(strict: Server, codings: bytes) -> None:
    """Or the encoded bytes would be taken for the data (RFC 9112, 6.1)."""
    with strict.connect() as connection:
        connection.sendall(b"PUT /upload HTTP/1.1\r\nTransfer-Encoding: %s\r\n\r\n3\r\nabc\r\n0\r\n\r\n" % codings)
        assert read_answer(connection).status == 400
        assert closed(connection)
    assert strict.outcomes() == [] or "uploaded 3" not in strict.outcomes()[-1]


def test_a_small_answer_is_one_packet(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(HELLO)
        assert connection.recv(4096).endswith(b"\r\n\r\nhello")


def test_the_date_is_told(strict: Server) -> None:
    assert strict.get("/hello").headers["date"].endswith(" GMT")
