"""The same rows asked of the real Glance, and whole answers of both services side by side.

A row says what Fanlight answers and, where that differs on purpose, what Glance does: here it is held to the latter. So
a table that drifts from Glance fails, and what differs is what docs/differences.md lists.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.bed.servers import Server
from tests.catalog.glance import Glance

from .conftest import Client, Reply
from .exchanges import ALIKE, SAME_HEADERS, Ask
from .life import LIFE
from .tables import CREATES, EXCHANGES, PATCHED, PATCHES, QUERIES

pytestmark = pytest.mark.timeout(300)
OCTETS = {"content-type": "application/octet-stream"}
BACKENDS: dict[str, dict[str, object]] = {
    "DEFAULT": {"enabled_backends": "local:file"},
    "glance_store": {"default_backend": "local"},
}


@contextmanager
def real_glance(venv: Path, folder: Path) -> Iterator[int]:
    """The port of a Glance without any image."""
    one = Glance(venv, folder / "home", f"sqlite:///{folder}/glance.db", folder / "images")
    one.manage("db", "sync")
    with one.serving() as url:
        yield int(str(urlsplit(url).port))


@pytest.fixture(scope="module")
def real(glance: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with real_glance(glance, tmp_path_factory.mktemp("glance")) as port:
        yield port


@pytest.fixture
def theirs(real: int) -> Iterator[Client]:
    client = Client(real)
    yield client
    client.close()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Fanlight with the same configuration."""
    folder = tmp_path_factory.mktemp("beside")
    config: dict[str, dict[str, object]] = {**BACKENDS, "local": {"filesystem_store_datadir": folder / "images"}}
    server = Server(folder, flavor="trusted", config=config).start()
    client = Client(server.port)
    yield client
    client.close()
    server.end()


def encoded(body: object) -> str | None:
    return None if body is None else json.dumps(body, ensure_ascii=False)


def require(wrong: Sequence[object]) -> None:
    """All rows at once: one service, one test, and every difference in its message."""
    assert not wrong, "\n".join(str(each)[:300] for each in wrong)


def test_queries(theirs: Client) -> None:
    wrong = []
    for row in QUERIES:
        reply = theirs.ask("GET", f"/v2/images?{row.text}")
        if reply.status != (row.glance or row.status):
            wrong.append((row.text, row.status, row.glance, reply.status, reply.body[:100]))
    require(wrong)


def test_creates(theirs: Client) -> None:
    wrong = []
    for row in CREATES:
        reply = theirs.ask("POST", "/v2/images", encoded(row.body), who="admin" if row.admin else "alice")
        if reply.status != (row.glance or row.status):
            wrong.append((row, reply.status, reply.body[:100]))
    require(wrong)


def test_patches(theirs: Client) -> None:
    wrong = []
    for row in PATCHES:
        formats = {"container_format": "bare"} if row.active else {}
        path = f"/v2/images/{theirs.create(**PATCHED, **formats)}"
        if row.active:
            assert theirs.ask("PUT", path + "/file", b"1234", OCTETS).status == 204
        headers = {"content-type": row.media_type}
        reply = theirs.ask("PATCH", path, encoded(row.body), headers, who="admin" if row.admin else "alice")
        if reply.status != (row.glance or row.status):
            wrong.append((row, reply.status, reply.body[:100]))
    require(wrong)


def test_exchanges(theirs: Client) -> None:
    wrong = []
    for row in EXCHANGES:
        path = row.path.replace("{id}", theirs.create())
        reply = theirs.ask(row.method, path, row.body, dict(row.headers))
        if (reply.status, reply.headers.get("allow")) != (row.glance or row.status, row.allow):
            wrong.append((row, reply.status, reply.headers.get("allow"), reply.body[:100]))
    require(wrong)


def test_life(theirs: Client) -> None:
    places: dict[str, str] = {}
    wrong = []
    for number, step in enumerate(LIFE):
        path, body = step.path, step.body
        for name, identifier in places.items():
            path = path.replace(name, identifier)
            body = body and body.replace(name, identifier)
        reply = theirs.ask(step.method, path, body, dict(step.headers), who=step.who)
        if number < 2:
            places["{one}" if number == 0 else "{two}"] = reply.json()["id"]
        if reply.status != (step.glance or step.status):
            wrong.append((number, step, reply.status, reply.body[:100]))
    require(wrong)


def answer(client: Client, ask: Ask) -> Reply:
    """What came back; status 0 where the connection was closed instead."""
    try:
        return client.ask(ask.method, ask.path, ask.body, dict(ask.headers), who=ask.who)
    except http.client.RemoteDisconnected as error:
        client.close()
        return Reply(0, {}, str(error).encode())


def told(reply: Reply) -> dict[str, Any]:
    """All of an answer that must be the same: status, headers and body, without the clock and the place."""
    headers = {name: reply.headers[name] for name in SAME_HEADERS if name in reply.headers}
    if "location" in headers:
        headers["location"] = urlsplit(headers["location"]).path
    if "openstack-image-store-ids" in headers:
        # Glance names its internal stores here, too, although nothing can be put into them.
        names = headers["openstack-image-store-ids"].split(",")
        headers["openstack-image-store-ids"] = ",".join(name for name in names if not name.startswith("os_glance_"))
    if reply.status == 416:
        # Ours tells the size (RFC 9110, 14.4).
        headers.pop("content-range", None)
    body: Any = reply.body
    if reply.status >= 400 or headers.get("content-type") == "application/json":
        # How long the words are, and the blanks between the members of a document.
        headers.pop("content-length", None)
    if headers.get("content-type") == "application/json":
        body = reply.json()
        if reply.status >= 400:
            # The words of an error are each service's own; its shape and code are not.
            body = {**body, "message": ""}
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", json.dumps(body, sort_keys=True))
        body = json.loads(re.sub(r"http://127\.0\.0\.1:\d+", "HOST", text))
        for image in (body, *body.get("images", ())):
            # A set: each service has an order of its own.
            if "tags" in image:
                image["tags"].sort()
    elif reply.status >= 400:
        body = body.split(b"\n")[0] if headers.get("content-type", "").startswith("text/plain") else b""
    return {"status": reply.status, "headers": headers, "body": body}


def test_whole_answers(ours: Client, glance: Path, tmp_path: Path) -> None:
    wrong = []
    with real_glance(glance, tmp_path) as port:
        theirs = Client(port)
        for ask in ALIKE:
            mine, its = (told(answer(each, ask)) for each in (ours, theirs))
            if mine != its:
                different = {key: (mine[key], its[key]) for key in mine if mine[key] != its[key]}
                wrong.append(f"{ask.method} {ask.path} {dict(ask.headers)}: (ours, theirs) = {different}")
        theirs.close()
    assert not wrong, "\n".join(each[:1500] for each in wrong)


@pytest.mark.parametrize("name", ["image", "images", "member", "members", "task", "tasks"])
def test_schemas(ours: Client, theirs: Client, name: str) -> None:
    mine, its = (each.ask("GET", f"/v2/schemas/{name}").json() for each in (ours, theirs))
    assert without_words(mine) == without_words(its)


def without_words(schema: Any) -> Any:
    """A schema without descriptions, which are each service's own, and with its sets in order."""
    if isinstance(schema, dict):
        return {key: without_words(value) for key, value in schema.items() if key != "description"}
    if isinstance(schema, list):
        return sorted((without_words(each) for each in schema), key=str)
    return schema
