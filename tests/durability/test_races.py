"""Several at once on one image: one wins, all are told the truth, nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.durability.wire import SlowUpload, assert_has
from tests.edge.raw import eventually

MIB = 1 << 20


def together(*functions: Callable[[], None]) -> None:
    """Run all at the same instant, and wait for all; what one raises is raised."""
    barrier = threading.Barrier(len(functions))
    failures: list[BaseException] = []

    def run(function: Callable[[], None]) -> None:
        try:
            barrier.wait(20)
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if failures:
        raise failures[0]


@pytest.mark.parametrize("racers", [2, 5])
def test_uploads_to_one_image(service: Server, project: str, racers: int) -> None:
    """Exactly one is stored, and what is stored is exactly what that one sent."""
    member = service.as_member(project)
    for _ in range(6):
        image = member.create()
        found: dict[int, int] = {}

        def put(number: int, image_id: str = image["id"], found: dict[int, int] = found) -> None:
            found[number] = service.as_member(project).upload(image_id, bytes([number]) * (MIB + number)).status_code

        together(*(lambda number=number: put(number) for number in range(racers)))
        winners = [number for number, status in found.items() if status == 204]
        assert len(winners) == 1, found
        assert set(found.values()) == {204, 409}
        assert_has(service, member, image["id"], bytes(winners) * (MIB + winners[0]))


def test_the_second_upload_is_told_while_the_first_runs(service: Server, project: str) -> None:
    member = service.as_member(project)
    image = member.create()
    with SlowUpload(service, image["id"], None, project) as upload:
        upload.send(b"a" * MIB)
        eventually(lambda: member.show(image["id"])["status"] == "saving")
        assert member.upload(image["id"], b"other").status_code == 409
        assert member.change(image["id"], {"op": "replace", "path": "/name", "value": "n"}).status_code == 200
        upload.send(b"b" * MIB)
        assert upload.end() == 204
    assert_has(service, member, image["id"], b"a" * MIB + b"b" * MIB)
    assert member.show(image["id"])["name"] == "n"


@pytest.mark.parametrize("length", [None, 2 * MIB])
def test_deleted_while_uploading(service: Server, project: str, length: int | None) -> None:
    member = service.as_member(project)
    image = member.create()
    with SlowUpload(service, image["id"], length, project) as upload:
        upload.send(b"a" * MIB)
        eventually(lambda: member.show(image["id"])["status"] == "saving")
        assert member.delete(f"/v2/images/{image['id']}").status_code == 204
        assert member.get(f"/v2/images/{image['id']}").status_code == 404
        upload.send(b"b" * MIB)
        assert upload.end() == 410
    assert [name for name in service.files() if image["id"] in name] == []
    assert service.rows("SELECT token FROM fanlight_leases WHERE image_id = :id", id=image["id"]) == []
    rows = service.rows("SELECT status, deleted FROM images WHERE id = :id", id=image["id"])
    assert [(row["status"], bool(row["deleted"])) for row in rows] == [("deleted", True)]


def test_deletes_at_once(service: Server, project: str) -> None:
    member = service.as_member(project)
    for _ in range(5):
        image = member.create_active(b"data")
        found: list[int] = []

        def delete(image_id: str = image["id"], found: list[int] = found) -> None:
            found.append(service.as_member(project).delete(f"/v2/images/{image_id}").status_code)

        together(*[delete] * 4)
        assert sorted(found) == [204, 404, 404, 404]
        assert image["id"] not in service.files()


def test_creates_with_one_id(service: Server, project: str) -> None:
    wanted = service.as_member(project).create()["id"][:-1]
    for digit in "0123456789abcdef"[:6]:
        found: list[int] = []

        def create(image_id: str = wanted + digit, found: list[int] = found) -> None:
            found.append(service.as_member(project).post("/v2/images", json={"id": image_id}).status_code)

        together(*[create] * 4)
        assert sorted(found) in ([201, 409, 409, 409], [409, 409, 409, 409])


def assert_no_update_is_lost(server: Server, project: str) -> None:
    member = server.as_member(project)
    image = member.create(name="n")
    found: list[int] = []

    def add(number: int) -> None:
        client = server.as_member(project)
        for turn in range(3):
            operation = {"op": "add", "path": f"/p{number}-{turn}", "value": f"v{number}"}
            found.append(client.change(image["id"], operation).status_code)
        found.append(client.put(f"/v2/images/{image['id']}/tags/t{number}").status_code - 4)

    together(*(lambda number=number: add(number) for number in range(20)))
    assert found == [200] * 80
    shown = member.show(image["id"])
    assert {name: shown.get(name) for name in shown if name[:1] == "p" and name[1:2].isdigit()} == {
        f"p{number}-{turn}": f"v{number}" for number in range(20) for turn in range(3)
    }
    assert sorted(shown["tags"]) == sorted(f"t{number}" for number in range(20))


def test_concurrent_patches_lose_nothing(service: Server, project: str) -> None:
    assert_no_update_is_lost(service, project)


def test_concurrent_patches_through_two_workers_lose_nothing(server: StartServer) -> None:
    assert_no_update_is_lost(server(workers=2), "p")


def test_patches_that_depend_on_each_other(service: Server, project: str) -> None:
    """Of many that remove the same property exactly one does; the others conflict."""
    member = service.as_member(project)
    image = member.create(taken="v")
    found: list[int] = []

    def remove() -> None:
        operation = {"op": "remove", "path": "/taken"}
        found.append(service.as_member(project).change(image["id"], operation).status_code)

    together(*[remove] * 8)
    assert sorted(found) == [200] + [409] * 7


def test_download_of_an_image_that_is_deleted_meanwhile(service: Server, project: str) -> None:
    """It ends cleanly: with all bytes (an open file stays readable), or cut so that the client notices."""
    member, other = service.as_member(project), service.as_member(project)
    data = bytes(range(256)) * (MIB // 8)
    image = member.create_active(data)
    with member.stream("GET", f"/v2/images/{image['id']}/file") as answer:
        blocks = answer.iter_raw(65_536)
        got = next(blocks)
        assert other.delete(f"/v2/images/{image['id']}").status_code == 204
        got += b"".join(blocks)
    assert got == data
    assert other.get(f"/v2/images/{image['id']}/file").status_code == 404
    assert image["id"] not in service.files()
