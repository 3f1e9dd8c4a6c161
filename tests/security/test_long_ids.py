"""Callers whose project or user no column has room for: refused at the door, the same on every database."""

from __future__ import annotations

import pytest

from tests.bed.servers import Server
from tests.conftest import StartServer


@pytest.mark.parametrize("who", ["user", "project"])
def test_ids_have_at_most_255_characters(service: Server, who: str) -> None:
    for length, created, listed in ((255, 201, 200), (256, 401, 401), (5000, 401, 401)):
        names = {"user": "u", "project": "p", who: "x" * length}
        headers = {"X-Auth-Token": f"{names['user']}:{names['project']}:member,reader"}
        client = service.client(headers)
        assert client.post("/v2/images", json={}).status_code == created
        assert client.get("/v2/images").status_code == listed


def test_ids_of_a_front_end(server: StartServer) -> None:
    one = server(flavor="trusted")
    for project, status in (("x" * 255, 200), ("x" * 256, 401)):
        assert one.as_member(project, "u").get("/v2/images").status_code == status
