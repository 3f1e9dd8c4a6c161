"""Absolute links of a service behind a proxy that speaks TLS: as its options say, and never as just anybody says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bed.servers import Server
from tests.conftest import StartServer

TOLD = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "images.example",
    "X-Forwarded-Port": "8443",
    "X-Forwarded-Prefix": "/glance",
}
BELIEVED = {"oslo_middleware": {"enable_proxy_headers_parsing": True}}


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("proxied"), config=BELIEVED).start()
    yield one
    one.end()
    assert one.unexpected_tracebacks() == []


def links(server: Server, headers: dict[str, str]) -> set[str]:
    """What every absolute link begins with: of the versions, of the way to them, of a new image."""
    member = server.as_member("p")
    versions = member.get("/", headers=headers).json()["versions"]
    found = {version["links"][0]["href"] for version in versions}
    found.add(member.get("/v2", headers=headers).headers["location"])
    created = member.post("/v2/images", json={}, headers=headers)
    assert created.status_code == 201
    place = created.headers["location"]
    assert place.endswith(f"/v2/images/{created.json()['id']}")
    # What stands in bodies has no host and no prefix (Image API V2, "Responses").
    assert created.json()["self"] == f"/v2/images/{created.json()['id']}"
    return {each.removesuffix("/v2/") for each in found} | {place.partition("/v2/images/")[0]}


def test_nobody_is_believed_by_default(service: Server) -> None:
    assert links(service, TOLD) == {service.url}
    assert links(service, {"Forwarded": "proto=https;host=images.example"}) == {service.url}
    assert links(service, {"Host": "images.example:9292"}) == {"http://images.example:9292"}


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        (TOLD, "https://images.example:8443/glance"),
        ({"X-Forwarded-Proto": "https", "Host": "images.example"}, "https://images.example"),
        (
            {"Forwarded": 'for=192.0.2.60;Proto=https;host="images.example:8443", for=x;host=y'},
            "https://images.example:8443",
        ),
        ({"Forwarded": "proto=https;host=images.example", **TOLD}, "https://images.example/glance"),
        ({"X-Forwarded-Proto": "javascript", "X-Forwarded-Host": "a b", "Host": "h"}, "http://h"),
    ],
    ids=["older", "scheme", "standard", "both", "nonsense"],
)
def test_a_proxy_is_believed_where_that_is_configured(proxied: Server, headers: dict[str, str], base: str) -> None:
    assert links(proxied, headers) == {base}


def test_without_a_proxy_the_links_are_as_ever(proxied: Server) -> None:
    assert links(proxied, {}) == {proxied.url}


def test_the_public_endpoint_wins(server: StartServer) -> None:
    one = server(config={"DEFAULT": {"public_endpoint": "https://public.example/image/"}, **BELIEVED})
    assert links(one, {}) == links(one, TOLD) == {"https://public.example/image"}


def test_who_calls_is_not_what_a_proxy_says(server: StartServer) -> None:
    """Mode `none` serves callers on this machine, and a proxy makes strangers look like those."""
    one = server(flavor=None, config=BELIEVED)
    assert one.client().get("/v2/images").status_code == 200
    for headers in (TOLD, {"X-Forwarded-Host": one.url[7:]}, {"Forwarded": f"host={one.url[7:]}"}):
        assert one.client().get("/v2/images", headers=headers).status_code == 403
    one.client().get("/v2/images", headers={"X-Forwarded-For": "192.0.2.7", "X-Openstack-Request-Id": "req-who"})
    line = one.wait_for_log(".*ACCESS.*req-who.*")[0]
    assert " 127.0.0.1 " in line
