"""What is measured: one function a case, each over a server that runs alone, each checking what it was answered."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench import data
from bench.load import Client, Spell, wrk
from bench.servers import Server, source_path

MIB = 1024 * 1024
CONNECTIONS = 8
"""Clients that are kept busy at once, where nothing else is said."""
DELETED = 12_000
"""Images loaded to be deleted: more than any server deletes in the rounds."""
KNOWN_TO_FAIL = ("glance", "glance tuned")
"""Glance answers 500 to concurrent writers of SQLite: the table says how often, a note would only repeat it."""
STORM_CLIENTS = 32
STORM_LISTERS = 4
STORM_LEAD = 2
"""Seconds that transfers run before the first listing is timed."""


def identity(project: str, roles: str) -> dict[str, str]:
    """The headers with which a trusted front end (or the token filter) says who calls."""
    return {
        "X-Identity-Status": "Confirmed", "X-User-Id": "bench", "X-Project-Id": project, "X-Roles": roles,
    }  # fmt: skip


BY_NAME = "/v2/images?sort_key=name&sort_dir=asc"
"""What python-glanceclient asks for, where its user names no order."""
ADMIN = identity("0" * 32, "admin,manager,member,reader")
MEMBER = identity(data.MEMBER_PROJECT, "member,reader")
QUEUED = (
    '{"name": "made-%c-%d", "disk_format": "raw", "container_format": "bare", "tags": ["made"], "os_distro": "debian"}'
)
RENAME = (
    '[{"op": "replace", "path": "/name", "value": "renamed-%c-%d"}, '
    '{"op": "add", "path": "/patched", "value": "%c-%d"}]'
)


class Order(NamedTuple):
    """What wrk shall send: see bench/load.lua."""

    method: str
    paths: Sequence[str]
    headers: Mapping[str, str] = ADMIN
    body: str | None = None
    media: str = "application/json"
    clients: int = CONNECTIONS


@dataclass
class Results:
    """Every figure of every round, by (database, case, contender), and what went wrong on the way."""

    figures: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    client_cpu: list[float] = field(default_factory=list)

    def add(self, database: str, case: str, contender: str, value: float) -> None:
        self.figures.setdefault((database, case, contender), []).append(value)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@dataclass
class Session:
    """One server over one database, while it runs: what every case needs to know."""

    results: Results
    database: str
    contender: str
    server: Server
    tables: data.Database
    folder: Path
    source: Path
    """The image that transfers send, and `digest` its SHA-512."""
    digest: str
    rounds: int
    seconds: int

    def add(self, case: str, value: float) -> None:
        self.results.add(self.database, case, self.contender, value)

    def client(self, headers: Mapping[str, str] = ADMIN) -> Client:
        return Client(self.server.url, headers)

    def spell(self, case: str, order: Order) -> None:
        """Rounds of small requests after an unmeasured one: adds their rates, slow answers and failures to `case`."""
        self.once(case, 1, order)
        for _ in range(self.rounds):
            got = self.once(case, self.seconds, order)
            self.add(case, got.rate)
            self.add(f"{case} p99", 1000 * got.p99)
            self.add(f"{case} failed", got.failed / max(1, got.requests))
            self.results.client_cpu.append(got.client_cpu)

    def once(self, case: str, seconds: int, order: Order) -> Spell:
        headers = {**order.headers, "Content-Type": order.media} if order.body else order.headers
        got = wrk(self.server.url, headers, seconds, order.clients, order.method, order.paths, order.body, self.folder)
        if got.failed and self.contender not in KNOWN_TO_FAIL:
            self.results.note(f"{self.database}, {case}, {self.contender}: {got.failed} of {got.requests} failed")
        return got


# -- small requests --------------------------------------------------------------------------------------------------


def show(session: Session, headers: Mapping[str, str] = ADMIN, case: str = "show", clients: int = CONNECTIONS) -> None:
    """GET one image, in turn each that the caller sees of the first 1,000."""
    ids = data.image_ids(1000)
    if headers is not ADMIN:
        ids = [image_id for number, image_id in enumerate(ids) if data.MIX[number % len(data.MIX)] == "public"]
    answer = session.client(headers).call("GET", f"/v2/images/{ids[0]}")
    check(answer.status == 200, f"{session.contender} shows an image (it said {answer.status})")
    session.spell(case, Order("GET", [f"/v2/images/{image_id}" for image_id in ids], headers, clients=clients))


def listing(
    session: Session,
    headers: Mapping[str, str] = ADMIN,
    case: str = "list",
    clients: int = CONNECTIONS,
    path: str = "/v2/images",
) -> None:
    """GET the first page of 25."""
    answer = session.client(headers).call("GET", path)
    images = json.loads(answer.body)["images"] if answer.status == 200 else []
    check(len(images) == 25, f"{session.contender} lists 25 images (it said {answer.status}: {answer.body[:200]!r})")
    session.spell(case, Order("GET", [path], headers, clients=clients))


def create(session: Session, case: str = "create", clients: int = CONNECTIONS) -> None:
    """POSTs an image record with a tag and a property."""
    session.spell(case, Order("POST", ["/v2/images"], body=QUEUED, clients=clients))


def change(session: Session) -> None:
    """PATCHes a name and a property of loaded images."""
    paths = [f"/v2/images/{image_id}" for image_id in data.image_ids(1000)]
    session.spell("patch", Order("PATCH", paths, body=RENAME, media="application/openstack-images-v2.1-json-patch"))


def delete(session: Session) -> None:
    """DELETEs images without data that were loaded for it, each once."""
    ids = data.load_queued(session.tables, DELETED)
    share = DELETED // (session.rounds + 1)
    for number in range(session.rounds + 1):
        paths = [f"/v2/images/{image_id}" for image_id in ids[number * share : (number + 1) * share]]
        got = session.once("delete", 1, Order("DELETE", paths))
        if number:
            session.add("delete", got.rate)
            session.add("delete p99", 1000 * got.p99)
            session.add("delete failed", got.failed / max(1, got.requests))


# -- bytes -----------------------------------------------------------------------------------------------------------


def transfers(session: Session, rounds: int, *, download: bool) -> None:
    """PUTs the source image, one at a time after an unmeasured one, then GETs the last."""
    client, path = session.client(), ""
    for number in range(rounds + 1):
        if path:
            client.call("DELETE", path.removesuffix("/file"))
        path, took = put(client, session)
        if number:
            session.add("upload", session.source.stat().st_size / 1e6 / took)
    if download:
        downloads(session, session.server, path, 2 * rounds)
    client.call("DELETE", path.removesuffix("/file"))


def downloads(session: Session, server: Server, path: str, rounds: int) -> None:
    """GETs an image from `server`; the first, unmeasured, checks every byte, the others count them."""
    client, size, digest = Client(server.url, ADMIN), session.source.stat().st_size, hashlib.sha512()
    answer, _, _ = client.download(path, digest)
    check(answer.status == 200 and digest.hexdigest() == session.digest, f"{session.contender} gives back what it got")
    for _ in range(rounds):
        answer, total, took = client.download(path)
        check(answer.status == 200 and total == size, f"{session.contender} sends the whole image")
        session.add("download", size / 1e6 / took)


def put(client: Client, session: Session) -> tuple[str, float]:
    """Creates an image and uploads the source; gives the path of its data and the seconds that the PUT took."""
    made = client.call("POST", "/v2/images", {"name": "u", "disk_format": "raw", "container_format": "bare"})
    check(made.status == 201, f"{session.contender} creates an image (it said {made.status})")
    path = f"/v2/images/{json.loads(made.body)['id']}"
    answer, took = client.upload(f"{path}/file", session.source)
    check(answer.status == 204, f"{session.contender} takes the image (it said {answer.status}: {answer.body[:200]!r})")
    image = json.loads(client.call("GET", path).body)
    check(
        image.get("status", "active") == "active" and image.get("os_hash_value", session.digest) == session.digest,
        f"{session.contender} stored what was sent",
    )
    return f"{path}/file", took


def storm(session: Session, seconds: float) -> None:
    """Lists 25 and watches memory while many transfers of the source run; those are cut at the end."""
    path, _ = put(session.client(), session)
    before = stored(session.folder / "images")
    session.add("memory idle", max(session.server.resident()) / 1e6)
    order = {
        "url": session.server.url, "headers": ADMIN, "source": str(session.source), "path": path,
        "clients": STORM_CLIENTS, "seconds": 4 * seconds,
    }  # fmt: skip
    command = [sys.executable, "-m", "bench.storm"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **source_path()}
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        json.dump(order, process.stdin)
        process.stdin.close()
        time.sleep(STORM_LEAD)
        waits, memory = listing_meanwhile(session, seconds)
        session.add("storm written", (stored(session.folder / "images") - before) / 1e6 / (seconds + STORM_LEAD))
        process.kill()
        lines = process.stdout.read().splitlines()
    waits.sort()
    half = len(memory) // 2
    session.add("memory storm", max(memory) / 1e6)
    session.add("memory growth", (max(memory[half:]) - max(memory[:half])) / 1e6)
    session.add("storm p99", 1000 * waits[min(len(waits) - 1, int(len(waits) * 0.99))])
    session.add("storm lists", len(waits) / seconds)
    for what, number in json.loads(lines[-1] if lines else "{}").items():
        session.add(f"storm {what}", number)


def stored(folder: Path) -> int:
    """Bytes on disk in a folder, finished images and others."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += 512 * path.lstat().st_blocks
    return total


