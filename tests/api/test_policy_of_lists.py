"""A list of which the policy drops images one by one: its pages shrink, and yet a walk meets all that may be seen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bed.callers import Client
from tests.bed.servers import Server

SEEN = "'seen':%(name)s"
HIDDEN = (0, 1, 2, 3, 4, 7, 9)
"""Places in the list of those that are dropped: with pages of two, the first two are empty."""
COUNT = 11


@pytest.fixture(scope="module")
def picky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, list[str]]]:
    """A caller who may see some images only, and the ids of all, as an administrator lists them."""
    policy = {"get_image": f"role:admin or {SEEN}", "get_images": "@", "add_image": "@"}
    one = Server(tmp_path_factory.mktemp("picky"), policy=policy).start()
    member = one.as_member("p")
    for number in reversed(range(COUNT)):
        member.create(name="hidden" if number in HIDDEN else "seen")
    listed = one.as_admin("p").get("/v2/images").json()["images"]
    assert [each["name"] == "hidden" for each in listed] == [number in HIDDEN for number in range(COUNT)]
    yield member, [each["id"] for each in listed]
    one.end()
    assert one.unexpected_tracebacks() == []


def pages(member: Client, link: str | None) -> list[list[str]]:
    """The ids on each page, from `link` along `next`."""
    found = []
    while link is not None:
        document = member.get(link).json()
        assert document["first"] == "/v2/images?limit=" + link.partition("limit=")[2].partition("&")[0]
        found.append([each["id"] for each in document["images"]])
        link = document.get("next")
        assert len(found) <= COUNT
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 10, 11, 25])
def test_a_walk_meets_what_may_be_seen(picky: tuple[Client, list[str]], limit: int) -> None:
    """Each page is what is left of the images of that page: dropped ones are not made up for."""
    member, ids = picky
    whole = [ids[start : start + limit] for start in range(0, COUNT, limit)]
    visible = [[each for each in page if ids.index(each) not in HIDDEN] for page in whole]
    assert pages(member, f"/v2/images?limit={limit}") == visible


def test_a_page_of_which_all_is_dropped_has_a_next(picky: tuple[Client, list[str]]) -> None:
    """Glance ends the list here, and what follows is never found."""
    member, ids = picky
    document = member.get("/v2/images?limit=2").json()
    assert document["images"] == []
    assert document["next"] == f"/v2/images?limit=2&marker={ids[1]}"
    assert document["schema"] == "/v2/schemas/images"


def test_the_place_of_a_dropped_image_is_a_place(picky: tuple[Client, list[str]]) -> None:
    """`next` may name an image that the caller cannot open; it can be gone on from all the same."""
    member, ids = picky
    assert member.get(f"/v2/images/{ids[1]}").status_code == 404
    assert pages(member, f"/v2/images?limit=25&marker={ids[1]}") == [[ids[5], ids[6], ids[8], ids[10]]]


def test_filters_and_dropping_together(picky: tuple[Client, list[str]]) -> None:
    member, _ = picky
    assert member.get("/v2/images?name=hidden").json()["images"] == []
    assert len(member.get("/v2/images?name=seen").json()["images"]) == COUNT - len(HIDDEN)
