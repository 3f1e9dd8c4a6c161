"""Removing for good what was deleted long ago; `fanlight db purge`. Safe while the service runs.

In small transactions, so that nobody waits long. Each looks again at what it removes: a property or an image may have
come back to life since it was chosen. Only rows that are deleted and whose time of deletion is past count; Glance
leaves that time behind in rows that came back.
"""

from __future__ import annotations

import datetime

from sqlalchemy import ColumnElement, Table, delete, select, true

from fanlight.catalog.engine import Catalog
from fanlight.catalog.rows import now
from fanlight.catalog.tables import (
    image_locations,
    image_members,
    image_properties,
    image_tags,
    images,
    task_info,
    tasks,
)
from fanlight.errors import Invalid

ROWS = 500
"""How many rows one transaction removes."""
_PARTS = (image_properties, image_tags, image_members, image_locations)


def purge(catalog: Catalog, age_in_days: int, max_rows: int) -> dict[str, int]:
    """Remove what was deleted more than `age_in_days` ago, at most `max_rows` of each table (-1: all).

    The table of images is not touched: its rows keep deleted ids from being given again. Returns rows by table.
    Raises Invalid.
    """
    before = _before(age_in_days, max_rows)
    removed: dict[str, int] = {}
    removed[task_info.name], removed[tasks.name] = _purge_tasks(catalog, before, max_rows)
    for table in _PARTS:
        removed[table.name] = _purge_table(catalog, table, _gone(table, before), max_rows)
    return removed


def purge_images(catalog: Catalog, age_in_days: int, max_rows: int) -> int:
    """Remove the rows of images deleted long ago whose parts are purged already; their ids become free."""
    gone = [_gone(images, _before(age_in_days, max_rows))]
    gone += [~select(table.c.id).where(table.c.image_id == images.c.id).exists() for table in _PARTS]
    return _purge_table(catalog, images, gone[0], max_rows, *gone[1:])


def _purge_table(
    catalog: Catalog, table: Table, gone: ColumnElement[bool], max_rows: int, *more: ColumnElement[bool]
) -> int:
    removed = 0
    while count := _next(removed, max_rows):
        with catalog.write() as connection:
            chosen = select(table.c.id).where(gone, *more).order_by(table.c.deleted_at).limit(count)
            ids = connection.execute(chosen).scalars().all()
            removed += connection.execute(delete(table).where(table.c.id.in_(ids), gone)).rowcount
        if len(ids) < count:
            break
    return removed


def _purge_tasks(catalog: Catalog, before: datetime.datetime, max_rows: int) -> tuple[int, int]:
    """A task and what is told of it go together. Returns rows of both tables."""
    infos, removed = 0, 0
    gone = _gone(tasks, before)
    while count := _next(removed, max_rows):
        with catalog.write() as connection:
            chosen = select(tasks.c.id).where(gone).order_by(tasks.c.deleted_at).limit(count)
            ids = connection.execute(chosen.with_for_update()).scalars().all()
            infos += connection.execute(delete(task_info).where(task_info.c.task_id.in_(ids))).rowcount
            removed += connection.execute(delete(tasks).where(tasks.c.id.in_(ids))).rowcount
        if len(ids) < count:
            break
    return infos, removed


def _next(removed: int, max_rows: int) -> int:
    return ROWS if max_rows < 0 else min(ROWS, max_rows - removed)


def _gone(table: Table, before: datetime.datetime) -> ColumnElement[bool]:
    found: ColumnElement[bool] = (table.c.deleted == true()) & (table.c.deleted_at < before)
    return found


def _before(age_in_days: int, max_rows: int) -> datetime.datetime:
    if age_in_days < 0 or max_rows < -1:
        raise Invalid("The age must not be negative, and the number of rows not below -1.")
    try:
        return now() - datetime.timedelta(days=age_in_days)
    except OverflowError:
        raise Invalid("The age lies before the beginning of time.") from None
