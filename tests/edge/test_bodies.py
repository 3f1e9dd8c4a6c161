"""Bodies on their way in: complete ones arrive as sent, and no cut one is ever taken for complete."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import subprocess
import time
from pathlib import Path

import pytest

from .raw import Server, Start, closed, eventually, read_answer

MIB = 1024 * 1024
DATA = random.Random(7).randbytes(9 * MIB + 12345)


def digest(data: bytes) -> bytes:
    return f"{len(data)} {hashlib.md5(data).hexdigest()}".encode()


def head(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"PUT {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def with_length(path: str, length: int, *headers: str) -> bytes:
    return head(path, f"Content-Length: {length}", *headers)


def chunked(data: bytes, size: int) -> bytes:
    pieces = (data[place : place + size] for place in range(0, len(data), size))
    return b"".join(b"%x;name=value\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


CHUNKED = "Transfer-Encoding: chunked"
PATHS = ["/upload", "/asgi"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [0, 1, 1000, 65536, 300_000, len(DATA)])
def test_a_body_with_length_arrives(strict: Server, path: str, size: int) -> None:
    with strict.connect() as connection:
        for _ in range(2):
            connection.sendall(with_length(path, size) + DATA[:size])
            assert read_answer(connection).body == digest(DATA[:size])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("size", "chunk"), [(0, 1), (1, 1), (3000, 1), (300_000, 777), (len(DATA), 65536)])
def test_a_chunked_body_arrives(strict: Server, path: str, size: int, chunk: int) -> None:
    with strict.connect() as connection:
        for _ in range(2):
            connection.sendall(head(path, CHUNKED) + chunked(DATA[:size], chunk))
            assert read_answer(connection).body == digest(DATA[:size])


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_in_drops_arrives(strict: Server, framing: str) -> None:
    data = DATA[:3000]
    message = (
        with_length("/upload", 3000) + data if framing == "length" else head("/upload", CHUNKED) + chunked(data, 97)
    )
    with strict.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(0, len(message), 53):
            connection.sendall(message[place : place + 53])
            time.sleep(0.002)
        assert read_answer(connection).body == digest(data)


def test_a_trailer_is_skipped(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(head("/upload", CHUNKED) + b"3\r\nabc\r\n0\r\nX-Checksum: 1\r\n\r\n")
        assert read_answer(connection).body == digest(b"abc")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(
    "offer", ["Connection: Upgrade, HTTP2-Settings", "Connection: close , uPgrade", "connection: upgrade"]
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_body_behind_an_offer_to_upgrade_arrives(
    strict: Server, path: str, framing: str, offer: str, at_once: bool
) -> None:
    """As `curl --http2` sends it. The parser takes the body for the other protocol's."""
    data = DATA[:300_000]
    body = data if framing == "length" else chunked(data, 65_536)
    told = f"Content-Length: {len(data)}" if framing == "length" else CHUNKED
    message = head(path, offer, "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ", told) + body
    with strict.connect() as connection:
        cut = len(message) if at_once else message.index(b"\r\n\r\n") - 5
        connection.sendall(message[:cut])
        if not at_once:
            time.sleep(0.05)
            connection.sendall(message[cut:])
        answer = read_answer(connection)
        assert (answer.status, answer.body) == (200, digest(data))
        assert (answer.headers.get("connection") == "close") == ("close" in offer)
        if "close" not in offer:
            connection.sendall(with_length("/upload", 3) + b"abc")
            assert read_answer(connection).body == digest(b"abc")


def test_offers_one_after_the_other_are_answered_in_order(strict: Server) -> None:
    offer = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    messages = [b"GET /hello/%d HTTP/1.1\r\nHost: x\r\n%s\r\n" % (number, offer) for number in range(20)]
    with strict.connect() as connection:
        connection.sendall(b"".join(messages))
        received = b""
        while received.count(b"HTTP/1.1 200 ") < 20 or not received.endswith(b"19"):
            received += connection.recv(65536)
    assert [part[-2:].strip() for part in received.split(b"HTTP/1.1 200 ")[1:]] == [b"%d" % n for n in range(20)]


