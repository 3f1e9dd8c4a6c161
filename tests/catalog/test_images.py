"""catalog/images on each engine: every function, and what another transaction sees of it."""

from __future__ import annotations

import datetime
import math
import threading
import time
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, select, update

from fanlight.catalog import Catalog, Viewer, images, locations, members
from fanlight.catalog.rows import now
from fanlight.catalog.tables import image_locations, image_members, image_properties, image_tags
from fanlight.catalog.tables import images as image_table
from fanlight.errors import Duplicate, ImageNotFound
from fanlight.model import Image, Location

from .conftest import new_image

ADMIN = Viewer(None, True)
FULL: dict[str, Any] = {
    "name": "größe 大",
    "disk_format": "qcow2",
    "container_format": "bare",
    "size": 2**40,
    "virtual_size": 2**41,
    "checksum": "0" * 32,
    "os_hash_algo": "sha512",
    "os_hash_value": "f" * 128,
    "min_disk": 3,
    "min_ram": 512,
    "protected": True,
    "os_hidden": True,
    "visibility": "public",
    "properties": {"os_distro": "debian", "empty": "", "nothing": None, "long": "x" * 60_000},
    "tags": ("one", "two"),
}


def put(catalog: Catalog, **fields: Any) -> Image:
    with catalog.write() as connection:
        return images.insert(connection, new_image(**fields))


def get(catalog: Catalog, image: Image, viewer: Viewer = ADMIN) -> Image:
    with catalog.read() as connection:
        return images.fetch(connection, image.id, viewer)


def rows(catalog: Catalog, table: Any, image: Image) -> list[Any]:
    with catalog.read() as connection:
        return list(connection.execute(select(table).where(table.c.image_id == image.id).order_by(table.c.id)))


def seconds(moment: datetime.datetime) -> datetime.datetime:
    """What every engine keeps of a time: MariaDB's DATETIME has no fractions, and rounds."""
    return (moment + datetime.timedelta(seconds=0.5)).replace(microsecond=0)


def same(one: Image, other: Image) -> bool:
    """Equal but for fractions of seconds and the order of tags."""

    def comparable(image: Image) -> Image:
        moments = {"created_at": image.created_at, "updated_at": image.updated_at}
        rounded = {name: moment.replace(microsecond=0) for name, moment in moments.items()}
        return replace(image, tags=tuple(sorted(image.tags)), **rounded)

    near = abs(one.created_at - other.created_at) <= datetime.timedelta(seconds=1)
    return near and comparable(one) == replace(
        comparable(other),
        created_at=comparable(one).created_at,
        updated_at=comparable(one).updated_at,
    )


def test_what_goes_in_comes_out(catalog: Catalog) -> None:
    image = put(catalog, **FULL)
    assert same(get(catalog, image), image)
    bare = put(catalog)
    assert same(get(catalog, bare), bare)


def test_an_id_is_given_once(catalog: Catalog) -> None:
    image = put(catalog, tags=("a",))
    with pytest.raises(Duplicate), catalog.write() as connection:
        images.insert(connection, new_image(id=image.id, name="second", tags=("b",)))
    assert same(get(catalog, image), image)
    with catalog.write() as connection:
        images.soft_delete(connection, image.id)
    with pytest.raises(Duplicate), catalog.write() as connection:
        images.insert(connection, new_image(id=image.id))


@pytest.mark.parametrize("image_id", ["", "none", "x" * 37, "x" * 10_000])
def test_no_such_image(catalog: Catalog, image_id: str) -> None:
    with pytest.raises(ImageNotFound), catalog.read() as connection:
        images.fetch(connection, image_id, ADMIN)


def test_ids_are_compared_exactly(catalog: Catalog) -> None:
    """MariaDB's collation takes letters of either case, and blanks at the end, for the same."""
    image = put(catalog, id="abcdef")
    for other in ("ABCDEF", "abcdef "):
        with pytest.raises(ImageNotFound), catalog.read() as connection:
            images.fetch(connection, other, ADMIN)
    assert get(catalog, image).id == "abcdef"


SEEN = [
    # visibility, who looks, sees
    ("public", "other", True),
    ("community", "other", True),
    ("private", "other", False),
    ("shared", "other", False),
    ("private", "p", True),
    ("shared", "p", True),
    ("public", None, True),
    ("community", None, True),
    ("private", None, False),
    ("shared", None, False),
    ("shared", "member", True),
    ("private", "member", False),
    ("shared", "left", False),
]


