"""Kill a real server at random instants while clients create, upload and delete, then audit the catalogue.

Nothing acknowledged may be lost, nothing may be invented: every active image has exactly its bytes, every file
belongs to an active image, no image stays in `saving`, no lease stays open. `FANLIGHT_KILLS` sets the number of
kills (default 200), `FANLIGHT_KILL_SEED` repeats a run.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

KILLS = int(os.environ.get("FANLIGHT_KILLS", "200"))
SEED = int(os.environ.get("FANLIGHT_KILL_SEED", str(random.SystemRandom().randrange(2**31))))
CLIENTS = 4


class Server:
    """`python -m fanlight serve` in a session of its own, so that one signal reaches parent and workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fanlight", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
                + ["--workers", "1", "--data-dir", str(self.folder / "data")],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                status, _ = call(self.port, "GET", "/healthcheck")
            except OSError:
                time.sleep(0.05)
                continue
            assert status == 200
            return
        raise AssertionError("the server did not start:\n" + (self.folder / "server.log").read_text()[-3000:])

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Client(threading.Thread):
    """Creates, uploads and deletes without pause; writes down what the server acknowledged."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.random = random.Random(seed)
        self.created: dict[str, str] = {}
        self.uploaded: dict[str, str] = {}
        self.attempted: dict[str, set[str]] = {}
        self.deleted: set[str] = set()
        self.doomed: set[str] = set()
        self.unexpected: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                self.step()
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)

    def step(self) -> None:
        kind = self.random.random()
        waiting = [name for name in self.created if name not in self.uploaded and name not in self.doomed]
        if kind < 0.4 or not self.created:
            body = json.dumps({"name": "k", "disk_format": "raw", "container_format": "bare"})
            status, answer = call(self.port, "POST", "/v2/images", body.encode())
            if self.expect("create", status, {201}):
                self.created[json.loads(answer)["id"]] = ""
        elif kind < 0.8 and waiting:
            self.upload(self.random.choice(waiting))
        else:
            image = self.random.choice([*self.created])
            self.doomed.add(image)
            status, _ = call(self.port, "DELETE", f"/v2/images/{image}")
            # 404: an earlier try was carried out although its answer was lost.
            if self.expect("delete", status, {204, 404}):
                self.deleted.add(image)
                del self.created[image]

    def upload(self, image: str) -> None:
        data = self.random.randbytes(self.random.choice([0, 1, 70_000, 1_500_000]))
        digest = hashlib.sha512(data).hexdigest()
        self.attempted.setdefault(image, set()).add(digest)
        headers = {"Content-Type": "application/octet-stream"}
        body: object = data
        if self.random.random() < 0.5:
            headers["Transfer-Encoding"] = "chunked"
            body = (data[i : i + 100_000] for i in range(0, len(data), 100_000))
        status, _ = call(self.port, "PUT", f"/v2/images/{image}/file", body, headers)
        # 409: an earlier upload was carried out although its answer was lost, or is still being undone.
        if self.expect("upload", status, {204, 409}) and status == 204:
            self.uploaded[image] = digest

    def expect(self, what: str, status: int, wanted: set[int]) -> bool:
        if status not in wanted:
            self.unexpected.append(f"{what}: {status}")
        return status in wanted


@pytest.mark.kill
@pytest.mark.timeout(1200)
def test_a_server_killed_at_any_instant_loses_and_invents_nothing(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    server = Server(tmp_path)
    server.start()
    clients = [Client(server.port, SEED + number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.01, 0.5))
        server.kill()
        server.start()
    for client in clients:
        client.ended.set()
    for client in clients:
        client.join(timeout=30)
        assert not client.is_alive()
    server.kill()
    server.start()
    settled(tmp_path / "data")
    try:
        audit(tmp_path / "data", clients)
        assert sum(len(client.uploaded) for client in clients) > KILLS / 2, "too little happened to mean anything"
        assert sum(len(client.deleted) for client in clients) > KILLS / 4
    finally:
        server.kill()


def settled(data: Path) -> None:
    """Wait until the restarted server has cleaned up: by itself, and soon."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not rows(data, "SELECT token FROM fanlight_leases"):
            return
        time.sleep(0.1)
    raise AssertionError(f"leases stay: {rows(data, 'SELECT * FROM fanlight_leases')}")


def audit(data: Path, clients: list[Client]) -> None:
    """Hold the database against the files and against what the clients were told."""
    found = {str(row[0]): row[1:] for row in rows(data, "SELECT id, status, size, os_hash_value, deleted FROM images")}
    files = {path.name: path for path in (data / "images").iterdir()}
    active = {image for image, row in found.items() if row[0] == "active" and not row[3]}
    assert {row[0] for row in found.values()} <= {"queued", "active", "deleted"}
    assert set(files) == active, "files and active images differ"
    for image in active:
        content = files[image].read_bytes()
        assert len(content) == found[image][1]
        assert hashlib.sha512(content).hexdigest() == found[image][2]
    for client in clients:
        assert not client.unexpected, client.unexpected[:10]
        for image in client.created:
            assert image in found, "an acknowledged image is lost"
            if image not in client.doomed:
                assert not found[image][3], "an image was deleted that nobody deleted"
        for image, digest in client.uploaded.items():
            if image not in client.doomed:
                assert found[image][0] == "active", "acknowledged data is lost"
                assert found[image][2] == digest
        for image in client.deleted:
            assert found[image][3], "a deleted image is back"
        for image in active & set(client.attempted):
            assert found[image][2] in client.attempted[image], "bytes that nobody sent"


def rows(data: Path, statement: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(data / "fanlight.db", timeout=10) as connection:
        return connection.execute(statement).fetchall()


def call(
    port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        sent = headers or ({"Content-Type": "application/json"} if body else {})
        connection.request(method, path, body, sent, encode_chunked="Transfer-Encoding" in sent)  # type: ignore[arg-type]  # any body http.client takes
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
