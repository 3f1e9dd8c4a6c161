"""Five hundred clients that stall in mid-transfer cost sleeping threads and descriptors, and nobody's time."""

from __future__ import annotations

import socket
import statistics
import time
from pathlib import Path

import pytest

from .raw import Server, Start, eventually, read_answer

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.usefixtures("many_files")]
MIB = 1024 * 1024
COUNT = 500


def typical_request(server: Server, path: str) -> tuple[float, float]:
    """Median and slowest of 200 requests on one connection, in seconds."""
    times = []
    with server.connect() as connection:
        for _ in range(200):
            began = time.perf_counter()
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert read_answer(connection).status == 200
            times.append(time.perf_counter() - began)
    return statistics.median(times), max(times)


def test_500_stalled_uploads_and_500_unread_downloads(start: Start, tmp_path: Path) -> None:
    server = start(threads=510)
    data = tmp_path / "data"
    with data.open("wb") as file:
        file.truncate(64 * MIB)
    usual, _ = typical_request(server, "/hop")
    before = server.state()
    clients: list[socket.socket] = []
    try:
        for number in range(COUNT):
            upload, download = server.connect(), server.connect(receive_buffer=16384)
            upload.sendall(b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
            way = "file" if number % 2 else "blocks"
            download.sendall(f"GET /{way}{data} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            clients += [upload, download]
        eventually(lambda: server.state()["transfers"] == COUNT, 20)
        eventually(lambda: server.state()["budget"] == 0)
        after = server.state()
        median, slowest = typical_request(server, "/hop")
        assert median < 3 * usual + 0.001
        assert slowest < 0.3
        assert after["threads"] < COUNT + 60
        assert after["memory"] - before["memory"] < 450 * MIB

        for _ in range(10):
            another = server.connect()
            another.sendall(b"PUT /upload/pause=0.01 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
            clients.append(another)
            assert read_answer(another).status == 200
        data.write_bytes(b"served")
        assert server.get(f"/file{data}").body == b"served"
    finally:
        for client in clients:
            client.close()
    eventually(lambda: server.state()["transfers"] == 0)
    eventually(lambda: server.state()["files"] <= before["files"] + 2)


def test_when_all_threads_are_taken_the_next_is_told_at_once(start: Start) -> None:
    server = start(threads=3)
    stalled = [server.connect() for _ in range(3)]
    for client in stalled:
        client.sendall(b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    eventually(lambda: server.state()["transfers"] == 3)
    with server.connect() as connection:
        began = time.monotonic()
        connection.sendall(b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert read_answer(connection).status == 503
        assert time.monotonic() - began < 1
    for client in stalled:
        client.close()
    eventually(lambda: server.state()["transfers"] == 0)
    with server.connect() as connection:
        connection.sendall(b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        assert read_answer(connection).status == 200


def test_many_slow_uploads_stay_within_the_budget(start: Start) -> None:
    """Twelve clients send faster than the service takes; the blocks shrink, and memory stays bounded."""
    server = start(budget={"total": 8 * MIB, "share": 4 * MIB, "largest": 4 * MIB, "smallest": 256 * 1024})
    begin = server.state()["memory"]
    clients = [server.connect() for _ in range(12)]
    size = 6 * MIB
    for client in clients:
        client.settimeout(0)
        client.send(f"PUT /upload/pause=0.05 HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
    left = dict.fromkeys(clients, size)
    highest = 0
    end = time.monotonic() + 40
    while any(left.values()):
        assert time.monotonic() < end
        for client, rest in left.items():
            try:
                left[client] -= client.send(b"x" * min(rest, 100_000)) if rest else 0
            except BlockingIOError:
                continue
        state = server.state()
        assert state["budget"] <= 8 * MIB
        highest = max(highest, state["memory"])
    for client in clients:
        client.settimeout(20)
        assert read_answer(client).body.startswith(str(size).encode())
        client.close()
    assert highest - begin < 40 * MIB
    assert server.state()["budget"] == 0
