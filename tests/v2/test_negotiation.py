"""Which part of the service a path belongs to, and the answers before identity."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from fanlight.http.call import Answer
from fanlight.http.negotiation import VENDOR_PREFIX, Place, Versions, health_answer, request_url, split


class Head:
    def __init__(self, headers: Mapping[str, str] | None = None, method: str = "GET", scheme: str = "http") -> None:
        self.method = method
        self.public_url: str | None = None
        self.scheme = scheme
        self._headers = {"host": "images.example:9292", **(headers or {})}

    def get(self, name: str) -> str | None:
        return self._headers.get(name)


def answered(place: Place, versions: Versions, head: Head | None = None) -> Answer:
    return place.answer(head or Head(), SimpleNamespace(versions=versions))


@pytest.mark.parametrize(
    ("path", "accept", "kind", "rest", "status"),
    [
        ("/v2/images", None, "api", "/v2/images", 200),
        ("/v2/images/", None, "api", "/v2/images/", 200),
        ("//v2///images", None, "api", "/v2/images", 200),
        ("/v2.0/images", None, "api", "/v2/images", 200),
        ("/v2.17/images", None, "api", "/v2/images", 200),
        ("/v2.9//images", None, "api", "/v2/images", 200),
        ("/v2.18/images", None, "versions", "", 300),
        ("/v2.16/images", None, "versions", "", 300),
        ("/v3/images", None, "versions", "", 300),
        ("/V2/images", None, "versions", "", 300),
        ("/images", None, "versions", "", 300),
        ("/", None, "versions", "", 300),
        ("", None, "versions", "", 300),
        ("/versions", None, "versions", "", 200),
        ("/versions/anything", None, "versions", "", 200),
        ("/versions", VENDOR_PREFIX + "v2", "versions", "", 200),
        ("/v2", None, "redirect", "", 200),
        ("/v2.3", None, "redirect", "", 200),
        ("/v2/", None, "api", "/v2/", 200),
        ("/v2.3/", None, "api", "/v2/", 200),
        ("/images", VENDOR_PREFIX + "v2", "api", "/v2/images", 200),
        ("/images", VENDOR_PREFIX + "v2.9", "api", "/v2/images", 200),
        ("/images", VENDOR_PREFIX + "v2.9;q=1", "api", "/v2/images", 200),
        ("/v2/images", VENDOR_PREFIX + "v2", "api", "/v2/v2/images", 200),
        ("/", VENDOR_PREFIX + "v2", "api", "/v2/", 200),
        ("/images", VENDOR_PREFIX + "v7", "versions", "", 300),
        ("/images", VENDOR_PREFIX + "v2, text/html", "versions", "", 300),
        ("/images", VENDOR_PREFIX + "v2+json", "versions", "", 300),
        ("/images", "text/html, " + VENDOR_PREFIX + "v2", "versions", "", 300),
        ("/v2/images", "application/json", "api", "/v2/images", 200),
        ("/healthcheck", None, "health", "", 200),
        ("/healthcheck/", None, "health", "", 200),
        ("/healthcheck/deep", VENDOR_PREFIX + "v2", "health", "", 200),
        ("/healthchecks", None, "versions", "", 300),
    ],
)
def test_split(path: str, accept: str | None, kind: str, rest: str, status: int) -> None:
    assert split(path, accept, Versions()) == Place(kind, rest, status)


LOW = ["v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0"]
MULTI = ["v2.13", "v2.12", "v2.11", "v2.10", "v2.9", "v2.8"]
CACHE = ["v2.18", "v2.17", "v2.16", "v2.15", "v2.14"]


@pytest.mark.parametrize(
    ("multi_store", "cache", "ids"),
    [
        (False, False, ["v2.15", "v2.9", "v2.17", *LOW]),
        (True, False, ["v2.15", *MULTI, "v2.17", *LOW]),
        (False, True, [*CACHE, "v2.9", *LOW]),
        (True, True, [*CACHE, *MULTI, *LOW]),
    ],
)
def test_versions_document(multi_store: bool, cache: bool, ids: list[str]) -> None:
    versions = Versions(multi_store=multi_store, cache=cache)
    document = versions.document("http://h")["versions"]
    assert [version["id"] for version in document] == ids
    current = [version["id"] for version in document if version["status"] == "CURRENT"]
    assert current == ["v2.18" if cache else "v2.17"]
    assert {version["status"] for version in document} == {"CURRENT", "SUPPORTED"}
    assert all(version["links"] == [{"rel": "self", "href": "http://h/v2/"}] for version in document)
    assert versions.accepted == {"v2", *ids}


@pytest.mark.parametrize(("path", "status"), [("/", 300), ("/versions", 200)])
def test_versions_answer(path: str, status: int) -> None:
    versions = Versions()
    got = answered(split(path, None, versions), versions)
    assert got.status == status
    assert got.headers == [(b"content-type", b"application/json")]
    assert json.loads(got.body)["versions"][0]["links"][0]["href"] == "http://images.example:9292/v2/"


@pytest.mark.parametrize("endpoint", ["https://public.example/image", "https://public.example/image/"])
def test_public_endpoint_replaces_the_host(endpoint: str) -> None:
    versions = Versions(public_endpoint=endpoint)
    got = answered(split("/", None, versions), versions)
    assert json.loads(got.body)["versions"][0]["links"][0]["href"] == "https://public.example/image/v2/"


def test_redirect() -> None:
    versions = Versions()
    got = answered(split("/v2", None, versions), versions, Head(scheme="https"))
    assert got.status == 302
    assert (b"location", b"https://images.example:9292/v2/") in got.headers
    assert got.body == b""


@pytest.mark.parametrize("host", ["evil\r\nx: y", "a b", "", "<script>"])
def test_strange_hosts_are_not_repeated(host: str) -> None:
    assert request_url(Head({"host": host})) == "http://localhost"


@pytest.mark.parametrize("host", ["h", "h:1", "[::1]:9292", "a-b.example", "10.0.0.1"])
def test_host(host: str) -> None:
    assert request_url(Head({"host": host})) == f"http://{host}"


@pytest.mark.parametrize(
    ("accept", "media_type", "body"),
    [
        (None, b"text/plain; charset=UTF-8", b"OK"),
        ("*/*", b"text/plain; charset=UTF-8", b"OK"),
        ("application/json", b"application/json", b'{"detailed":false,"reasons":["OK"]}'),
        ("text/html", b"text/html; charset=UTF-8", None),
    ],
)
def test_health(accept: str | None, media_type: bytes, body: bytes | None) -> None:
    got = health_answer(Head({"accept": accept} if accept else {}), None)
    assert got.status == 200
    assert got.headers == [(b"content-type", media_type)]
    assert b"OK" in got.body
    assert body is None or got.body == body


def test_health_head() -> None:
    assert health_answer(Head(method="HEAD"), None) == Answer(204, [])


def test_health_disabled_by_file(tmp_path: Path) -> None:
    switch = tmp_path / "healthcheck_disable"
    assert health_answer(Head(), str(switch)).status == 200
    switch.touch()
    got = health_answer(Head(), str(switch))
    assert (got.status, got.body) == (503, b"DISABLED BY FILE")
    head = health_answer(Head(method="HEAD"), str(switch))
    assert (head.status, head.body) == (503, b"")
