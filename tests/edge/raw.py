"""The bare app as a process, and raw sockets to talk to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHORT = {
    "head_seconds": 1.0,
    "body_seconds": 1.0,
    "answer_seconds": 1.0,
    "idle_seconds": 1.5,
    "linger_seconds": 2.0,
}
"""Limits that a test can wait for."""
ROOT = Path(__file__).parents[2]


class Server:
    """The bare app in processes of its own. `stop` gives its exit code."""

    def __init__(self, options: dict[str, Any], log: Path) -> None:
        self.log = log
        self._connections: list[socket.socket] = []
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "tests/edge/bare_app.py"), json.dumps(options)],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline().strip()
        self.port = int(self.first_line.split()[1]) if self.first_line.startswith("ready") else 0

    def connect(self, receive_buffer: int = 0, timeout: float = 15.0) -> socket.socket:
        """A connection; it is closed with the server at the latest."""
        connection = socket.socket()
        self._connections.append(connection)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(timeout)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def get(self, path: str) -> Answer:
        with self.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return read_answer(connection)

    def state(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.get("/state").body)
        return document

    def outcomes(self) -> list[str]:
        document: list[str] = json.loads(self.get("/outcomes").body)
        return document

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def tell(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def wait(self, seconds: float = 15.0) -> int:
        return self.process.wait(seconds)

    def end(self) -> None:
        for connection in self._connections:
            connection.close()
        if self.process.poll() is None:
            self.tell(signal.SIGINT)
            self.tell(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Answer:
    """One HTTP answer, read to its end. `complete` says whether the whole announced body came."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, complete: bool) -> None:
        self.status, self.headers, self.body, self.complete = status, headers, body, complete


def read_answer(connection: socket.socket, rest: bytes = b"") -> Answer:
    """The next answer on a connection; status 0 when it was closed without one. Skips 100 Continue."""
    data = rest
    while True:
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return Answer(0, {}, data, False)
            data += piece
        head, _, data = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        if status != 100:
            break
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    length = int(headers.get("content-length", "0"))
    while len(data) < length:
        piece = connection.recv(1 << 20)
        if not piece:
            return Answer(status, headers, data, False)
        data += piece
    return Answer(status, headers, data, True)


def closed(connection: socket.socket) -> bool:
    """Whether the server closes the connection (within the socket's timeout) without sending more."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def eventually(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until `condition` holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        time.sleep(0.02)


Start = Callable[..., Server]