@pytest.mark.parametrize(("visibility", "project", "sees"), SEEN)
def test_who_sees(catalog: Catalog, visibility: str, project: str | None, sees: bool) -> None:
    image = put(catalog, visibility=visibility)
    with catalog.write() as connection:
        members.add(connection, image.id, "member")
        members.add(connection, image.id, "left")
        members.remove(connection, image.id, "left")
    if sees:
        assert get(catalog, image, Viewer(project)).member == ("member" if project == "member" else None)
    else:
        with pytest.raises(ImageNotFound):
            get(catalog, image, Viewer(project))
    assert get(catalog, image, Viewer(project, True)).id == image.id


def test_an_image_of_nobody_is_everybodys(catalog: Catalog) -> None:
    image = put(catalog, owner=None, visibility="private")
    assert get(catalog, image, Viewer("other")).owner is None


def change(catalog: Catalog, image: Image, **fields: Any) -> Image:
    with catalog.write() as connection:
        before = images.fetch_any(connection, image.id, lock=True)
        return images.save(connection, before, replace(before, **fields))


def test_save_writes_the_record(catalog: Catalog) -> None:
    image = put(catalog)
    fields = {name: FULL[name] for name in ("name", "disk_format", "container_format", "min_disk", "min_ram")}
    fields |= {"visibility": "private", "owner": "q", "protected": True, "os_hidden": True}
    saved = change(catalog, image, **fields)
    assert saved.updated_at >= image.updated_at
    found = get(catalog, image)
    assert same(found, saved)
    assert {name: getattr(found, name) for name in fields} == fields
    assert get(catalog, change(catalog, image, name=None, disk_format=None)).name is None


def test_save_leaves_what_is_not_its_own(catalog: Catalog) -> None:
    image = put(catalog, **FULL)
    change(catalog, image, status="active", size=1, checksum="1" * 32, os_hash_value="1", virtual_size=1)
    assert same(get(catalog, image), image)


def test_a_property_that_comes_back_gets_its_row_back(catalog: Catalog) -> None:
    image = put(catalog, properties={"a": "1", "b": "2"})
    change(catalog, image, properties={"b": "2"})
    gone = rows(catalog, image_properties, image)
    assert [(row.name, row.deleted, row.deleted_at is None) for row in gone] == [("a", True, False), ("b", False, True)]
    change(catalog, image, properties={"b": "2", "a": "3", "c": "4"})
    back = rows(catalog, image_properties, image)
    assert [(row.id, row.value, row.deleted, row.deleted_at) for row in back[:2]] == [
        (gone[0].id, "3", False, None),
        (gone[1].id, "2", False, None),
    ]
    assert get(catalog, image).properties == {"a": "3", "b": "2", "c": "4"}
    assert len(back) == 3


def test_a_property_that_glance_revived_is_live(catalog: Catalog) -> None:
    """Glance leaves the time of deletion behind; only `deleted` says what is."""
    image = put(catalog, properties={"a": "1"}, tags=("t",))
    with catalog.write() as connection:
        connection.execute(update(image_properties).values(deleted_at=now()))
    assert get(catalog, image).properties == {"a": "1"}


def test_tags(catalog: Catalog) -> None:
    image = put(catalog, tags=("a", "b", "a"))
    assert sorted(get(catalog, image).tags) == ["a", "b"]
    change(catalog, image, tags=("b", "c"))
    assert sorted(get(catalog, image).tags) == ["b", "c"]
    change(catalog, image, tags=("a", "A"))
    assert sorted(get(catalog, image).tags) == ["A", "a"]
    live = [(row.value, row.deleted) for row in rows(catalog, image_tags, image)]
    assert sorted(live) == [("A", False), ("a", False), ("a", True), ("b", True), ("c", True)]


def test_names_that_differ_only_in_case(catalog: Catalog) -> None:
    """On MariaDB its own unique key forbids two such properties; then nothing may change, silently least of all."""
    image = put(catalog, properties={"Size": "1"})
    if catalog.engine.dialect.name == "mysql":
        with pytest.raises(Duplicate):
            change(catalog, image, properties={"Size": "1", "size": "2"})
        assert get(catalog, image).properties == {"Size": "1"}
        with pytest.raises(Duplicate):
            put(catalog, properties={"Size": "1", "size": "2"})
    else:
        change(catalog, image, properties={"Size": "1", "size": "2"})
        assert get(catalog, image).properties == {"Size": "1", "size": "2"}
    change(catalog, image, properties={"size": "3"})
    assert get(catalog, image).properties == {"size": "3"}


def test_tags_that_differ_only_in_case(catalog: Catalog) -> None:
    image = put(catalog, tags=("Tag", "tag"))
    change(catalog, image, tags=("tag",))
    assert get(catalog, image).tags == ("tag",)


