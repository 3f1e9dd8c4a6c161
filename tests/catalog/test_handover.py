"""One database and one folder of images, handed to and fro between Fanlight and the real Glance.

Both answer the same requests of the same callers, and every document, list, member and byte must be the same, whoever
made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bed.callers import Client, identity_headers
from tests.bed.databases import Database
from tests.bed.servers import Server
from tests.conftest import StartServer

from .glance import Glance

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
OWNER, FRIEND, STRANGER = "owner-project", "friend-project", "stranger-project"
PROJECTS = (OWNER, FRIEND, STRANGER)
FULL = {
    "name": "größe",
    "min_disk": 1,
    "min_ram": 64,
    "tags": ["one", "two"],
    "os_distro": "debian",
    "hw_disk_bus": "virtio",
    "empty": "",
}
DATA = bytes(range(256)) * 300


class Caller:
    """Somebody of a project at either service."""

    def __init__(self, url: str, project: str, roles: tuple[str, ...] = ("member", "reader")) -> None:
        self.client = Client(url, identity_headers("trusted", f"user-of-{project}", project, roles))

    def ask(self, method: str, path: str, expected: int, **more: Any) -> httpx.Response:
        answer = self.client.request(method, path, **more)
        assert answer.status_code == expected, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer


class People(dict[str, Caller]):
    """Everybody who calls, by project; they hang up at the end of the block."""

    def __init__(self, url: str) -> None:
        super().__init__({project: Caller(url, project) for project in PROJECTS})
        self["admin"] = Caller(url, "admin-project", ("admin", "member", "reader"))

    def __enter__(self) -> People:
        return self

    def __exit__(self, *exc: object) -> None:
        for caller in self.values():
            caller.client.close()


def make(owner: Caller, friend: Caller) -> dict[str, str]:
    """Images in every state that a service without imports knows, with all that can belong to one."""
    ids = {}

    def image(label: str, **fields: Any) -> None:
        wanted = {"name": label, "disk_format": "raw", "container_format": "bare", **fields}
        ids[label] = str(owner.ask("POST", "/v2/images", 201, json=wanted).json()["id"])

    def upload(image_id: str, data: bytes) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        owner.ask("PUT", f"/v2/images/{image_id}/file", 204, content=data, headers=headers)

    image("queued")
    image("bare", disk_format=None, container_format=None)
    image("full", **FULL)
    upload(ids["full"], DATA)
    image("empty")
    upload(ids["empty"], b"")
    image("shared", visibility="shared")
    upload(ids["shared"], DATA[::-1])
    for member in (FRIEND, "another", "removed", "back"):
        owner.ask("POST", f"/v2/images/{ids['shared']}/members", 200, json={"member": member})
    for member in ("removed", "back"):
        owner.ask("DELETE", f"/v2/images/{ids['shared']}/members/{member}", 204)
    owner.ask("POST", f"/v2/images/{ids['shared']}/members", 200, json={"member": "back"})
    friend.ask("PUT", f"/v2/images/{ids['shared']}/members/{FRIEND}", 200, json={"status": "accepted"})
    image("community", visibility="community")
    image("private", visibility="private", protected=True)
    image("deactivated")
    upload(ids["deactivated"], b"not for everybody")
    owner.ask("POST", f"/v2/images/{ids['deactivated']}/actions/deactivate", 204)
    image("hidden", os_hidden=True)
    image("deleted", tags=["gone"], color="gone")
    upload(ids["deleted"], b"gone")
    owner.ask("DELETE", f"/v2/images/{ids['deleted']}", 204)
    return ids


def change(owner: Caller, ids: dict[str, str]) -> None:
    """Everything again: what was removed comes back, what was there goes."""

    def patch(name: str, *operations: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        owner.ask("PATCH", f"/v2/images/{ids[name]}", 200, json=list(operations), headers=headers)

    patch("full", {"op": "remove", "path": "/os_distro"}, {"op": "replace", "path": "/tags", "value": ["two", "three"]})
    patch("full", {"op": "add", "path": "/os_distro", "value": "ubuntu"}, {"op": "add", "path": "/new", "value": "x"})
    patch("full", {"op": "replace", "path": "/name", "value": "renamed"}, {"op": "remove", "path": "/empty"})
    owner.ask("DELETE", f"/v2/images/{ids['full']}/tags/three", 204)
    owner.ask("PUT", f"/v2/images/{ids['full']}/tags/one", 204)
    owner.ask("POST", f"/v2/images/{ids['deactivated']}/actions/reactivate", 204)
    owner.ask("DELETE", f"/v2/images/{ids['shared']}/members/another", 204)
    owner.ask("DELETE", f"/v2/images/{ids['community']}", 204)
    headers = {"Content-Type": "application/octet-stream"}
    owner.ask("PUT", f"/v2/images/{ids['queued']}/file", 204, content=b"at last", headers=headers)


def everything(people: People, ids: dict[str, str]) -> dict[str, Any]:
    """All that they can see of the images: lists, documents, members and data."""
    seen: dict[str, Any] = {}
    lists = ("", "?visibility=all", "?visibility=community", "?os_hidden=true", "?tag=two", "?os_distro=ubuntu")
    for who, caller in people.items():
        for query in (*lists, "?member_status=all&visibility=shared", "?sort=name:asc&limit=3", "?name=renamed"):
            answer = caller.ask("GET", f"/v2/images{query}", 200).json()
            seen[f"{who} list {query}"] = [ordered(image) for image in answer["images"]]
        for name, image_id in ids.items():
            for part in ("", "/members", "/file"):
                answer = caller.client.get(f"/v2/images/{image_id}{part}")
                body: Any = answer.content
                if answer.status_code == 200 and part != "/file":
                    body = ordered(answer.json())
                refused = answer.status_code >= 400  # the texts of messages are each one's own
                seen[f"{who} {name}{part}"] = (answer.status_code, None if refused else body)
    return seen


def ordered(document: dict[str, Any]) -> dict[str, Any]:
    """Tags and members come in no particular order."""
    found = dict(document)
    if "tags" in found:
        found["tags"] = sorted(found["tags"])
    if "members" in found:
        found["members"] = sorted(found["members"], key=lambda member: str(member["member_id"]))
    return found


@pytest.fixture(params=[pytest.param("sqlite"), pytest.param("mariadb", marks=pytest.mark.services)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    made = Database(request.param, tmp_path / "database")
    yield made
    made.drop()


Serve = Callable[[], Any]


@pytest.fixture
def both(glance: Path, place: Database, tmp_path: Path, server: StartServer) -> tuple[Serve, Glance]:
    """How to serve the place with Fanlight, and the real Glance over it."""
    real = Glance(glance, tmp_path / "glance", place.url, tmp_path / "images")
    started: list[Server] = []

    @contextmanager
    def ours() -> Iterator[str]:
        if started:
            started[0].start()
        else:
            # It reads the configuration that Glance reads.
            arguments = ("--config-file", str(real.config))
            started.append(server(flavor="trusted", database=place.url, arguments=arguments))
        yield started[0].url
        started[0].stop()

    return ours, real


def test_made_by_fanlight(both: tuple[Serve, Glance]) -> None:
    ours, real = both
    with ours() as url, People(url) as people:
        ids = make(people[OWNER], people[FRIEND])
        change(people[OWNER], ids)
        before = everything(people, ids)
    real.manage("db", "check")
    with real.serving() as url, People(url) as people:
        assert everything(people, ids) == before
        # The id of what Fanlight deleted stays taken.
        people[OWNER].ask("POST", "/v2/images", 409, json={"id": ids["deleted"]})


def test_made_by_glance_and_taken_over(both: tuple[Serve, Glance]) -> None:
    ours, real = both
    real.manage("db", "sync")
    with real.serving() as url, People(url) as people:
        ids = make(people[OWNER], people[FRIEND])
        before = everything(people, ids)
    with ours() as url, People(url) as people:
        assert everything(people, ids) == before
        people[OWNER].ask("POST", "/v2/images", 409, json={"id": ids["deleted"]})
        change(people[OWNER], ids)
        changed = everything(people, ids)
        assert changed != before
    with real.serving() as url, People(url) as people:
        assert everything(people, ids) == changed


def test_changed_by_glance_and_taken_back(both: tuple[Serve, Glance]) -> None:
    ours, real = both
    with ours() as url, People(url) as people:
        ids = make(people[OWNER], people[FRIEND])
    with real.serving() as url, People(url) as people:
        change(people[OWNER], ids)
        changed = everything(people, ids)
    removed = ("full", "empty", "shared", "deactivated", "queued")
    with ours() as url, People(url) as people:
        assert everything(people, ids) == changed
        for name in removed:
            people[OWNER].ask("DELETE", f"/v2/images/{ids[name]}", 204)
    with real.serving() as url, People(url) as people:
        for name in removed:
            people[OWNER].ask("GET", f"/v2/images/{ids[name]}", 404)