def listing_meanwhile(session: Session, seconds: float) -> tuple[list[float], list[int]]:
    """Seconds of each listing by a few clients in a closed loop, and bytes of the largest worker at 4 Hz."""
    until, waits, memory = time.monotonic() + seconds, [], []

    def lister() -> None:
        client = session.client()
        while time.monotonic() < until:
            started = time.perf_counter()
            with suppress(OSError):
                if client.call("GET", "/v2/images").status != 200:
                    session.results.note(f"{session.contender}: a listing failed while transfers ran")
            waits.append(time.perf_counter() - started)

    threads = [threading.Thread(target=lister, daemon=True) for _ in range(STORM_LISTERS)]
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        memory.append(max(session.server.resident()))
        time.sleep(0.25)
    for thread in threads:
        thread.join(60)
    return waits, memory


def check(holds: bool, what: str) -> None:
    """A figure for wrong answers is no figure: stops the session."""
    if not holds:
        raise RuntimeError(f"not true: {what}")


def token(url: str, user: str, project: str) -> Mapping[str, str]:
    """The header with a token of Keystone; the password is the user's name."""
    domain = {"id": "default"}
    order: dict[str, Any] = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": user, "domain": domain, "password": user}},
            },
            "scope": {"project": {"name": project, "domain": domain}},
        }
    }
    base, _, _ = url.rstrip("/").partition("/v3")
    answer = Client(base, {}).call("POST", "/v3/auth/tokens", order)
    check(answer.status == 201, f"Keystone gives a token (it said {answer.status})")
    return {"X-Auth-Token": answer.headers["x-subject-token"]}
