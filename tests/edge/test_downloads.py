"""Bodies on their way out: complete, bounded by what the client takes, and visibly cut when they fail."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .raw import Server, Start, closed, eventually, read_answer

MIB = 1024 * 1024
WAYS = ["file", "blocks"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("data") / "data"
    path.write_bytes(os.urandom(40 * MIB + 123))
    yield path
    path.unlink()


def read_complete(connection: socket.socket, begun: bytes = b"") -> bool:
    try:
        return read_answer(connection, begun).complete
    except ConnectionError:
        return False


def can_send(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("way", WAYS)
def test_a_download_arrives_and_the_connection_stays(start: Start, data: Path, way: str) -> None:
    # Not the one with short limits: on a busy machine this client may take nothing for a second.
    with start().connect() as connection:
        for _ in range(2):
            connection.sendall(f"GET /{way}{data} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = read_answer(connection)
            assert answer.status == 200
            whole = data.read_bytes()
            assert (answer.complete, len(answer.body)) == (True, len(whole))
            assert hashlib.sha256(answer.body).digest() == hashlib.sha256(whole).digest()
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection).body == b"hello"


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_download(strict: Server, tmp_path: Path, way: str) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with strict.connect() as connection:
        connection.sendall(f"GET /{way}{empty} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = read_answer(connection)
        assert (answer.status, answer.headers["content-length"], answer.body) == (200, "0", b"")


def test_a_download_behind_another_request(strict: Server, data: Path) -> None:
    with strict.connect() as connection:
        connection.sendall(f"GET /file{data} HTTP/1.1\r\n\r\nGET /hello HTTP/1.1\r\n\r\n".encode() * 2)
        received = 0
        text = b""
        while not (text.endswith(b"hello") and received > 80 * MIB):
            piece = connection.recv(MIB)
            assert piece
            received += len(piece)
            text = (text + piece)[-5:]


def test_a_download_is_cut_at_http_1_0_end(strict: Server, data: Path) -> None:
    with strict.connect() as connection:
        connection.sendall(f"GET /file{data} HTTP/1.0\r\n\r\n".encode())
        answer = read_answer(connection)
        assert answer.complete
        assert closed(connection)


@pytest.mark.parametrize("way", WAYS)
def test_a_slow_reader_gets_everything(strict: Server, data: Path, way: str) -> None:
    with strict.connect(receive_buffer=16384) as connection:
        connection.sendall(f"GET /{way}{data} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = bytearray()
        for _ in range(6):
            received += connection.recv(50_000)
            time.sleep(0.5)
        head, _, begun = bytes(received).partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        digest, count = hashlib.sha256(begun), len(begun)
        while count < length:
            piece = connection.recv(MIB)
            assert piece
            digest.update(piece)
            count += len(piece)
        assert digest.digest() == hashlib.sha256(data.read_bytes()).digest()


@pytest.mark.parametrize("way", WAYS)
def test_a_reader_that_stops_is_cut(strict: Server, data: Path, way: str) -> None:
    before = strict.state()["files"]
    with strict.connect(receive_buffer=16384) as connection:
        connection.sendall(f"GET /{way}{data} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        begun = connection.recv(10)
        time.sleep(4)
        assert not read_complete(connection, begun)
    eventually(lambda: strict.state()["files"] <= before)
    assert any(outcome.startswith("gone") for outcome in strict.outcomes())


def test_an_unread_small_answer_is_cut(start: Start) -> None:
    """A client that sends requests and reads nothing: what it has not read is bounded, and then it is cut."""
    server = start(limits={"answer_seconds": 1.0})
    with server.connect(receive_buffer=4096) as connection:
        connection.settimeout(1)
        request = b"GET /hello/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        assert not can_send(connection, request * 4000)
    assert server.state()["memory"] < 200 * MIB


def test_a_client_that_leaves_ends_the_download(strict: Server, data: Path) -> None:
    before = strict.state()["files"]
    for way in WAYS:
        for _ in range(10):
            with strict.connect() as connection:
                connection.sendall(f"GET /{way}{data} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                connection.recv(1000)
    eventually(lambda: strict.state()["files"] <= before)


def test_data_shorter_than_recorded_is_no_complete_answer(strict: Server, data: Path) -> None:
    with strict.connect() as connection:
        connection.sendall(f"GET /short{data} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert not read_complete(connection)
    assert any("ends before" in outcome for outcome in strict.outcomes())


@pytest.mark.slow
def test_more_downloads_than_sending_threads(start: Start, data: Path) -> None:
    server = start()
    connections = [server.connect(receive_buffer=65536) for _ in range(80)]
    for connection in connections:
        connection.sendall(f"GET /file{data} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for connection in connections[:3]:
        assert read_answer(connection).complete
    for connection in connections:
        connection.close()
