"""Purging on each engine: what goes, what stays, and that nothing that lives again is lost."""

from __future__ import annotations

import datetime
import threading
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from fanlight.catalog import Catalog, images, locations, members, purge
from fanlight.catalog.rows import now
from fanlight.catalog.tables import image_locations, image_members, image_properties, image_tags, task_info, tasks
from fanlight.catalog.tables import images as image_table
from fanlight.errors import Duplicate, Invalid
from fanlight.model import Image, Location

from .conftest import new_image

PARTS = (image_properties, image_tags, image_members, image_locations)
DAY = datetime.timedelta(days=1)


def put(catalog: Catalog, deleted_days_ago: float | None) -> Image:
    """An image with one part of each kind, deleted or alive."""
    with catalog.write() as connection:
        image = images.insert(connection, new_image(properties={"a": "1"}, tags=("t",)))
        members.add(connection, image.id, "m")
        locations.add(connection, image.id, Location(url="file:///x"))
        if deleted_days_ago is not None:
            images.soft_delete(connection, image.id)
            moment = now() - deleted_days_ago * DAY
            for table in PARTS:
                connection.execute(update(table).where(table.c.image_id == image.id).values(deleted_at=moment))
            connection.execute(update(image_table).where(image_table.c.id == image.id).values(deleted_at=moment))
    return image


def put_task(catalog: Catalog, task_id: str, deleted_days_ago: float | None) -> None:
    gone = {"deleted": deleted_days_ago is not None, "deleted_at": None}
    if deleted_days_ago is not None:
        gone["deleted_at"] = now() - deleted_days_ago * DAY  # type: ignore[assignment]  # a table of mixed values
    row = {"id": task_id, "type": "import", "status": "success", "owner": "p", "created_at": now(), **gone}
    with catalog.write() as connection:
        connection.execute(insert(tasks), row)
        connection.execute(insert(task_info), {"task_id": task_id, "input": "{}"})


def count(catalog: Catalog, table: Any) -> int:
    with catalog.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_the_old_go_and_the_rest_stays(catalog: Catalog) -> None:
    old, recent, living = put(catalog, 31), put(catalog, 29), put(catalog, None)
    put_task(catalog, "old", 31)
    put_task(catalog, "recent", 29)
    put_task(catalog, "living", None)
    names = ("image_properties", "image_tags", "image_members", "image_locations", "tasks", "task_info")
    assert purge.purge(catalog, 30, -1) == dict.fromkeys(names, 1)
    assert purge.purge(catalog, 30, -1) == dict.fromkeys(names, 0)
    for table in PARTS:
        with catalog.read() as connection:
            left = connection.execute(select(table.c.image_id)).scalars().all()
        assert sorted(left) == sorted([recent.id, living.id])
    with catalog.read() as connection:
        assert set(connection.execute(select(task_info.c.task_id)).scalars()) == {"recent", "living"}
    assert count(catalog, image_table) == 3
    with pytest.raises(Duplicate), catalog.write() as connection:
        images.insert(connection, new_image(id=old.id))


def test_what_glance_brought_back_stays(catalog: Catalog) -> None:
    """Live rows that carry an old time of deletion; Glance's own purge removes them."""
    image = put(catalog, None)
    with catalog.write() as connection:
        for table in PARTS:
            connection.execute(update(table).values(deleted_at=now() - 100 * DAY))
    assert set(purge.purge(catalog, 0, -1).values()) == {0}
    with catalog.read() as connection:
        found = images.fetch_any(connection, image.id)
    assert (found.properties, found.tags, len(found.locations)) == ({"a": "1"}, ("t",), 1)


@pytest.mark.parametrize(("most", "gone"), [(0, 0), (1, 1), (3, 3), (4, 4), (5, 4), (-1, 4)])
def test_no_more_than_asked_the_oldest_first(catalog: Catalog, most: int, gone: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(purge, "ROWS", 2)
    found = [put(catalog, 40 + number) for number in range(4)]
    for number in range(4):
        put_task(catalog, str(number), 40 + number)
    assert set(purge.purge(catalog, 30, most).values()) == {gone}
    with catalog.read() as connection:
        left = connection.execute(select(image_tags.c.image_id)).scalars().all()
        told = connection.execute(select(task_info.c.task_id)).scalars().all()
        kept = connection.execute(select(tasks.c.id)).scalars().all()
    assert sorted(left) == sorted(image.id for image in found[: 4 - gone])
    assert sorted(told) == sorted(kept) == [str(number) for number in range(4 - gone)]


def test_images_go_when_nothing_refers_to_them(catalog: Catalog) -> None:
    old, recent, living = put(catalog, 200), put(catalog, 100), put(catalog, None)
    assert purge.purge_images(catalog, 180, -1) == 0
    purge.purge(catalog, 180, -1)
    assert purge.purge_images(catalog, 180, 0) == 0
    assert purge.purge_images(catalog, 180, 5) == 1
    with catalog.read() as connection:
        assert set(connection.execute(select(image_table.c.id)).scalars()) == {recent.id, living.id}
    with catalog.write() as connection:
        images.insert(connection, new_image(id=old.id))


def test_a_property_that_lives_again_meanwhile_stays(catalog: Catalog) -> None:
    """It is brought back by a transaction that is open while the purge runs."""
    image = put(catalog, None)
    with catalog.write() as connection:
        before = images.fetch_any(connection, image.id, lock=True)
        images.save(connection, before, new_image(id=image.id))
        connection.execute(update(image_properties).values(deleted_at=now() - DAY))
    purged = threading.Thread(target=purge.purge, args=(catalog, 0, -1))
    with catalog.write() as connection:
        before = images.fetch_any(connection, image.id, lock=True)
        images.save(connection, before, new_image(id=image.id, properties={"a": "again"}))
        purged.start()
        purged.join(0.5)
    purged.join(30)
    assert not purged.is_alive()
    with catalog.read() as connection:
        assert images.fetch_any(connection, image.id).properties == {"a": "again"}


@pytest.mark.parametrize(("age", "most"), [(-1, 1), (1, -2), (10**9, 1)])
def test_nonsense(catalog: Catalog, age: int, most: int) -> None:
    with pytest.raises(Invalid):
        purge.purge(catalog, age, most)
    with pytest.raises(Invalid):
        purge.purge_images(catalog, age, most)
