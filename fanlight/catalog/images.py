"""Images in the catalogue: each function is one step of a transaction on the connection it is given.

The step between an operation and SQL. Statements are built once; state changes are conditional updates. `pages.py`
lists, this file does the rest.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from sqlalchemy import (
    BindParameter,
    Connection,
    Integer,
    String,
    Table,
    bindparam,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy import insert as sql_insert
from sqlalchemy.exc import IntegrityError

from fanlight.catalog.exact import equal
from fanlight.catalog.members import drop_doubles
from fanlight.catalog.pages import list_page
from fanlight.catalog.rows import COLUMNS, LONGEST_ID, Viewer, image_of, now, visible, whole_of
from fanlight.catalog.tables import image_locations, image_members, image_properties, image_tags, images, leases, live
from fanlight.errors import Duplicate, ImageNotFound
from fanlight.model import Image, Property

__all__ = [
    "Gone",
    "fetch",
    "fetch_any",
    "hold_uploads",
    "insert",
    "list_page",
    "restore",
    "save",
    "set_status",
    "soft_delete",
    "stuck",
    "usage",
]

_SAVED = (
    "name",
    "disk_format",
    "container_format",
    "visibility",
    "min_disk",
    "min_ram",
    "owner",
    "protected",
    "os_hidden",
)
"""Columns that an update of the record writes; all others have functions of their own."""
_CHILDREN = (image_properties, image_tags, image_members, image_locations)
_LIVE = images.c.deleted == false()
_LIVE_PARTS = {table: update(table).where(table.c.image_id == bindparam("image"), live(table)) for table in _CHILDREN}
_LIVE_ROWS = union_all(
    *(
        select(
            literal_column(str(number), Integer()),
            table.c.id,
            table.c.member if table is image_members else literal_column("''", String()),
        ).where(table.c.image_id == bindparam("image"), live(table))
        for number, table in enumerate(_CHILDREN)
    )
)
AT_ONCE = 500
"""Rows that one statement names; databases have limits for that."""
_OWNER = bindparam("owner", type_=String())

_INSERT = sql_insert(images)
_INSERT_PROPERTY = sql_insert(image_properties)
_INSERT_TAG = sql_insert(image_tags)
_MOMENT: BindParameter[datetime.datetime] = bindparam("moment")
_GONE: dict[str, Any] = {"deleted": True, "deleted_at": _MOMENT, "updated_at": _MOMENT}
_REMOVE_PROPERTY = (
    update(image_properties)
    .where(
        image_properties.c.image_id == bindparam("its_image"),
        equal(image_properties.c.name, bindparam("its_name", type_=String())),
        image_properties.c.deleted == false(),
    )
    .values(_GONE)
)
# A name that was removed earlier still has its row, which comes back to life; on MariaDB in any case of its letters.
_SET_PROPERTY = (
    update(image_properties)
    .where(
        image_properties.c.image_id == bindparam("its_image"),
        image_properties.c.name == bindparam("its_name", type_=String()),
        or_(
            image_properties.c.deleted == true(), equal(image_properties.c.name, bindparam("its_name", type_=String()))
        ),
    )
    .values(
        name=bindparam("its_name"), value=bindparam("its_value"), deleted=False, deleted_at=None, updated_at=_MOMENT
    )
)
_REMOVE_TAG = (
    update(image_tags)
    .where(
        image_tags.c.image_id == bindparam("its_image"),
        equal(image_tags.c.value, bindparam("its_value", type_=String())),
        image_tags.c.deleted == false(),
    )
    .values(_GONE)
)


def insert(connection: Connection, image: Image) -> Image:
    """Add an image with its properties and tags; its locations are not looked at. Raises Duplicate: the id was used."""
    values = {column.name: getattr(image, column.name) for column in COLUMNS}
    try:
        connection.execute(_INSERT, {**values, "deleted": False})
    except IntegrityError as error:
        raise Duplicate(f"Image ID {image.id} already exists!") from error
    _add_properties(connection, image.id, image.properties.items(), image.created_at)
    _add_tags(connection, image.id, image.tags, image.created_at)
    return image


def fetch(connection: Connection, image_id: str, viewer: Viewer, *, lock: bool = False) -> Image:
    """The image, if `viewer` may know of it: one statement. Raises ImageNotFound.

    `lock` holds the row to the end of the transaction, so that what is read stays true until it is written.
    """
    if len(image_id) > LONGEST_ID:
        raise ImageNotFound(image_id)
    row, parts = whole_of(connection, image_id, viewer.project_id, lock=lock)
    if row is None or row[0] != image_id or not visible(row, row.is_member, viewer):
        raise ImageNotFound(image_id)
    shared_with = row[7] == "shared" and row.is_member and row[13] != viewer.project_id
    return image_of(row, parts, viewer.project_id if shared_with else None)


def fetch_any(connection: Connection, image_id: str, *, lock: bool = False) -> Image:
    """The image, whoever asks. Raises ImageNotFound."""
    return fetch(connection, image_id, Viewer(None, True), lock=lock)


def save(connection: Connection, before: Image, after: Image) -> Image:
    """Write what `after` has different from `before`, which was read under the row's lock in this transaction.

    Columns of the record, custom properties and tags; never status, size, hashes or locations. Returns the image as it
    is now, but for numbers among its custom properties, which are texts when they are read.
    """
    moment = now()
    values = {name: getattr(after, name) for name in _SAVED if getattr(after, name) != getattr(before, name)}
    _save_properties(connection, before, after, moment)
    _save_tags(connection, before, after, moment)
    connection.execute(update(images).where(images.c.id == before.id, _LIVE).values(updated_at=moment, **values))
    return msgspec.structs.replace(after, updated_at=moment)


def _save_properties(connection: Connection, before: Image, after: Image, moment: datetime.datetime) -> None:
    gone = [name for name in before.properties if name not in after.properties]
    if gone:
        parameters = {"its_image": before.id, "moment": moment}
        connection.execute(_REMOVE_PROPERTY, [{**parameters, "its_name": name} for name in gone])
    new = []
    for name, value in after.properties.items():
        if before.properties.get(name, ...) != value:
            kept = value if value is None or isinstance(value, str) else _text_of(value)
            parameters = {"its_image": before.id, "moment": moment, "its_name": name, "its_value": kept}
            if connection.execute(_SET_PROPERTY, parameters).rowcount == 0:
                new.append((name, kept))
    _add_properties(connection, before.id, new, moment)


def _add_properties(
    connection: Connection, image_id: str, items: Iterable[tuple[str, Property]], moment: datetime.datetime
) -> None:
    times = {"created_at": moment, "updated_at": moment, "deleted": False}
    rows = [
        {
            "image_id": image_id,
            "name": name,
            "value": value if value is None or isinstance(value, str) else _text_of(value),
            **times,
        }
        for name, value in items
    ]
    if rows:
        try:
            connection.execute(_INSERT_PROPERTY, rows)
        except IntegrityError as error:
            raise Duplicate(
                "This database cannot keep custom properties whose names differ only in case or accents."
            ) from error


def _text_of(value: float) -> str:
    """A number or a truth value as the column of texts keeps it: left to the drivers, it would be a text for each."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _save_tags(connection: Connection, before: Image, after: Image, moment: datetime.datetime) -> None:
    gone = [tag for tag in before.tags if tag not in after.tags]
    if gone:
        parameters = {"its_image": before.id, "moment": moment}
        connection.execute(_REMOVE_TAG, [{**parameters, "its_value": tag} for tag in gone])
    _add_tags(connection, before.id, [tag for tag in after.tags if tag not in before.tags], moment)


