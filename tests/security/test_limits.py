"""Limits hold, whatever the framing, and what was refused leaves nothing.

OSSA-2014-028, OSSA-2015-003, OSSA-2015-020, OSSN 0057.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterable, Iterator

import pytest

from tests.bed.callers import Client
from tests.bed.servers import Server
from tests.conftest import StartServer

CAP = 300_000
QUOTA = 500_000
LOOPS = 25


def pieces(size: int, piece: int = 65_536) -> Iterator[bytes]:
    """A body of `size` bytes that httpx sends in chunks, without a length."""
    for start in range(0, size, piece):
        yield b"x" * min(piece, size - start)


def put(client: Client, image_id: str, size: int, framing: str) -> int:
    body: bytes | Iterable[bytes] = b"x" * size if framing == "length" else pieces(size)
    return client.upload(image_id, body).status_code


def assert_clean(server: Server, client: Client, image_id: str) -> None:
    """The image waits for data, and the store has no byte of it."""
    shown = client.show(image_id)
    assert (shown["status"], shown["size"], shown["checksum"], shown["virtual_size"]) == ("queued", None, None, None)
    assert [name for name in server.files() if image_id in name] == []
    assert server.rows("SELECT 1 FROM image_locations WHERE image_id = :id AND deleted = 0", id=image_id) == []


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with small limits on everything."""
    limits = {
        "image_size_cap": CAP,
        "user_storage_quota": f"{QUOTA}B",
        "image_tag_quota": 3,
        "image_property_quota": 4,
        "image_member_quota": 2,
    }
    one = Server(tmp_path_factory.mktemp("capped"), config={"DEFAULT": limits}).start()
    yield one
    one.end()
    assert one.unexpected_tracebacks() == []


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_ossa_2014_028_size_cap(capped: Server, project: str, framing: str) -> None:
    member = capped.as_member(project)
    image = member.create()
    for size in (CAP + 1, CAP + 65_536, CAP * 3):
        assert put(member, image["id"], size, framing) == 413
        assert_clean(capped, member, image["id"])
    assert put(member, image["id"], CAP, framing) == 204
    assert member.show(image["id"])["size"] == CAP


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_storage_quota(capped: Server, project: str, framing: str) -> None:
    member = capped.as_member(project)
    first, second = member.create(), member.create()
    assert put(member, first["id"], CAP, framing) == 204
    assert put(member, second["id"], QUOTA - CAP + 1, framing) == 413
    assert_clean(capped, member, second["id"])
    assert put(member, second["id"], QUOTA - CAP, framing) == 204
    assert put(member, member.create()["id"], 1, framing) == 413
    # Somebody else's quota is somebody else's.
    assert put(capped.as_member(project + "-b"), capped.as_member(project + "-b").create()["id"], 1, framing) == 204
    assert member.delete(f"/v2/images/{first['id']}").status_code == 204
    assert put(member, member.create()["id"], CAP, framing) == 204


def test_a_lie_about_the_size_is_found_out(capped: Server, project: str) -> None:
    """The header announces little, the body is too much."""
    member = capped.as_member(project)
    image = member.create()
    url, octets = f"/v2/images/{image['id']}/file", {"Content-Type": "application/octet-stream"}
    answer = member.put(url, content=pieces(CAP + 1), headers={**octets, "x-openstack-image-size": "1"})
    assert answer.status_code in (400, 413)
    assert_clean(capped, member, image["id"])


def test_uploads_at_once_do_not_share_one_quota(capped: Server, project: str) -> None:
    """Each of them alone fits; all together do not."""
    member = capped.as_member(project)
    images = [member.create()["id"] for _ in range(4)]
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda each=each: found.append(put(capped.as_member(project), each, 200_000, "chunks")))
        for each in images
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == [204, 204, 413, 413]
    stored = [each for each in images if each in capped.files()]
    active = [each for each in images if member.show(each)["status"] == "active"]
    assert stored == active
    assert len(active) == 2


def test_ossa_2015_003_delete_while_uploading(capped: Server, project: str) -> None:
    """Again and again, at random instants: no byte stays, and none counts against the quota."""
    member = capped.as_member(project)
    chance = random.Random(7)
    found = []
    for _ in range(LOOPS):
        image = member.create()
        connection, result = _begin(capped, project, image["id"])
        with connection:
            connection.sendall(_chunk(chance.randrange(1, 100_000)))
            time.sleep(chance.random() * 0.01)
            assert member.delete(f"/v2/images/{image['id']}").status_code == 204
            result.append(_finish(connection, chance.randrange(1, 100_000)))
        assert member.get(f"/v2/images/{image['id']}").status_code == 404
        found += result
    # 404: the delete came before the upload had begun.
    assert set(found) <= {410, 404}, found
    assert 410 in found
    _wait_until_empty(capped, project)
    # The whole quota is there again.
    for size in (CAP, QUOTA - CAP):
        assert put(member, member.create()["id"], size, "chunks") == 204


