"""What a list costs on SQLite, which has no statistics to plan by: no walk over all images, no sort of them, and the
same work in a catalogue of 1,000 and of 20,000 images, counted in steps of SQLite's virtual machine.

Of orders by other columns than the time of creation and the name, and of conditions that no index serves, this is not
said.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import event, text

from fanlight.catalog import Catalog, Viewer, images, open_catalog
from fanlight.model import Filter, ImageQuery
from tests.bed.databases import Database

from . import crowd
from .conftest import settings_of

ADMIN, ME, NOBODY = Viewer(None, True), Viewer("me"), Viewer("nobody")
SMALL, LARGE = 1_000, 20_000
STEP = 100
"""Every how many steps SQLite calls back."""
OLDEST = (("created_at", "asc"), ("id", "asc"))
BY_NAME = (("name", "asc"), ("created_at", "asc"), ("id", "asc"))
BY_NAME_BACKWARDS = (("name", "desc"), ("created_at", "desc"), ("id", "desc"))
PAGE = ImageQuery(limit=26)


def having(column: str, operator: str, value: Any) -> ImageQuery:
    return replace(PAGE, filters=(Filter(column, operator, value),))


LISTS: dict[str, tuple[ImageQuery, Viewer]] = {
    "everything": (PAGE, ADMIN),
    "everything, the oldest first": (replace(PAGE, sort=OLDEST), ADMIN),
    "everything of one visibility": (replace(PAGE, visibility="shared"), ADMIN),
    "of one owner": (having("owner", "eq", "me"), ADMIN),
    "hidden": (replace(PAGE, os_hidden=True), ADMIN),
    "made since": (having("created_at", "gte", crowd.FIRST), ADMIN),
    "by name": (having("name", "eq", "image-000500"), ADMIN),
    "by name, for a member": (having("name", "eq", "image-000500"), ME),
    "by names": (having("name", "in", ("image-000500", "image-000501")), ADMIN),
    "by ids": (having("id", "in", (crowd.image_id(5), crowd.image_id(9))), ADMIN),
    "by checksum": (having("checksum", "eq", f"{5:032x}"), ADMIN),
    "by hash": (having("os_hash_value", "eq", f"{5:0128x}"), ADMIN),
    "a tag of all": (replace(PAGE, tags=("all",)), ADMIN),
    "a tag of few": (replace(PAGE, tags=("rare",)), ADMIN),
    "a tag of few and one of all": (replace(PAGE, tags=("all", "rare")), ADMIN),
    "a tag of none": (replace(PAGE, tags=("none",)), ADMIN),
    "a tag of all, for a member": (replace(PAGE, tags=("all",)), ME),
    "a tag of few, for a member": (replace(PAGE, tags=("rare",)), ME),
    "a property of all": (replace(PAGE, properties={"os_distro": "debian"}), ADMIN),
    "a property of few": (replace(PAGE, properties={"build": "special"}), ADMIN),
    "a property of all, for a member": (replace(PAGE, properties={"os_distro": "debian"}), ME),
    "a member": (PAGE, ME),
    "a member, the oldest first": (replace(PAGE, sort=OLDEST), ME),
    "a member, of one status": (having("status", "eq", "active"), ME),
    "a member, whatever was answered": (replace(PAGE, member_status="all"), ME),
    "a member, hidden": (replace(PAGE, os_hidden=True), ME),
    "everything in the order of names": (replace(PAGE, sort=BY_NAME), ADMIN),
    "everything in the order of names, backwards": (replace(PAGE, sort=BY_NAME_BACKWARDS), ADMIN),
    "everything of one visibility in the order of names": (replace(PAGE, sort=BY_NAME, visibility="shared"), ADMIN),
    "of one owner in the order of names": (replace(having("owner", "eq", "me"), sort=BY_NAME), ADMIN),
    "a member, in the order of names": (replace(PAGE, sort=BY_NAME), ME),
    "a member, in the order of names, backwards": (replace(PAGE, sort=BY_NAME_BACKWARDS), ME),
    "a member, all in the order of names": (replace(PAGE, sort=BY_NAME, visibility="all"), ME),
    "somebody without images": (PAGE, NOBODY),
    "nobody at all": (PAGE, Viewer(None)),
    **{f"a member, {name}": (replace(PAGE, visibility=name), ME) for name in ("all", "private", "shared", "public")},
}


@pytest.fixture(scope="session")
def crowds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Catalog]]:
    """Made once for all processes of a test run, which only read them."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        folder = folder.parent
    made = {}
    with (folder / "crowds.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for count in (SMALL, LARGE):
            is_new = not (folder / f"crowd-{count}.db").exists()
            made[count] = open_catalog(settings_of(f"sqlite:///{folder}/crowd-{count}.db"), migrate=is_new)
            if is_new:
                crowd.fill(made[count], count)
    yield made
    for catalog in made.values():
        catalog.close()


def steps(catalog: Catalog, query: ImageQuery, viewer: Viewer) -> int:
    """Steps of SQLite's virtual machine, in hundreds."""
    calls = [0]

    def count() -> int:
        calls[0] += 1
        return 0

    with catalog.read() as connection:
        raw: Any = connection.connection.driver_connection
        raw.set_progress_handler(count, STEP)
        try:
            images.list_page(connection, query, viewer)
        finally:
            raw.set_progress_handler(None, 0)
    return calls[0] * STEP


def after(query: ImageQuery, count: int) -> ImageQuery:
    """The same, from the middle of the catalogue on; the marker is public."""
    return replace(query, marker=crowd.image_id(count // 2 + 8))


@pytest.mark.parametrize("with_marker", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("name", LISTS)
def test_a_page_costs_the_same_in_a_large_catalogue(crowds: dict[int, Catalog], name: str, with_marker: bool) -> None:
    query, viewer = LISTS[name]
    cost = {}
    for count, catalog in crowds.items():
        cost[count] = steps(catalog, after(query, count) if with_marker else query, viewer)
    # The same number of images is mine or shared with me in both, but not the same pages of them: hence not equal.
    assert cost[LARGE] <= 3 * cost[SMALL] + 2_000, cost
    assert cost[LARGE] <= 60_000, cost


def test_show_and_usage_cost_the_same(crowds: dict[int, Catalog]) -> None:
    for catalog in crowds.values():
        for statement, rows in ((_fetch, 1), (_usage, crowd.MINE)):
            plans = plan_of(catalog, statement)
            assert plans
            assert not [line for plan in plans for line in plan if walks(line)], plans
            assert rows


def _fetch(connection: Any) -> None:
    images.fetch(connection, crowd.image_id(8), ME)


def _usage(connection: Any) -> None:
    assert images.usage(connection, "me") > 0


def plan_of(catalog: Catalog, run: Any) -> list[list[str]]:
    """The plan of each statement that `run` sends."""
    sent: list[tuple[str, Any]] = []

    def look(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            sent.append((statement, parameters))

    event.listen(catalog.engine, "before_cursor_execute", look)
    try:
        with catalog.read() as connection:
            run(connection)
            raw: Any = connection.connection.driver_connection
            return [[row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {one}", values)] for one, values in sent]
    finally:
        event.remove(catalog.engine, "before_cursor_execute", look)


def walks(line: str) -> bool:
    """A table of the catalogue is read as a whole; what a subquery made (`anon_1`) is small."""
    return re.match(r"SCAN (?!anon_|\d|CONSTANT)", line) is not None


@pytest.mark.parametrize("name", LISTS)
def test_no_table_is_read_as_a_whole(crowds: dict[int, Catalog], name: str) -> None:
    query, viewer = LISTS[name]
    plans = plan_of(crowds[SMALL], lambda connection: images.list_page(connection, query, viewer))
    assert plans
    assert not [line for plan in plans for line in plan if walks(line)], plans


def test_what_counts_as_a_walk(crowds: dict[int, Catalog]) -> None:
    plans = plan_of(crowds[SMALL], lambda connection: connection.execute(text("SELECT count(*) FROM images")).all())
    assert [line for plan in plans for line in plan if walks(line)]


# -- MariaDB ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    database = Database("mariadb", tmp_path_factory.mktemp("plans"))
    catalog = open_catalog(settings_of(database.url), migrate=True)
    crowd.fill(catalog, 2 * SMALL)
    with catalog.write() as connection:
        connection.execute(text("ANALYZE TABLE images, image_tags, image_properties, image_members")).all()
    yield catalog
    catalog.close()
    database.drop()


@pytest.mark.services
@pytest.mark.parametrize(
    "name",
    [
        "everything",
        "everything in the order of names",
        "a tag of all",
        "a property of all",
        "a member",
        "a member, shared",
        "a member, in the order of names",
        "a member, in the order of names, backwards",
    ],
)
def test_mariadb_walks_one_index_in_its_order(on_mariadb: Catalog, name: str) -> None:
    """It would intersect two indexes of nearly all images and sort what it finds, or gather all that have a tag."""
    query, viewer = LISTS[name]
    sent: list[tuple[str, Any]] = []

    def look(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "ORDER BY" in statement:
            sent.append((statement, parameters))

    event.listen(on_mariadb.engine, "before_cursor_execute", look)
    with on_mariadb.read() as connection:
        assert len(images.list_page(connection, query, viewer)) == query.limit
    event.remove(on_mariadb.engine, "before_cursor_execute", look)
    ((statement, parameters),) = sent
    with on_mariadb.read() as connection:
        steps = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).mappings().all()
    for step in steps:
        assert step["type"] != "index_merge", steps
        # Of lists by name it knows how many images have none: that part of the list is one row, which may be sorted.
        few = "names" in name and step["rows"] == "1"
        assert step["table"] != "images" or few or "filesort" not in step["Extra"], steps
        assert step["table"] != "image_tags" or step["select_type"] == "DEPENDENT SUBQUERY", steps