def _add_tags(connection: Connection, image_id: str, tags: Iterable[str], moment: datetime.datetime) -> None:
    times = {"created_at": moment, "updated_at": moment, "deleted": False}
    rows = [{"image_id": image_id, "value": tag, **times} for tag in dict.fromkeys(tags)]
    if rows:
        connection.execute(_INSERT_TAG, rows)


def set_status(connection: Connection, image_id: str, expected: Collection[str], status: str, **columns: Any) -> bool:
    """Move the image to `status` if it now is in one of `expected`; whether it was. `columns` are written with it."""
    done = connection.execute(
        update(images)
        .where(images.c.id == image_id, _LIVE, images.c.status.in_(expected))
        .values(status=status, updated_at=now(), **columns)
    )
    return done.rowcount == 1


Gone = dict[Table, list[int]]
"""Numbers of the rows of an image's parts that went with it, by table."""


def soft_delete(connection: Connection, image_id: str) -> Gone:
    """Mark the image and all its parts deleted; the rows stay, so that the id is never given again. Returns which
    parts went now, for `restore`.
    """
    moment = now()
    values = {"deleted": True, "deleted_at": moment, "updated_at": moment}
    gone: Gone = {}
    members: list[tuple[int, str]] = []
    for table, number, member in connection.execute(_LIVE_ROWS, {"image": image_id}):
        gone.setdefault(_CHILDREN[table], []).append(number)
        if _CHILDREN[table] is image_members:
            members.append((number, member))
    if len(members) > 1:
        drop_doubles(connection, members)
    for child in gone:
        more = {"status": "deleted"} if child is image_locations else {}
        connection.execute(_LIVE_PARTS[child].values(**values, **more), {"image": image_id})
    connection.execute(update(images).where(images.c.id == image_id, _LIVE).values(status="deleted", **values))
    return gone


def restore(connection: Connection, image_id: str, status: str, parts: Gone) -> None:
    """Undo `soft_delete`: the image comes back, and the parts that went with it."""
    back: dict[str, Any] = {"deleted": False, "deleted_at": None, "updated_at": now()}
    for table, numbers in parts.items():
        values = {**back, "status": "active"} if table is image_locations else back
        for begin in range(0, len(numbers), AT_ONCE):
            some = numbers[begin : begin + AT_ONCE]
            connection.execute(update(table).where(table.c.image_id == image_id, table.c.id.in_(some)).values(**values))
    connection.execute(
        update(images).where(images.c.id == image_id, images.c.deleted == true()).values(status=status, **back)
    )


def hold_uploads(connection: Connection, owner: str | None) -> None:
    """Let nobody else end an upload of `owner` before this transaction ends, so that `usage` stays true until then."""
    statement = select(images.c.id).where(equal(images.c.owner, _OWNER), _LIVE, images.c.status == "saving")
    connection.execute(statement.order_by(images.c.id).with_for_update(), {"owner": owner})


def stuck(connection: Connection, before: datetime.datetime) -> list[str]:
    """Ids of images that have been in `saving` since `before` though nobody has a lease to upload: Glance left them."""
    theirs = select(literal_column("1")).where(leases.c.image_id == images.c.id).exists()
    statement = select(images.c.id).where(images.c.status == "saving", _LIVE, images.c.updated_at < before, ~theirs)
    return [row[0] for row in connection.execute(statement)]


_USAGE = (
    select(func.coalesce(func.sum(images.c.size), 0))
    .select_from(images.join(image_locations, image_locations.c.image_id == images.c.id))
    .where(
        equal(images.c.owner, _OWNER),
        _LIVE,
        live(image_locations),
        images.c.status.not_in(("killed", "deleted", "pending_delete")),
    )
)


def usage(connection: Connection, owner: str | None) -> int:
    """Bytes that `owner` has stored: size times live locations, over its live images."""
    return int(connection.execute(_USAGE, {"owner": owner}).scalar_one())
