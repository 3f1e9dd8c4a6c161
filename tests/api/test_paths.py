"""Texts in the path of a request: UTF-8, percent-encoded, or refused."""

from __future__ import annotations

import http.client
from urllib.parse import quote

import pytest

from tests.bed.servers import Server


def ask(server: Server, method: str, target: str, project: str) -> int:
    """The status for a target exactly as given: httpx would mend it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, target, headers={"X-Auth-Token": f"u:{project}:member"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    "text", ["%ff", "%FF%fe", "a%c3", "%c3%28", "%ed%a0%80", "%c0%af", "%f0%9f%92", "%ef%bf%bd%ff"]
)
def test_bytes_that_are_no_text(service: Server, project: str, text: str) -> None:
    """Not the character that stands for what cannot be read: that would be another tag, or another project."""
    member = service.as_member(project)
    image = member.create(tags=["\ufffd", "a\ufffd"])
    path = f"/v2/images/{image['id']}"
    for method, rest in (("PUT", f"/tags/{text}"), ("DELETE", f"/tags/{text}"), ("DELETE", f"/members/{text}")):
        assert ask(service, method, path + rest, project) == 400
    for method, rest in (("GET", ""), ("GET", "/file"), ("PUT", "/file"), ("DELETE", "")):
        assert ask(service, method, f"/v2/images/{text}{rest}", project) in (400, 415)
    assert member.show(image["id"]) == image


def test_bytes_that_are_no_text_where_nothing_is(service: Server, project: str) -> None:
    assert ask(service, "GET", "/v2/%ff", project) == 404
    assert ask(service, "GET", "/%ff", project) == 300
    assert ask(service, "GET", "/v2/images/%ff", "") == 401


@pytest.mark.parametrize("text", ["é", "日本", "\ufffd", "a b", "100%", "ﬀ"])
def test_text(service: Server, project: str, text: str) -> None:
    """A tag set by the path is the tag that a body sets."""
    member = service.as_member(project)
    image = member.create()
    target = f"/v2/images/{image['id']}/tags/{quote(text)}"
    assert ask(service, "PUT", target, project) == 204
    assert member.show(image["id"])["tags"] == [text]
    assert [found["id"] for found in member.get("/v2/images", params={"tag": text}).json()["images"]] == [image["id"]]
    assert ask(service, "DELETE", target, project) == 204
    assert member.show(image["id"])["tags"] == []