def test_set_status_is_conditional(catalog: Catalog) -> None:
    image = put(catalog)
    with catalog.write() as connection:
        assert not images.set_status(connection, image.id, ("saving",), "active")
        assert not images.set_status(connection, "none", ("queued",), "active")
        assert images.set_status(connection, image.id, ("queued", "saving"), "active", size=5, checksum="c")
        assert not images.set_status(connection, image.id, ("queued",), "saving")
    found = get(catalog, image)
    assert (found.status, found.size, found.checksum) == ("active", 5, "c")
    with catalog.write() as connection:
        images.soft_delete(connection, image.id)
        assert not images.set_status(connection, image.id, ("active", "deleted"), "queued")


def with_everything(catalog: Catalog) -> Image:
    image = put(catalog, status="active", size=3, properties={"a": "1", "old": "0"}, tags=("t", "old"))
    change(catalog, image, properties={"a": "1"}, tags=("t",))
    with catalog.write() as connection:
        locations.add(connection, image.id, Location(url="file:///one", metadata={"store": "s"}))
        earlier = locations.add(connection, image.id, Location(url="file:///earlier"))
        assert locations.remove(connection, image.id, earlier.id or 0)
        members.add(connection, image.id, "m")
        members.set_status(connection, image.id, "m", "accepted")
        members.add(connection, image.id, "left")
        members.remove(connection, image.id, "left")
    return get(catalog, image)


def test_soft_delete_and_restore(catalog: Catalog) -> None:
    image, bystander = with_everything(catalog), with_everything(catalog)
    with catalog.write() as connection:
        gone = images.soft_delete(connection, image.id)
        # What was removed in the same second, too, is not what went with the image; databases may keep whole seconds.
        for table in (image_properties, image_tags, image_members, image_locations):
            moment = select(image_table.c.deleted_at).where(image_table.c.id == image.id).scalar_subquery()
            connection.execute(update(table).where(table.c.image_id == image.id).values(deleted_at=moment))
    with pytest.raises(ImageNotFound):
        get(catalog, image)
    with catalog.read() as connection:
        row = connection.execute(select(image_table).where(image_table.c.id == image.id)).one()
    assert (row.status, row.deleted) == ("deleted", True)
    assert row.deleted_at is not None
    for table in (image_properties, image_tags, image_members, image_locations):
        found = rows(catalog, table, image)
        assert found
        assert all(row.deleted and row.deleted_at for row in found)
    assert {row.status for row in rows(catalog, image_locations, image)} == {"deleted"}
    assert same(get(catalog, bystander), bystander)
    with catalog.write() as connection:
        images.restore(connection, image.id, "active", gone)
        images.restore(connection, bystander.id, "killed", {})
    assert same(get(catalog, image), image)
    assert same(get(catalog, bystander), bystander)
    with catalog.read() as connection:
        assert [member.member_id for member in members.list_members(connection, image.id)] == ["m"]


def test_what_two_workers_of_glance_add_at_the_same_time(catalog: Catalog) -> None:
    """Neither a tag nor a member is there twice, and what has one twice can be deleted."""
    image = put(catalog, tags=("a", "b"))
    with catalog.write() as connection:
        members.add(connection, image.id, "m")
        for table in (image_tags, image_members):
            columns = [column for column in table.c if column.name != "id"]
            found = connection.execute(select(*columns).where(table.c.image_id == image.id)).mappings().all()
            connection.execute(insert(table), [dict(row) for row in found])
    assert get(catalog, image).tags == ("a", "b")
    with catalog.write() as connection:
        assert [one.member_id for one in members.list_members(connection, image.id)] == ["m"]
        images.restore(connection, image.id, "queued", images.soft_delete(connection, image.id))
    assert same(get(catalog, image), image)
    with catalog.write() as connection:
        assert [one.member_id for one in members.list_members(connection, image.id)] == ["m"]
        members.remove(connection, image.id, "m")
        assert members.list_members(connection, image.id) == []


def test_hundreds_of_parts_come_back(catalog: Catalog) -> None:
    image = put(catalog, tags=tuple(f"t{number:04}" for number in range(1200)))
    with catalog.write() as connection:
        images.restore(connection, image.id, "queued", images.soft_delete(connection, image.id))
    assert same(get(catalog, image), image)


def test_locations(catalog: Catalog) -> None:
    image = put(catalog)
    wanted = []
    with catalog.write() as connection:
        for number in range(3):
            location = Location(url=f"file:///{number}", metadata={"store": "s", "n": [number, "ü"]})
            wanted.append(locations.add(connection, image.id, location))
    assert all(location.id for location in wanted)
    assert get(catalog, image).locations == tuple(wanted)
    with catalog.write() as connection:
        assert locations.remove(connection, image.id, wanted[1].id or 0)
        assert not locations.remove(connection, image.id, wanted[1].id or 0)
        assert not locations.remove(connection, "other", wanted[0].id or 0)
    assert get(catalog, image).locations == (wanted[0], wanted[2])


