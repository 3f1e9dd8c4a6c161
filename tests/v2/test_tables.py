"""Every row of tables.py, asked of a running service."""

from __future__ import annotations

import json

import pytest

from .conftest import Client, Reply
from .tables import CREATES, EXCHANGES, PATCHED, PATCHES, QUERIES, Create, Exchange, Patch, Query

OCTETS = {"content-type": "application/octet-stream"}


def encoded(body: object) -> str | None:
    return None if body is None else json.dumps(body, ensure_ascii=False)


@pytest.mark.parametrize("row", QUERIES, ids=lambda row: row.text[:40])
def test_query(client: Client, row: Query) -> None:
    reply = client.ask("GET", f"/v2/images?{row.text}")
    assert reply.status == row.status, reply
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("row", CREATES, ids=lambda row: f"{row.status} {str(row.body)[:40]}")
def test_create(client: Client, row: Create) -> None:
    reply = client.ask("POST", "/v2/images", encoded(row.body), who="admin" if row.admin else "alice")
    assert reply.status == row.status, reply
    if row.status == 201:
        document = reply.json()
        assert reply.headers["location"].endswith(document["self"])
        assert document["status"] == "queued"


@pytest.mark.parametrize("row", PATCHES, ids=lambda row: f"{row.status} {str(row.body)[:40]}")
def test_patch(client: Client, row: Patch) -> None:
    formats = {"container_format": "bare"} if row.active else {}
    path = f"/v2/images/{client.create(**PATCHED, **formats)}"
    if row.active:
        assert client.ask("PUT", path + "/file", b"1234", OCTETS).status == 204
    before = client.ask("GET", path).json()
    headers = {"content-type": row.media_type}
    reply = client.ask("PATCH", path, encoded(row.body), headers, who="admin" if row.admin else "alice")
    assert reply.status == row.status, reply
    after = client.ask("GET", path, who="admin").json()
    if row.status == 200:
        assert reply.json() == after
    else:
        assert after == before


@pytest.mark.parametrize("row", EXCHANGES, ids=lambda row: f"{row.method} {row.path[:40]} {row.status}")
def test_exchange(client: Client, row: Exchange) -> None:
    path = row.path.replace("{id}", client.create())
    reply = client.ask(row.method, path, row.body, dict(row.headers))
    assert reply.status == row.status, reply
    assert reply.headers.get("allow") == row.allow
    if row.status >= 400 and row.method != "HEAD":
        require_error_body(reply)


def require_error_body(reply: Reply) -> None:
    assert reply.headers["content-type"] == "application/json"
    document = reply.json()
    assert set(document) == {"message", "code", "title"}
    assert document["code"] == f"{reply.status} {document['title']}"
