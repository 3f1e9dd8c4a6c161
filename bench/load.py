"""The clients: wrk for everything small, raw sockets for the bytes of images.

Each says what it cost in processor time, because it shares the machine with the server that it measures.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

SCRIPT = Path(__file__).with_name("load.lua")
STAGGER = 0.01
"""Seconds between the starts of two clients."""
BLOCK = 1024 * 1024
PATIENCE = 120.0
"""Seconds that a transfer or a listing may take before it counts as failed."""


class Spell(NamedTuple):
    """One round of small requests. Times in seconds, `rate` in successful answers a second."""

    rate: float
    p50: float
    p99: float
    slowest: float
    requests: int
    failed: int
    client_cpu: float
    """Processor seconds that the client used per second of the round."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def wrk(
    url: str, headers: Mapping[str, str], seconds: int, clients: int, method: str, paths: Sequence[str],
    body: str | None, folder: Path,
) -> Spell:  # fmt: skip
    """Keeps `clients` connections busy for `seconds`; raises RuntimeError when one ends badly.

    Each is a wrk of its own with its share of the paths, begun a little after the one before: connections opened
    at one instant may all be accepted by one worker, and then the round measures half a server.
    In `body`, `%c` is the number of the client, `%d` that of its request.
    """
    words = ["wrk", "-t1", "-c1", f"-d{seconds}s", "--timeout", "60s", "-s", str(SCRIPT)]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    runs = []
    for number in range(clients):
        share = folder / f"paths-{number}"
        share.write_text("".join(f"{path}\n" for path in paths[number % len(paths) :: clients]))
        more = [method, str(share), *([body.replace("%c", str(number))] if body else [])]
        runs.append(subprocess.Popen([*words, url, "--", *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        time.sleep(STAGGER)
    results = [result_of(run) for run in runs]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Spell(
        rate=sum((one["requests"] - one["status"]) / one["microseconds"] for one in results) * 1e6,
        p50=statistics.median(one["p50"] for one in results) / 1e6,
        p99=statistics.median(one["p99"] for one in results) / 1e6,
        slowest=max(one["slowest"] for one in results) / 1e6,
        requests=sum(one["requests"] for one in results),
        failed=sum(one["socket"] + one["status"] for one in results),
        client_cpu=used / (seconds + STAGGER * clients),
    )


def result_of(run: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What one wrk measured, as load.lua printed it."""
    text = run.communicate()[0].decode(errors="replace")
    found = re.search(r"^RESULT (\{.*\})$", text, re.MULTILINE)
    if run.returncode or not found:
        raise RuntimeError(f"wrk failed: {text.strip()}")
    result: dict[str, Any] = json.loads(found[1])
    return result


def wrk_available() -> bool:
    return shutil.which("wrk") is not None


class Client:
    """A blocking HTTP/1.1 client of a few lines, one connection a request: it sends files without copying them."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self.peer = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.fixed = "".join(f"{name}: {value}\r\n" for name, value in {"Host": parts.netloc, **headers}.items())

    def call(self, method: str, path: str, document: Any = None, media: str = "application/json") -> Answer:
        """One request with a small body, or none; reads the whole answer."""
        body = b"" if document is None else msgspec.json.encode(document)
        fields = "" if document is None else f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n"
        with self.connect() as peer:
            peer.sendall(self.lines(method, path, fields) + body)
            return receive(peer)

    def upload(self, path: str, source: Path) -> tuple[Answer, float]:
        """PUTs a file with Content-Length; gives the answer and the seconds until it came."""
        size = source.stat().st_size
        fields = f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n"
        with self.connect() as peer, source.open("rb") as file:
            started = time.perf_counter()
            peer.sendall(self.lines("PUT", path, fields))
            peer.sendfile(file)
            return receive(peer), time.perf_counter() - started

    def download(self, path: str, digest: Any = None) -> tuple[Answer, int, float]:
        """GETs a body and drops or hashes it; gives the head, the number of bytes and the seconds it took."""
        with self.connect() as peer:
            started = time.perf_counter()
            peer.sendall(self.lines("GET", path, ""))
            answer = receive_head(peer)
            wanted, total = int(answer.headers.get("content-length", "0")), len(answer.body)
            if digest is not None:
                digest.update(answer.body)
            block = memoryview(bytearray(BLOCK))
            while total < wanted and (count := peer.recv_into(block)):
                if digest is not None:
                    digest.update(block[:count])
                total += count
            return answer, total, time.perf_counter() - started

    def connect(self) -> socket.socket:
        peer = socket.create_connection(self.peer, timeout=PATIENCE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return peer

    def lines(self, method: str, path: str, fields: str) -> bytes:
        return f"{method} {path} HTTP/1.1\r\n{self.fixed}{fields}\r\n".encode()


def receive_head(peer: socket.socket) -> Answer:
    """Reads status and headers; `body` is what came along with them."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = peer.recv(65536)
        if not more:
            raise ConnectionError("the server closed the connection before it answered")
        got += more
    head, _, rest = got.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return Answer(int(first.split()[1]), headers, rest)


def receive(peer: socket.socket) -> Answer:
    """Reads a whole answer that tells its length, or has none."""
    answer = receive_head(peer)
    wanted, body = int(answer.headers.get("content-length", "0")), answer.body
    while len(body) < wanted and (more := peer.recv(BLOCK)):
        body += more
    return answer._replace(body=body)


def random_file(path: Path, size: int) -> str:
    """Writes `size` bytes that do not compress; gives their SHA-512."""
    digest = hashlib.sha512()
    with path.open("wb") as file:
        left = size
        while left:
            block = os.urandom(min(left, 4 * BLOCK))
            digest.update(block)
            file.write(block)
            left -= len(block)
    return digest.hexdigest()
