"""Lists on each engine against a naive model in memory: who sees what, filters, orders, and pages that meet.

Names are in lower case here, since the order of letters of either case is the database's own; that no image is missed
or doubled whatever they are is tested by itself.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanlight.catalog import Catalog, Viewer, images, members, open_catalog
from fanlight.catalog.tables import image_members
from fanlight.catalog.tables import images as image_table
from fanlight.errors import Forbidden, Invalid
from fanlight.model import Filter, Image, ImageQuery
from tests.bed.databases import Database

from .conftest import new_image, settings_of

ADMIN = Viewer(None, True)
EPOCH = datetime.datetime(2024, 1, 1)
VISIBILITIES = ("private", "public", "shared", "community")
OWNERS = ("me", "you", None)
NAMES = (None, "", "a", "b", "c c")
FORMATS = (None, "raw", "qcow2")
SIZES = (None, 0, 5, 2**40)
STATUSES = ("queued", "active", "killed", "deactivated")
TAGS = ("t", "u")
SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")
OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "in")


class Row:
    """An image of the model, with who it is shared with."""

    def __init__(self, image: Image, shares: dict[str, str], deleted: bool) -> None:
        self.image, self.shares, self.deleted = image, shares, deleted


def moment(number: int) -> datetime.datetime:
    """Whole seconds: all that every engine keeps."""
    return EPOCH + datetime.timedelta(seconds=number)


def random_rows(source: random.Random, count: int) -> list[Row]:
    rows = []
    for number in range(count):
        image = new_image(
            id=f"{source.getrandbits(60):015x}{number:03}",
            owner=source.choice(OWNERS),
            visibility=source.choice(VISIBILITIES),
            status=source.choice(STATUSES),
            name=source.choice(NAMES),
            disk_format=source.choice(FORMATS),
            container_format=source.choice(FORMATS),
            size=source.choice(SIZES),
            min_disk=source.randrange(3),
            protected=source.random() < 0.5,
            os_hidden=source.random() < 0.2,
            created_at=moment(source.randrange(6)),
            updated_at=moment(10 + source.randrange(6)),
            tags=tuple(tag for tag in TAGS if source.random() < 0.5),
            properties={"color": source.choice(("red", "blue"))} if source.random() < 0.7 else {},
        )
        statuses = {
            "me": source.choice(("pending", "accepted", "rejected", None)),
            "you": source.choice(("accepted", None)),
        }
        shares = {name: status for name, status in statuses.items() if status}
        rows.append(Row(image, shares, source.random() < 0.1))
    return rows


def store(catalog: Catalog, rows: list[Row]) -> None:
    with catalog.write() as connection:
        for row in rows:
            images.insert(connection, row.image)
            for name, status in row.shares.items():
                members.add(connection, row.image.id, name)
                members.set_status(connection, row.image.id, name, status)
            if row.deleted:
                images.soft_delete(connection, row.image.id)
        # Members that were removed don't count.
        for row in rows[::7]:
            members.add(connection, row.image.id, "gone")
            members.remove(connection, row.image.id, "gone")


# -- the model -------------------------------------------------------------------------------------------------------


def listed(row: Row, query: ImageQuery, viewer: Viewer) -> bool:
    """Whether a row belongs into a list, as Glance documents it."""
    image = row.image
    if row.deleted or image.status == "killed" or image.os_hidden != query.os_hidden:
        return False
    if not set(query.tags) <= set(image.tags):
        return False
    if any(image.properties.get(name) != value for name, value in query.properties.items()):
        return False
    return all(fits(image, one) for one in query.filters) and seen(row, query, viewer)


def seen(row: Row, query: ImageQuery, viewer: Viewer) -> bool:
    image, wanted = row.image, query.visibility
    own = viewer.project_id is not None and image.owner == viewer.project_id
    if wanted in VISIBILITIES and image.visibility != wanted:
        return False
    if wanted is None and image.visibility == "community" and not own:
        return False
    if viewer.is_admin or own or image.visibility in ("public", "community"):
        return True
    answer = row.shares.get(viewer.project_id or "")
    return image.visibility == "shared" and answer is not None and query.member_status in ("all", answer)


def fits(image: Image, one: Filter) -> bool:
    value = getattr(image, one.column)
    if value is None:
        return False
    if one.op == "in":
        return value in one.value
    compare: dict[str, bool] = {
        "eq": value == one.value,
        "neq": value != one.value,
        "gt": value > one.value,
        "gte": value >= one.value,
        "lt": value < one.value,
        "lte": value <= one.value,
    }
    return compare[one.op]


def in_order(rows: list[Row], sort: tuple[tuple[str, str], ...]) -> list[str]:
    found = [row.image for row in rows]
    for key, direction in reversed(sort):
        found.sort(key=lambda image: comparable(image, key), reverse=direction == "desc")
    return [image.id for image in found]


def comparable(image: Image, key: str) -> Any:
    """Nulls count as empty or zero."""
    value = getattr(image, key)
    return (0 if key == "size" else "") if value is None else value


# -- what is asked ---------------------------------------------------------------------------------------------------

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from([name for name in NAMES if name is not None] + ["none"]),
    "status": st.sampled_from(STATUSES),
    "disk_format": st.sampled_from(["raw", "qcow2", "iso"]),
    "owner": st.sampled_from(["me", "you", "else"]),
    "size": st.sampled_from([0, 5, 6, 2**40]),
    "min_disk": st.integers(0, 3),
    "protected": st.booleans(),
    "created_at": st.integers(0, 6).map(moment),
    "updated_at": st.integers(9, 16).map(moment),
}


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    column = draw(st.sampled_from(sorted(_VALUES)))
    operator = draw(st.sampled_from(("eq",) if column == "protected" else OPERATORS))
    values = _VALUES[column]
    return Filter(column, operator, tuple(draw(st.lists(values, max_size=3))) if operator == "in" else draw(values))


@st.composite
def orders(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    keys = draw(st.lists(st.sampled_from(SORT_KEYS), unique=True, max_size=3))
    keys += [key for key in ("created_at", "id") if key not in keys]
    return tuple((key, draw(st.sampled_from(("asc", "desc")))) for key in keys)


QUERIES = st.builds(
    ImageQuery,
    limit=st.integers(4, 40),
    sort=orders(),
    filters=st.lists(filters(), max_size=2).map(tuple),
    visibility=st.sampled_from((None, "all", "", *VISIBILITIES)),
    member_status=st.sampled_from(("accepted", "pending", "rejected", "all")),
    os_hidden=st.booleans(),
    tags=st.lists(st.sampled_from(TAGS), unique=True).map(tuple),
    properties=st.sampled_from(({}, {}, {"color": "red"}, {"color": "green"}, {"none": "x"})),
)
VIEWERS = st.sampled_from(
    (Viewer("me"), Viewer("you"), Viewer(None), Viewer("gone"), Viewer("ME"), ADMIN, Viewer("me", True))
)


def pages(catalog: Catalog, query: ImageQuery, viewer: Viewer) -> Iterator[list[Image]]:
    while True:
        with catalog.read() as connection:
            page = images.list_page(connection, query, viewer)
        assert len(page) <= query.limit
        yield page
        if len(page) < query.limit:
            return
        query = replace(query, marker=page[-1].id)


@pytest.fixture(scope="module")
def filled(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Catalog, list[Row]]]:
    """150 images in a database of their own."""
    database = Database(engine, tmp_path_factory.mktemp(f"lists-{engine}"))
    catalog = open_catalog(settings_of(database.url), migrate=True)
    rows = random_rows(random.Random(7), 150)
    store(catalog, rows)
    yield catalog, rows
    catalog.close()
    database.drop()


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(
    max_examples=60,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(query=QUERIES, viewer=VIEWERS)
def test_every_list_is_that_of_the_model(filled: tuple[Catalog, list[Row]], query: ImageQuery, viewer: Viewer) -> None:
    catalog, rows = filled
    expected = [row for row in rows if query.visibility != "" and listed(row, query, viewer)]
    got = [image for page in pages(catalog, query, viewer) for image in page]
    assert [image.id for image in got] == in_order(expected, query.sort)
    by_id = {row.image.id: row.image for row in rows}
    for image in got:
        stored = by_id[image.id]
        assert sorted(image.tags) == sorted(stored.tags)
        assert image.properties == stored.properties
        shared = stored.visibility == "shared" and stored.owner != viewer.project_id and not viewer.is_admin
        assert image.member == (viewer.project_id if shared else None)


# -- each thing by itself, so that none is left to chance ------------------------------------------------------------


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("key", SORT_KEYS)
def test_each_order(filled: tuple[Catalog, list[Row]], key: str, direction: str) -> None:
    catalog, rows = filled
    rest = [(other, direction) for other in ("created_at", "id") if other != key]
    query = ImageQuery(limit=7, sort=((key, direction), *rest))
    got = [image.id for page in pages(catalog, query, Viewer("me")) for image in page]
    assert got == in_order([row for row in rows if listed(row, query, Viewer("me"))], query.sort)
    assert len(got) > 40


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("column", ["name", "size", "created_at"])
def test_each_operator(filled: tuple[Catalog, list[Row]], column: str, operator: str) -> None:
    catalog, rows = filled
    value: Any = {"name": "b", "size": 5, "created_at": moment(3)}[column]
    query = ImageQuery(limit=1000, filters=(Filter(column, operator, (value,) if operator == "in" else value),))
    with catalog.read() as connection:
        got = [image.id for image in images.list_page(connection, query, ADMIN)]
    assert got == in_order([row for row in rows if listed(row, query, ADMIN)], query.sort)
    assert got


@pytest.mark.parametrize("visibility", [None, "all", *VISIBILITIES])
@pytest.mark.parametrize("project", ["me", "you", None])
def test_each_visibility(filled: tuple[Catalog, list[Row]], project: str | None, visibility: str | None) -> None:
    catalog, rows = filled
    query = ImageQuery(limit=1000, visibility=visibility)
    with catalog.read() as connection:
        got = [image.id for image in images.list_page(connection, query, Viewer(project))]
    assert got == in_order([row for row in rows if listed(row, query, Viewer(project))], query.sort)
    assert bool(got) == (project is not None or visibility not in ("private", "shared"))


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_pages_of_images_that_were_never_updated(catalog: Catalog, direction: str) -> None:
    """The column may be null. Such an image stands where the time that is shown puts it."""
    with catalog.write() as connection:
        made = [images.insert(connection, new_image(owner="me")) for _ in range(7)]
        never = [image.id for image in made[::3]]
        connection.execute(image_table.update().where(image_table.c.id.in_(never)).values(updated_at=None))
    found: list[Image] = []
    sort = (("updated_at", direction), ("created_at", "desc"), ("id", "desc"))
    while True:
        with catalog.read() as connection:
            marker = found[-1].id if found else None
            page = images.list_page(connection, ImageQuery(limit=2, marker=marker, sort=sort), Viewer("me"))
        if not page:
            break
        found += page
    assert sorted(image.id for image in found) == sorted(image.id for image in made)
    times = [image.updated_at for image in found]
    assert times == sorted(times, reverse=direction == "desc")


def test_markers(catalog: Catalog) -> None:
    with catalog.write() as connection:
        mine = images.insert(connection, new_image(owner="me", visibility="private"))
        other = images.insert(connection, new_image(owner="you", visibility="private"))
        gone = images.insert(connection, new_image(owner="me"))
        images.soft_delete(connection, gone.id)

    def ask(marker: str, viewer: Viewer) -> list[Image]:
        with catalog.read() as connection:
            return images.list_page(connection, ImageQuery(limit=10, marker=marker), viewer)

    assert ask(mine.id, Viewer("me")) == []
    for marker in ("", "none", "x" * 1000, gone.id, mine.id.upper()):
        with pytest.raises(Invalid):
            ask(marker, Viewer("me"))
    with pytest.raises(Forbidden):
        ask(other.id, Viewer("me"))
    assert len(ask(other.id, ADMIN)) <= 1


def test_names_in_either_case_are_all_there_once(catalog: Catalog) -> None:
    source = random.Random(3)
    words = ["a", "A", "ä", "Ä", "a ", " a", "ß", "ss", "", None, "z", "Z", "\t", "大"]
    rows = [
        Row(new_image(name=source.choice(words), created_at=moment(number % 3)), {}, False) for number in range(120)
    ]
    store(catalog, rows)
    for direction in ("asc", "desc"):
        query = ImageQuery(limit=7, sort=(("name", direction), ("created_at", "desc"), ("id", "desc")))
        got = [image.id for page in pages(catalog, query, Viewer("p")) for image in page]
        assert len(got) == len(set(got)) == 120


def test_texts_are_compared_exactly(catalog: Catalog) -> None:
    with catalog.write() as connection:
        image = images.insert(connection, new_image(name="Name", owner="p", tags=("Tag",), properties={"Color": "Red"}))
        members.add(connection, image.id, "m")
        members.set_status(connection, image.id, "m", "accepted")

    def count(viewer: Viewer, **more: Any) -> int:
        with catalog.read() as connection:
            return len(images.list_page(connection, ImageQuery(limit=9, **more), viewer))

    assert count(Viewer("p")) == count(Viewer("m")) == 1
    assert count(Viewer("P")) == count(Viewer("M")) == count(Viewer("p ")) == 0
    assert count(ADMIN, filters=(Filter("name", "eq", "Name"),)) == 1
    assert count(ADMIN, filters=(Filter("name", "in", ("x", "Name")),)) == 1
    for wrong in ("name", "NAME", "Name "):
        assert count(ADMIN, filters=(Filter("name", "eq", wrong),)) == 0
        assert count(ADMIN, filters=(Filter("name", "in", ("x", wrong)),)) == 0
    assert count(ADMIN, tags=("Tag",), properties={"Color": "Red"}) == 1
    assert count(ADMIN, tags=("tag",)) == 0
    assert count(ADMIN, properties={"color": "Red"}) == 0
    assert count(ADMIN, properties={"Color": "red"}) == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_what_stays_is_seen_once_whatever_comes_and_goes(catalog: Catalog, seed: int, direction: str) -> None:
    """Rows are added and removed between the pages, also the one that the next page begins after stays as it is."""
    source = random.Random(seed)
    rows = random_rows(source, 60)
    store(catalog, rows)
    key = source.choice(SORT_KEYS)
    rest = [(other, direction) for other in ("created_at", "id") if other != key]
    query, viewer = ImageQuery(limit=4, sort=((key, direction), *rest)), Viewer("me")
    steady = {row.image.id for row in rows if listed(row, query, viewer)}
    got: list[str] = []
    for page in pages(catalog, query, viewer):
        got += [image.id for image in page]
        marker = page[-1].id if page else ""
        fresh = random_rows(source, 3)
        for row in fresh:
            row.deleted = False
        store(catalog, fresh)
        victim = source.choice([row for row in rows if row.image.id != marker])
        with catalog.write() as connection:
            images.soft_delete(connection, victim.image.id)
        steady.discard(victim.image.id)
    assert len(got) == len(set(got))
    assert steady <= set(got)


def test_an_image_is_listed_once_however_often_it_is_shared(catalog: Catalog) -> None:
    """Two live rows of one member, as old versions of Glance could leave them."""
    with catalog.write() as connection:
        image = images.insert(connection, new_image(owner="you"))
        row = {"image_id": image.id, "member": "me", "can_share": False, "status": "accepted", "deleted": False}
        connection.execute(image_members.insert(), [{**row, "created_at": EPOCH}] * 2)
        found = images.list_page(connection, ImageQuery(limit=9), Viewer("me"))
    assert [one.id for one in found] == [image.id]