@pytest.mark.parametrize("path", PATHS)
def test_trailers_without_end_are_refused(start: Start, path: str) -> None:
    """Whatever the parser keeps of them until they end, it is not without bound."""
    server = start()
    before = server.state()["memory"]
    with server.connect() as connection:
        connection.sendall(head(path, CHUNKED) + b"3\r\nabc\r\n0\r\nX-Long: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                connection.sendall(b"x" * MIB)
        assert read_answer(connection).status in (0, 400)
    assert server.state()["memory"] - before < 12 * MIB


@pytest.mark.parametrize("size", [1, 1000, 70_000, 5 * MIB])
def test_reading_like_a_file(strict: Server, size: int) -> None:
    data = DATA[: 6 * MIB] if size > 1000 else DATA[:5000]
    with strict.connect() as connection:
        connection.sendall(with_length(f"/reads/{size}", len(data)) + data)
        assert read_answer(connection).body == digest(data)


CUTS = [0, 1, 2, 3, 4, 5, 100, 65_535, 65_536, 65_537, 65_544, 131_000, 299_999]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_cut_body_is_never_complete(start: Start, path: str, how: str, framing: str) -> None:
    server = start()
    data = DATA[:300_000]
    body = data if framing == "length" else chunked(data, 65536)
    begin = with_length(path, len(data)) if framing == "length" else head(path, CHUNKED)
    cuts = [*CUTS, *(len(body) - rest for rest in range(1, 12))]
    for cut in cuts:
        with server.connect() as connection:
            if how == "rst":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(begin + body[:cut])
            if random.random() < 0.5:
                time.sleep(0.01)
    eventually(lambda: len(server.outcomes()) >= len(cuts))
    assert [outcome for outcome in server.outcomes() if not outcome.startswith("gone")] == []
    eventually(lambda: server.state()["transfers"] == 0)
    assert server.state()["budget"] == 0


def test_a_killed_client_is_noticed(start: Start, tmp_path: Path) -> None:
    server = start()
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(1 << 34)
    client = subprocess.Popen(
        ["curl", "-sT", str(source), "--limit-rate", "50M", f"http://127.0.0.1:{server.port}/upload"]
    )
    time.sleep(0.5)
    client.kill()
    client.wait()
    eventually(lambda: server.outcomes() != [])
    assert server.outcomes()[0].startswith("gone")


def test_a_body_longer_than_its_length_ends_there(strict: Server) -> None:
    for path in PATHS:
        with strict.connect() as connection:
            connection.sendall(with_length(path, 1000) + DATA[:1000] + b"\x00 more than announced")
            assert read_answer(connection).body == digest(DATA[:1000])


def test_a_request_behind_an_upload_is_answered(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(
            with_length("/upload", 5 * MIB) + DATA[: 5 * MIB] + b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        data = b""
        while not data.endswith(b"hello"):
            data += connection.recv(4096)
        assert digest(DATA[: 5 * MIB]) in data


def test_a_malformed_chunk_is_refused(strict: Server) -> None:
    for path in PATHS:
        with strict.connect() as connection:
            connection.sendall(head(path, CHUNKED) + b"3\r\nabc\r\nzz\r\n")
            answer = read_answer(connection)
            assert (answer.status, answer.headers["connection"]) == (400, "close")


def test_a_malformed_chunk_long_after_the_head_is_refused(strict: Server) -> None:
    for path in PATHS:
        with strict.connect() as connection:
            connection.sendall(head(path, CHUNKED) + chunked(DATA[:MIB], 65536)[:-5])
            time.sleep(0.2)
            connection.sendall(b"zz\r\n")
            answer = read_answer(connection)
            assert (answer.status, answer.headers["connection"]) == (400, "close")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_stalled_body_ends(start: Start, path: str, framing: str) -> None:
    server = start(limits={"body_seconds": 1.0})
    begin = with_length(path, MIB) if framing == "length" else head(path, CHUNKED) + b"100000\r\n"
    with server.connect() as connection:
        connection.sendall(begin + DATA[:200_000])
        began = time.monotonic()
        if path == "/asgi":  # a small body: its reader can be told
            assert read_answer(connection).status == 408
        assert closed(connection)
        assert 0.8 < time.monotonic() - began < 4
    assert len(server.outcomes()) == 1
    assert server.outcomes()[0].startswith("gone")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_that_only_listens_any_more(strict: Server, path: str, framing: str) -> None:
    """It has sent its request and closed its half: it gets its answer, and the connection ends at once."""
    body = chunked(b"hello", 3) if framing == "chunked" else b"hello"
    begin = head(path, CHUNKED) if framing == "chunked" else with_length(path, 5)
    with strict.connect() as connection:
        connection.sendall(begin + body)
        connection.shutdown(socket.SHUT_WR)
        began = time.monotonic()
        assert read_answer(connection).body == digest(b"hello")
        assert closed(connection)
        assert time.monotonic() - began < 1


@pytest.mark.parametrize("path", PATHS)
def test_half_a_body_from_a_client_that_only_listens_any_more(strict: Server, path: str) -> None:
    before = len(strict.outcomes())
    with strict.connect() as connection:
        connection.sendall(with_length(path, 6) + b"hello")
        connection.shutdown(socket.SHUT_WR)
        assert closed(connection)
    eventually(lambda: strict.outcomes()[before:] != [])
    [outcome] = strict.outcomes()[before:]
    assert outcome.startswith("gone")


def test_a_slow_but_steady_body_is_not_ended(strict: Server) -> None:
    for path in PATHS:
        with strict.connect() as connection:
            connection.sendall(with_length(path, 6))
            for byte in b"steady":
                time.sleep(0.5)
                connection.sendall(bytes([byte]))
            assert read_answer(connection).body == digest(b"steady")


@pytest.mark.parametrize("path", PATHS)
def test_expect_continue(strict: Server, path: str) -> None:
    with strict.connect() as connection:
        connection.sendall(with_length(path, 5, "Expect: 100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert read_answer(connection).body == digest(b"hello")


def test_nothing_is_asked_for_before_it_is_wanted(strict: Server) -> None:
    """What is refused in a worker thread is refused without the body."""
    with strict.connect() as connection:
        connection.sendall(with_length("/unwanted", 5, "Expect: 100-continue"))
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_expect_continue_refused_gets_no_continue(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(with_length("/refuse", 5, "Expect: 100-continue"))
        first = connection.recv(4096)
        assert first.startswith(b"HTTP/1.1 413 ")
        assert read_answer(connection, first).body == b"no"
        assert closed(connection)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("path", ["/refuse", "/upload/cap=1000000"])
def test_an_early_answer_is_seen(strict: Server, framing: str, path: str) -> None:
    """The client sends on and on, without looking; the answer must still be there when it looks."""
    with strict.connect() as connection:
        size = 48 * MIB
        connection.sendall(with_length(path, size) if framing == "length" else head(path, CHUNKED))
        piece = DATA[:MIB] if framing == "length" else b"100000\r\n" + DATA[:MIB] + b"\r\n"
        for _ in range(size // MIB):
            connection.sendall(piece)
        answer = read_answer(connection)
        assert (answer.status, answer.complete, answer.headers["connection"]) == (413, True, "close")
        assert closed(connection)


def test_an_early_answer_is_seen_by_curl_and_requests(strict: Server, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(20 * MIB))
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-T", str(source)]
    for path in ("/refuse", "/upload/cap=1000000"):
        url = f"http://127.0.0.1:{strict.port}{path}"
        for options in ([], ["-H", "Expect:"], ["-H", CHUNKED, "-H", "Expect:"]):
            assert subprocess.run([*command, *options, url], capture_output=True, text=True).stdout == "413"
        import requests

        with source.open("rb") as file:
            assert requests.put(url, data=file, timeout=20).status_code == 413


def test_lingering_is_bounded(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(with_length("/refuse", 1 << 40))
        assert read_answer(connection).status == 413
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 10:
                connection.sendall(DATA[:MIB])
                time.sleep(0.05)
        assert time.monotonic() - began < 5


def test_a_small_unread_body_keeps_the_connection(strict: Server) -> None:
    with strict.connect() as connection:
        for _ in range(2):
            connection.sendall(with_length("/late", 5000))
            connection.sendall(DATA[:2000])
            assert read_answer(connection).body == b"late"
            connection.sendall(DATA[2000:5000])
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection).body == b"hello"


@pytest.mark.parametrize(("announced", "sent"), [(1000, 999), (1000, 1001), (0, 1), (10_000_000, 100)])
def test_an_announced_size_is_checked(strict: Server, announced: int, sent: int) -> None:
    with strict.connect() as connection:
        connection.sendall(with_length(f"/upload/size={announced}", sent) + DATA[:sent])
        answer = read_answer(connection)
        assert answer.status == 400
        assert b"announced" in answer.body


def test_a_service_can_end_an_upload_and_say_why(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(with_length("/closing/0.2", MIB) + DATA[:1000])
        began = time.monotonic()
        answer = read_answer(connection)
        assert (answer.status, answer.body) == (410, b"ended by the service")
        assert time.monotonic() - began < 0.9


def test_no_descriptor_and_no_memory_is_left_behind(start: Start) -> None:
    server = start()
    before = server.state()["files"]
    for number in range(60):
        with server.connect() as connection:
            connection.sendall(with_length("/upload", 500_000) + DATA[: 500_000 if number % 2 else 400_000])
            if number % 2:
                read_answer(connection)
    eventually(lambda: server.state()["transfers"] == 0)
    eventually(lambda: server.state()["files"] <= before)
    assert server.state()["budget"] == 0
