"""catalog/members on each engine."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from fanlight.catalog import Catalog, Viewer, images, members
from fanlight.catalog.rows import now
from fanlight.catalog.tables import image_members
from fanlight.errors import Duplicate, ImageNotFound, MemberNotFound
from fanlight.model import Image

from .conftest import new_image


@pytest.fixture
def image(catalog: Catalog) -> Image:
    with catalog.write() as connection:
        other = images.insert(connection, new_image())
        members.add(connection, other.id, "of another image")
        return images.insert(connection, new_image())


def names(catalog: Catalog, image: Image) -> list[tuple[str, str]]:
    with catalog.read() as connection:
        found = members.list_members(connection, image.id)
        assert members.count(connection, image.id) == len(found)
    return [(member.member_id, member.status) for member in found]


def test_their_life(catalog: Catalog, image: Image) -> None:
    with catalog.write() as connection:
        assert members.count(connection, image.id) == 0
        for name in ("b", "a", "c"):
            assert members.add(connection, image.id, name).status == "pending"
    assert names(catalog, image) == [("b", "pending"), ("a", "pending"), ("c", "pending")]
    with catalog.write() as connection:
        changed = members.set_status(connection, image.id, "a", "accepted")
        members.remove(connection, image.id, "b")
    assert changed.status == "accepted"
    assert names(catalog, image) == [("a", "accepted"), ("c", "pending")]
    with catalog.read() as connection:
        found = members.fetch(connection, image.id, "a")
        assert (found.image_id, found.member_id, found.status) == (image.id, "a", "accepted")
        with pytest.raises(MemberNotFound):
            members.fetch(connection, image.id, "b")
        with pytest.raises(MemberNotFound):
            members.fetch(connection, "none", "a")


def test_one_that_comes_back_gets_its_row_back(catalog: Catalog, image: Image) -> None:
    """The unique key of Glance holds the time of deletion: a second live row could not be removed beside the first."""
    for _ in range(3):
        with catalog.write() as connection:
            members.add(connection, image.id, "m")
            members.set_status(connection, image.id, "m", "accepted")
        with catalog.write() as connection:
            members.remove(connection, image.id, "m")
    with catalog.write() as connection:
        members.add(connection, image.id, "m")
    assert names(catalog, image) == [("m", "pending")]
    with catalog.read() as connection:
        table = image_members.c
        rows = connection.execute(select(image_members).where(table.image_id == image.id)).all()
    assert [(row.member, row.deleted, row.deleted_at, row.can_share) for row in rows] == [("m", False, None, False)]


def test_one_that_glance_brought_back_is_live(catalog: Catalog, image: Image) -> None:
    with catalog.write() as connection:
        members.add(connection, image.id, "m")
        connection.execute(update(image_members).values(deleted_at=now()))
    assert names(catalog, image) == [("m", "pending")]
    with catalog.write() as connection:
        members.remove(connection, image.id, "m")
    assert names(catalog, image) == []


def test_twice(catalog: Catalog, image: Image) -> None:
    with catalog.write() as connection:
        members.add(connection, image.id, "m")
        with pytest.raises(Duplicate):
            members.add(connection, image.id, "m")


def test_nobody(catalog: Catalog, image: Image) -> None:
    with catalog.write() as connection:
        with pytest.raises(MemberNotFound):
            members.set_status(connection, image.id, "m", "accepted")
        with pytest.raises(MemberNotFound):
            members.remove(connection, image.id, "m")


def test_names_are_compared_exactly(catalog: Catalog, image: Image) -> None:
    """MariaDB's collation would let the project `M` answer for `m`, and see its images."""
    with catalog.write() as connection:
        members.add(connection, image.id, "m")
        for other in ("M", "m "):
            with pytest.raises(MemberNotFound):
                members.set_status(connection, image.id, other, "accepted")
            with pytest.raises(MemberNotFound):
                members.remove(connection, image.id, other)
            with pytest.raises(ImageNotFound):
                images.fetch(connection, image.id, Viewer(other))
    assert names(catalog, image) == [("m", "pending")]


@pytest.mark.parametrize("other", ["PROJ", "proj "])
def test_ids_that_mariadb_takes_for_one(catalog: Catalog, image: Image, other: str) -> None:
    """Two such rows that are removed in one second would be one in the table's unique index."""
    with catalog.write() as connection:
        members.add(connection, image.id, "proj")
        if connection.dialect.name == "mysql":
            with pytest.raises(Duplicate):
                members.add(connection, image.id, other)
            members.remove(connection, image.id, "proj")
            members.add(connection, image.id, other)
            assert [one.member_id for one in members.list_members(connection, image.id)] == [other]
        else:
            members.add(connection, image.id, other)
            members.remove(connection, image.id, "proj")
        members.remove(connection, image.id, other)
        members.add(connection, image.id, "proj")
    with catalog.write() as connection:
        images.soft_delete(connection, image.id)
