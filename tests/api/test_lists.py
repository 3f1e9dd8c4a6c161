"""GET /v2/images over a known set: every filter and order against what Python says, and pages that meet end to end."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.bed.callers import Client
from tests.bed.servers import Server

Image = dict[str, Any]
COUNT = 60


@pytest.fixture(scope="module")
def listed(shared_services: Callable[[str], Server], engine: str) -> tuple[Client, list[Image]]:
    """Sixty images of one project that differ in everything that a list can tell apart."""
    service = shared_services(engine)
    member = service.as_member(f"project-{uuid.uuid4().hex}")
    images = []
    for number in range(COUNT):
        fields: dict[str, Any] = {
            "name": f"name-{number % 7}",
            "disk_format": ("raw", "iso", "qcow2")[number % 3],
            "container_format": ("bare", "ovf")[number % 2],
            "min_disk": number % 5,
            "min_ram": number,
            "protected": number % 10 == 0,
            "visibility": ("shared", "private", "community")[number % 3],
            "tags": [f"t{number % 2}", f"u{number % 3}"],
            "color": ("red", "blue", "a,b")[number % 3],
        }
        image = member.create(**fields)
        if fields["disk_format"] == "raw" and number % 2 == 0:
            assert member.upload(image["id"], b"x" * number).status_code == 204
        # Databases differ in what they keep of a second: whole ones are the same everywhere.
        created = f"2024-01-01 00:00:{number // 2:02}.000000"
        # The documents tell whole seconds only, and the order goes by more where the database keeps more.
        updated = f"2024-01-02 00:00:{number * 7 % 60:02}.000000"
        statement = "UPDATE images SET created_at = :created, updated_at = :updated WHERE id = :id"
        service.rows(statement, created=created, updated=updated, id=image["id"])
        images.append(member.show(image["id"]))
    return member, images


def ids(images: list[Image]) -> list[str]:
    return [image["id"] for image in images]


def found(member: Client, query: str) -> list[Image]:
    answer = member.get(f"/v2/images?limit=1000&visibility=all&owner={_project(member)}&{query}")
    assert answer.status_code == 200, answer.text
    images: list[Image] = answer.json()["images"]
    return images


def _project(member: Client) -> str:
    return member.headers["X-Auth-Token"].split(":")[1]


FILTERS: dict[str, Callable[[Image], bool]] = {
    "": lambda image: True,
    "name=name-3": lambda image: image["name"] == "name-3",
    "name=eq:name-3": lambda image: image["name"] == "name-3",
    "name=in:name-1,name-2": lambda image: image["name"] in ("name-1", "name-2"),
    'name=in:"name-1","none"': lambda image: image["name"] == "name-1",
    "name=Name-3": lambda image: False,
    "status=active": lambda image: image["status"] == "active",
    "status=in:active,queued": lambda image: True,
    "disk_format=in:raw,iso": lambda image: image["disk_format"] in ("raw", "iso"),
    "container_format=ovf": lambda image: image["container_format"] == "ovf",
    "size_min=20": lambda image: image["size"] is not None and image["size"] >= 20,
    "size_max=20": lambda image: image["size"] is not None and image["size"] <= 20,
    "size_min=12&size_max=18": lambda image: image["size"] in range(12, 19),
    "size=12": lambda image: image["size"] == 12,
    "min_disk=3": lambda image: image["min_disk"] == 3,
    "min_ram_min=30&min_ram_max=40": lambda image: 30 <= image["min_ram"] <= 40,
    "protected=true": lambda image: image["protected"],
    "protected=false": lambda image: not image["protected"],
    "os_hidden=true": lambda image: False,
    "os_hidden=False": lambda image: True,
    "tag=t1": lambda image: "t1" in image["tags"],
    "tag=t1&tag=u2": lambda image: {"t1", "u2"} <= set(image["tags"]),
    "tag=t1&tag=t0": lambda image: False,
    "color=red": lambda image: image["color"] == "red",
    "color=a,b": lambda image: image["color"] == "a,b",
    "color=red&disk_format=raw&tag=t0": lambda image: (
        image["color"] == "red" and image["disk_format"] == "raw" and "t0" in image["tags"]
    ),
    "taste=sweet": lambda image: False,
    "created_at=gte:1999-01-01T00:00:00Z": lambda image: True,
    "created_at=lt:1999-01-01T00:00:00Z": lambda image: False,
    "changes=none": lambda image: False,
}


@pytest.mark.parametrize("query", FILTERS)
def test_filters(listed: tuple[Client, list[Image]], query: str) -> None:
    member, images = listed
    expected = {image["id"] for image in images if FILTERS[query](image)}
    if query.startswith(("changes", "taste", "tag=t1&tag=t0", "name=N", "os_hidden=true", "created_at=lt")):
        assert expected == set()
    else:
        assert expected
    assert set(ids(found(member, query))) == expected


COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "": lambda value, number: value == number,
    "_min": lambda value, number: value >= number,
    "_max": lambda value, number: value <= number,
}


@pytest.mark.parametrize("column", ["min_ram", "min_disk", "size", "virtual_size"])
@pytest.mark.parametrize("suffix", COMPARISONS)
def test_numbers_of_any_size(listed: tuple[Client, list[Image]], column: str, suffix: str) -> None:
    """Also those that the column, or any database, has no room for."""
    member, images = listed
    for number in (2**31 - 1, 2**31, -(2**31), -(2**31) - 1, -1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, -(10**30)):
        expected = {
            image["id"] for image in images if image[column] is not None and COMPARISONS[suffix](image[column], number)
        }
        assert set(ids(found(member, f"{column}{suffix}={number}"))) == expected, number


@pytest.mark.parametrize("visibility", ["shared", "private", "community", "public"])
def test_visibility(listed: tuple[Client, list[Image]], visibility: str) -> None:
    member, images = listed
    answer = member.get(f"/v2/images?limit=1000&owner={_project(member)}&visibility={visibility}")
    expected = {image["id"] for image in images if image["visibility"] == visibility}
    assert set(ids(answer.json()["images"])) == expected


@pytest.mark.parametrize("operator", ["gt", "gte", "lt", "lte", "eq", "neq"])
def test_times(listed: tuple[Client, list[Image]], operator: str) -> None:
    member, images = listed
    middle = sorted(image["created_at"] for image in images)[COUNT // 2]
    compare: dict[str, Callable[[str], bool]] = {
        "gt": lambda time: time > middle,
        "gte": lambda time: time >= middle,
        "lt": lambda time: time < middle,
        "lte": lambda time: time <= middle,
        "eq": lambda time: time == middle,
        "neq": lambda time: time != middle,
    }
    expected = {image["id"] for image in images if compare[operator](image["created_at"])}
    assert set(ids(found(member, f"created_at={operator}:{middle}"))) == expected


KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")


def in_order(images: list[Image], *keys: tuple[str, str]) -> list[str]:
    """As a list must be: by the keys, then by creation and id. Nulls count as empty or zero."""
    ordered = list(images)
    # The one direction that is given holds for what is added, too.
    rest = keys[0][1] if len(keys) == 1 else "desc"
    directions = [*keys, ("created_at", rest), ("id", rest)]
    for name, direction in reversed(directions):
        ordered.sort(key=lambda image: _comparable(image, name), reverse=direction == "desc")
    return ids(ordered)


def _comparable(image: Image, name: str) -> Any:
    return image[name] if image[name] is not None else 0 if name == "size" else ""


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("key", KEYS)
def test_orders(listed: tuple[Client, list[Image]], key: str, direction: str) -> None:
    member, images = listed
    got = found(member, f"sort={key}:{direction}")
    assert ids(got) == in_order(images, (key, direction))


def test_two_keys(listed: tuple[Client, list[Image]]) -> None:
    member, _ = listed
    got = found(member, "sort=name:asc,size:desc")
    pairs = [(image["name"], -(image["size"] or 0)) for image in got]
    assert pairs == sorted(pairs)
    assert ids(found(member, "sort_key=name&sort_dir=asc&sort_key=size&sort_dir=desc")) == ids(got)


ORDERS = [
    "",
    "sort=name:asc",
    "sort=name:desc,size:asc",
    "sort=size:asc",
    "sort=id:asc",
    "sort_key=status&sort_dir=asc",
]


@pytest.mark.parametrize("limit", [1, 7, 20, 59, 60, 61])
@pytest.mark.parametrize("order", ORDERS)
def test_pages_meet_end_to_end(listed: tuple[Client, list[Image]], order: str, limit: int) -> None:
    member, _ = listed
    if limit == 1 and order not in ORDERS[:2]:
        limit = 2
    base = f"visibility=all&owner={_project(member)}&{order}"
    pages = list(walk(member, f"/v2/images?limit={limit}&{base}"))
    assert all(len(page) == limit for page in pages[:-1])
    together = [image["id"] for page in pages for image in page]
    assert together == ids(found(member, order))
    assert len(together) == len(set(together)) == COUNT


def walk(member: Client, url: str) -> Iterator[list[Image]]:
    """The pages of a list, by its `next` links."""
    link: str | None = url
    for _ in range(2 * COUNT + 50):
        if link is None:
            return
        document = member.get(link).json()
        yield document["images"]
        link = document.get("next")
    raise AssertionError("the list has no end")


@pytest.mark.parametrize("order", ["", "sort=name:asc", "sort=created_at:asc"])
def test_a_walk_among_concurrent_changes(service: Server, project: str, order: str) -> None:
    """Images come and go meanwhile: each of those that stay is met exactly once."""
    member = service.as_member(project)
    stay = {member.create(name=f"stay-{number % 5}")["id"] for number in range(COUNT)}
    ended = threading.Event()

    def change() -> None:
        client = service.as_member(project)
        while not ended.is_set():
            image = client.create(name=f"stay-{uuid.uuid4().hex[0]}")
            if image["id"][0] in "01234567":
                client.delete(f"/v2/images/{image['id']}")

    threads = [threading.Thread(target=change) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        met: list[str] = []
        start = f"/v2/images?limit=7&owner={project}&{order}"
        link: str | None = start
        # A list in the order of creation grows as fast as it is read: stop where all have been met.
        while link is not None and not stay <= set(met):
            answer = member.get(link)
            if answer.status_code == 400 and met[-1] not in stay:
                # The last image of the page before is gone, so it marks no place: go on behind the one before it.
                met.pop()
                link = f"{start}&marker={met[-1]}" if met else start
                continue
            assert answer.status_code == 200, answer.text
            document = answer.json()
            met += ids(document["images"])
            link = document.get("next")
    finally:
        ended.set()
        for thread in threads:
            thread.join(20)
    assert stay <= set(met)
    assert len(met) == len(set(met))


def test_a_marker_that_is_deleted_is_told(service: Server, project: str) -> None:
    member = service.as_member(project)
    images = [member.create()["id"] for _ in range(3)]
    assert member.get(f"/v2/images?marker={images[1]}").status_code == 200
    assert member.delete(f"/v2/images/{images[1]}").status_code == 204
    assert member.get(f"/v2/images?marker={images[1]}").status_code == 400


def test_limits(service: Server, project: str) -> None:
    member = service.as_member(project)
    for _ in range(27):
        member.create()
    own = f"owner={project}"
    assert len(member.get(f"/v2/images?{own}").json()["images"]) == 25
    empty = member.get(f"/v2/images?limit=0&{own}").json()
    assert (empty["images"], "next" in empty) == ([], False)
    assert len(member.get(f"/v2/images?limit=5000&{own}").json()["images"]) == 27
    assert member.get("/v2/images?limit=-1").status_code == 400
    links = member.get(f"/v2/images?limit=2&{own}&sort=name:asc").json()
    assert links["first"] == f"/v2/images?limit=2&{own}&sort=name%3Aasc"
    assert links["next"].startswith("/v2/images?")
    assert links["images"][1]["id"] in links["next"]