def _begin(server: Server, project: str, image_id: str) -> tuple[socket.socket, list[int]]:
    connection = socket.create_connection(("127.0.0.1", server.port), 20)
    head = (
        f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: u:{project}:member\r\n"
        "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection, []


def _chunk(size: int) -> bytes:
    return b"%x\r\n" % size + b"x" * size + b"\r\n"


def _finish(connection: socket.socket, size: int) -> int:
    """Send the rest; the status of the answer, which may come while we still send."""
    try:
        connection.sendall(_chunk(size) + b"0\r\n\r\n")
        data = connection.recv(65_536)
    except ConnectionError:
        return 410
    return int(data.split()[1]) if data else 410


def _wait_until_empty(server: Server, project: str) -> None:
    own = "SELECT id FROM images WHERE owner = :owner"
    names = {row["id"] for row in server.rows(own, owner=project)}
    deadline = time.monotonic() + 10
    while True:
        left = [name for name in server.files() if any(each in name for each in names)]
        if not left:
            return
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_tag_quota_on_every_way(capped: Server, project: str) -> None:
    member = capped.as_member(project)
    assert member.post("/v2/images", json={"tags": list("abcd")}).status_code == 413
    # A set: what is there twice counts once.
    image = member.create(tags=["a", "b", "c", "a"])
    url = f"/v2/images/{image['id']}"
    assert member.put(f"{url}/tags/d").status_code == 413
    assert member.put(f"{url}/tags/a").status_code == 204
    assert member.change(image["id"], {"op": "replace", "path": "/tags", "value": list("abcd")}).status_code == 413
    assert sorted(member.show(image["id"])["tags"]) == ["a", "b", "c"]
    assert member.delete(f"{url}/tags/a").status_code == 204
    assert member.put(f"{url}/tags/d").status_code == 204


def test_property_quota_on_every_way(capped: Server, project: str) -> None:
    member = capped.as_member(project)
    assert member.post("/v2/images", json={f"p{number}": "v" for number in range(5)}).status_code == 413
    image = member.create(**{f"p{number}": "v" for number in range(4)})
    add = {"op": "add", "path": "/p9", "value": "v"}
    assert member.change(image["id"], add).status_code == 413
    assert member.change(image["id"], {"op": "remove", "path": "/p0"}, add, {**add, "path": "/p8"}).status_code == 413
    assert member.change(image["id"], {"op": "replace", "path": "/p1", "value": "w"}).status_code == 200
    assert member.change(image["id"], {"op": "remove", "path": "/p0"}, add).status_code == 200
    assert "p9" in member.show(image["id"])


def test_member_quota(capped: Server, project: str) -> None:
    member = capped.as_member(project)
    url = f"/v2/images/{member.create()['id']}/members"
    found = [member.post(url, json={"member": f"m{number}"}).status_code for number in range(4)]
    assert found == [200, 200, 413, 413]
    assert len(member.get(url).json()["members"]) == 2
    assert member.delete(f"{url}/m0").status_code == 204
    assert member.post(url, json={"member": "m9"}).status_code == 200


def test_quotas_hold_against_many_at_once(capped: Server, project: str) -> None:
    member = capped.as_member(project)
    image = member.create()

    def add(number: int) -> None:
        client = capped.as_member(project)
        client.put(f"/v2/images/{image['id']}/tags/t{number}")
        client.post(f"/v2/images/{image['id']}/members", json={"member": f"m{number}"})
        client.change(image["id"], {"op": "add", "path": f"/p{number}", "value": "v"})

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    shown = member.show(image["id"])
    assert len(shown["tags"]) == 3
    assert len([name for name in shown if name.startswith("p") and name[1:].isdigit()]) == 4
    assert len(member.get(f"/v2/images/{image['id']}/members").json()["members"]) == 2


def test_a_negative_quota_is_none(server: StartServer) -> None:
    names = ("image_tag_quota", "image_property_quota", "image_member_quota")
    member = server(config={"DEFAULT": dict.fromkeys(names, -1)}).as_member("p")
    image = member.create(tags=[f"t{number}" for number in range(200)], **{f"p{number}": "v" for number in range(200)})
    shown = member.show(image["id"])
    assert len(shown["tags"]) == 200
    assert shown["p199"] == "v"