ODD = [
    (None, {}),
    ("", {}),
    ("{}", {}),
    ('{"backend": "old"}', {"store": "old"}),
    ('{"backend": "old", "store": "new"}', {"backend": "old", "store": "new"}),
    ("[]", {}),
    ("null", {}),
    ('{"store": ["x"], "a": 1}', {"a": 1}),
    ("{'a': 1}", {}),
    ('{"a":' * 5000, {}),
]


@pytest.mark.parametrize(("text", "expected"), ODD)
def test_metadata_of_old_rows(catalog: Catalog, text: str | None, expected: dict[str, Any]) -> None:
    image = put(catalog)
    with catalog.write() as connection:
        locations.add(connection, image.id, Location(url="file:///x"))
        connection.execute(update(image_locations).values(meta_data=text))
    assert get(catalog, image).locations[0].metadata == expected


def test_metadata_that_only_python_takes_for_json(catalog: Catalog) -> None:
    """Glance writes them with Python's own module, which writes NaN."""
    image = put(catalog)
    with catalog.write() as connection:
        locations.add(connection, image.id, Location(url="file:///x"))
        connection.execute(update(image_locations).values(meta_data='{"a": NaN, "store": "s"}'))
    found = get(catalog, image).locations[0].metadata
    assert (found["store"], math.isnan(found["a"])) == ("s", True)


def test_locations_that_are_not_active_are_not_shown(catalog: Catalog) -> None:
    image = put(catalog)
    with catalog.write() as connection:
        locations.add(connection, image.id, Location(url="file:///x", status="pending_delete"))
    assert get(catalog, image).locations == ()


def test_usage(catalog: Catalog) -> None:
    def stored(owner: str, status: str, size: int | None, places: int) -> Image:
        image = put(catalog, owner=owner, status=status, size=size)
        with catalog.write() as connection:
            for number in range(places):
                locations.add(connection, image.id, Location(url=f"file:///{number}"))
        return image

    stored("a", "active", 10, 1)
    stored("a", "deactivated", 100, 2)
    stored("a", "killed", 1000, 1)
    stored("a", "queued", None, 0)
    stored("a", "queued", None, 1)
    stored("a", "active", 5000, 0)
    stored("b", "active", 2**50, 1)
    gone = stored("a", "active", 10_000, 1)
    one = stored("a", "active", 100_000, 2)
    with catalog.write() as connection:
        images.soft_delete(connection, gone.id)
        locations.remove(connection, one.id, rows_of_locations(connection, one)[0])
    with catalog.read() as connection:
        assert images.usage(connection, "a") == 10 + 200 + 100_000
        assert images.usage(connection, "b") == 2**50
        assert images.usage(connection, "nobody") == 0
        assert images.usage(connection, None) == 0


def rows_of_locations(connection: Any, image: Image) -> list[int]:
    return [location.id or 0 for location in images.fetch_any(connection, image.id).locations]


def test_nothing_of_a_transaction_that_fails_stays(catalog: Catalog) -> None:
    image = put(catalog, tags=("a",))

    def fail() -> None:
        with catalog.write() as connection:
            before = images.fetch_any(connection, image.id, lock=True)
            images.save(connection, before, replace(before, name="new", tags=("b",), properties={"p": "q"}))
            locations.add(connection, image.id, Location(url="file:///x"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert same(get(catalog, image), image)


def test_a_read_transaction_sees_one_state(catalog: Catalog) -> None:
    image = put(catalog, name="before")
    with catalog.read() as reading:
        assert images.fetch(reading, image.id, ADMIN).name == "before"
        change(catalog, image, name="after", tags=("new",))
        found = images.fetch(reading, image.id, ADMIN)
    assert (found.name, found.tags) == ("before", ())
    assert get(catalog, image).name == "after"


def test_uploads_that_end_together_see_each_other(catalog: Catalog) -> None:
    """What one adds, the other counts: no database lets both look before either has written."""
    owner = "of-both"
    pair = [put(catalog, owner=owner, status="saving") for _ in range(2)]
    found: list[int] = []

    def end(image: Image) -> None:
        with catalog.write() as connection:
            images.hold_uploads(connection, owner)
            found.append(images.usage(connection, owner))
            time.sleep(0.3)
            locations.add(connection, image.id, Location(url=f"file:///{image.id}"))
            images.set_status(connection, image.id, ("saving",), "active", size=5)

    threads = [threading.Thread(target=end, args=(image,)) for image in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == [0, 5]
