"""The processes: they start, are replaced when they die, reload without a refused request, and end in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from .raw import ROOT, Server, Start, closed, eventually, read_answer

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def generation(server: Server) -> int:
    return int(server.get("/generation").body)


def is_generation(server: Server, expected: int) -> bool:
    return generation(server) == expected


def has_replaced(server: Server, old: set[int], workers: int) -> bool:
    return len(set(server.workers()) - old) == workers


def slow_upload(server: Server, size: int) -> socket.socket:
    connection = server.connect()
    connection.sendall(
        f"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * (size // 2)
    )
    return connection


def test_ready_means_that_every_worker_answers(start: Start) -> None:
    server = start(workers=3)
    assert len(server.workers()) == 3
    pids: set[bytes] = set()

    def hop() -> bool:
        pids.add(server.get("/hop").body)
        return len(pids) >= 2

    eventually(hop)


def test_connections_spread_over_the_workers(start: Start) -> None:
    server = start(workers=2)
    for count in (8, 40, 100):
        connections = [server.connect() for _ in range(count)]
        pids = []
        for connection in connections:
            connection.sendall(b"GET /hop HTTP/1.1\r\nHost: x\r\n\r\n")
            pids.append(read_answer(connection).body)
        assert len(set(pids)) == 2
        assert min(pids.count(pid) for pid in set(pids)) >= 0.4 * count - 1
        for connection in connections:
            connection.close()
        time.sleep(0.1)


def test_a_taken_port_is_one_clear_line(start: Start) -> None:
    server = start()
    second = start(port=server.port)
    assert second.wait() == 2
    assert second.first_line == f"Cannot listen on 127.0.0.1 port {server.port}: Address already in use"


def test_a_port_just_left_can_be_taken_again(start: Start) -> None:
    server = start()
    connection = server.connect()
    server.tell(signal.SIGTERM)
    assert server.wait() == 0
    assert closed(connection)
    assert start(port=server.port).get("/hello").status == 200


def test_ipv6(start: Start) -> None:
    server = start(host="::1")
    with socket.create_connection(("::1", server.port)) as connection:
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection).body == b"hello"


def test_a_name_with_two_addresses_serves_both(start: Start) -> None:
    server = start(host="")
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, server.port)) as connection:
            connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(connection).body == b"hello"


def test_a_failing_start_ends_everything(start: Start) -> None:
    server = start(failing=True, workers=2)
    assert server.wait() == 1
    assert server.first_line == ""
    assert "fails on purpose" in server.log.read_text()


def refused(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # it came as the door was being closed
    return False


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_lets_running_work_finish(start: Start, number: int, workers: int) -> None:
    server = start(workers=workers)
    idle = server.connect()
    upload = slow_upload(server, 3 * MIB)
    sleeper = server.connect()
    sleeper.sendall(b"GET /sleep/1 HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.3)
    server.tell(number)
    assert closed(idle)
    eventually(lambda: refused(server))  # each worker closes the door when it hears of the end
    time.sleep(0.5)
    upload.sendall(b"x" * (3 * MIB // 2))
    answer = read_answer(upload)
    assert answer.body.startswith(str(3 * MIB).encode())
    assert answer.headers["connection"] == "close"
    assert read_answer(sleeper).status == 200
    assert server.wait(5) == 0


def test_the_end_is_bounded(start: Start) -> None:
    server = start(graceful=1.0)
    upload = slow_upload(server, 3 * MIB)
    time.sleep(0.2)
    began = time.monotonic()
    server.tell(signal.SIGTERM)
    assert closed(upload)
    assert server.wait() == 0
    assert 0.8 < time.monotonic() - began < 4


def test_a_second_signal_cuts(start: Start) -> None:
    server = start(graceful=60.0)
    upload = slow_upload(server, 3 * MIB)
    time.sleep(0.2)
    server.tell(signal.SIGINT)
    time.sleep(0.3)
    assert server.process.poll() is None
    began = time.monotonic()
    server.tell(signal.SIGINT)
    assert closed(upload)
    assert server.wait() == 0
    assert time.monotonic() - began < 3


def test_a_killed_worker_is_replaced(start: Start) -> None:
    server = start(workers=2)
    before = set(server.workers())
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    for _ in range(20):
        assert server.get("/hello").status == 200
    eventually(lambda: len(server.workers()) == 2 and victim not in server.workers())
    assert before <= set(server.workers())
    eventually(lambda: "died (signal 9)" in server.log.read_text())


def test_a_single_killed_worker_is_replaced_and_nobody_is_refused(start: Start) -> None:
    server = start(workers=1)
    for _ in range(3):
        os.kill(server.workers()[0], signal.SIGKILL)
        assert server.get("/hello").status == 200


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_end_with_their_supervisor(start: Start, workers: int) -> None:
    server = start(workers=workers, graceful=1.0)
    upload = slow_upload(server, 3 * MIB)
    pids = server.workers()
    assert len(pids) == workers
    server.process.kill()
    server.wait()
    eventually(lambda: not any(alive(pid) for pid in pids))
    upload.close()


class Load:
    """Clients that ask without pause, some on one connection, some on a new one each time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answers = 0
        self.failures: list[str] = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(kept,)) for kept in (True, True, False, False)]
        for thread in self.threads:
            thread.start()

    def ask(self, kept: bool) -> None:
        connection = self.server.connect()
        while not self.stopped.is_set():
            try:
                connection.sendall(b"GET /hop HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = read_answer(connection)
                assert answer.status == 200
                self.answers += 1
                if not kept or answer.headers.get("connection") == "close":
                    connection.close()
                    connection = self.server.connect()
            except Exception as error:
                self.failures.append(repr(error))
                return
        connection.close()

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_reloads_under_load_fail_no_request(start: Start, workers: int) -> None:
    server = start(workers=workers, graceful=20.0)
    upload = slow_upload(server, 3 * MIB)
    load = Load(server)
    try:
        for expected in (2, 3, 4):
            old = set(server.workers())
            server.tell(signal.SIGHUP)
            eventually(partial(is_generation, server, expected), 10)
            eventually(partial(has_replaced, server, old, workers), 10)
            time.sleep(0.3)
    finally:
        load.stop()
    assert load.failures == []
    assert load.answers > 200
    upload.sendall(b"x" * (3 * MIB // 2))
    assert read_answer(upload).status == 200
    eventually(lambda: len(server.workers()) == workers, 10)


def test_signals_to_reload_in_quick_succession(start: Start) -> None:
    server = start(workers=2)
    for _ in range(5):
        server.tell(signal.SIGHUP)
        time.sleep(0.05)
    last = 0
    end = time.monotonic() + 4
    while time.monotonic() < end:
        last = max(last, generation(server))
        time.sleep(0.05)
    assert last >= 3
    assert generation(server) == last
    eventually(lambda: len(server.workers()) == 2, 10)


def test_an_idle_connection_of_a_retired_worker_still_gets_an_answer(start: Start) -> None:
    server = start()
    with server.connect() as connection:
        connection.sendall(b"GET /generation HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection).body == b"1"
        server.tell(signal.SIGHUP)
        eventually(lambda: generation(server) == 2)
        connection.sendall(b"GET /generation HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = read_answer(connection)
        assert (answer.body, answer.headers["connection"]) == (b"1", "close")


def test_a_reload_ends_no_transfer_however_long_it_takes(start: Start) -> None:
    """The time for that is for the end of the service, which an old worker may be told, too."""
    server = start(graceful=0.5)
    finished, cut = slow_upload(server, 3 * MIB), slow_upload(server, 3 * MIB)
    time.sleep(0.2)
    server.tell(signal.SIGHUP)
    eventually(lambda: generation(server) == 2)
    time.sleep(1.5)
    finished.sendall(b"x" * (3 * MIB // 2))
    assert read_answer(finished).body.startswith(str(3 * MIB).encode())
    server.tell(signal.SIGTERM)
    began = time.monotonic()
    assert closed(cut)
    assert server.wait() == 0
    assert 0.3 < time.monotonic() - began < 4


def test_a_worker_that_waits_for_room_as_it_is_told_to_end_accepts_no_more(start: Start) -> None:
    """Connections get half of the descriptors. The listener is looked at again after a pause: by then it is closed."""
    server = start(files=64)
    busy = [server.connect() for _ in range(32)]
    for connection in busy:
        connection.sendall(b"GET /sleep/3 HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.5)
    with server.connect() as waiting:
        waiting.sendall(b"GET /generation HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)
        server.tell(signal.SIGTERM)
        assert closed(waiting)
    assert [read_answer(connection).status for connection in busy] == [200] * len(busy)
    assert server.wait() == 0
    assert "Traceback" not in server.log.read_text()


def test_a_refused_reload_changes_nothing(start: Start, tmp_path: Path) -> None:
    refusal = tmp_path / "refusal"
    server = start(refusal=str(refusal))
    refusal.touch()
    server.tell(signal.SIGHUP)
    eventually(lambda: "the new settings are wrong" in server.log.read_text())
    assert generation(server) == 1
    refusal.unlink()
    server.tell(signal.SIGHUP)
    eventually(lambda: generation(server) == 2)


def test_systemd_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))
        channel.settimeout(10)
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/edge/bare_app.py"), json.dumps({})],
            env=os.environ | {"PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": str(path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert channel.recv(100) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert channel.recv(100) == b"STOPPING=1"
        assert process.wait(10) == 0
