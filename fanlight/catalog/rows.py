"""From rows to records, and who sees which: what every function that reads images shares."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    String,
    bindparam,
    false,
    literal_column,
    select,
    union_all,
)

from fanlight.catalog.exact import equal
from fanlight.catalog.tables import image_locations, image_members, image_properties, image_tags, images, live
from fanlight.model import Image, Location, Property

COLUMNS = (
    images.c.id,
    images.c.name,
    images.c.disk_format,
    images.c.container_format,
    images.c.size,
    images.c.virtual_size,
    images.c.status,
    images.c.visibility,
    images.c.checksum,
    images.c.os_hash_algo,
    images.c.os_hash_value,
    images.c.min_disk,
    images.c.min_ram,
    images.c.owner,
    images.c.protected,
    images.c.os_hidden,
    images.c.created_at,
    images.c.updated_at,
)
"""The columns of an image in the order in which `image_of` takes them."""
LONGEST_ID = 36

LOG = logging.getLogger(__name__)
_JSON = msgspec.json.Decoder()


class Viewer(Struct, frozen=True):
    """Who looks: a project (None: none), or an administrator, who sees everything."""

    project_id: str | None
    is_admin: bool = False


class Parts(Struct):
    """Properties, tags and locations of one image while they are gathered."""

    properties: dict[str, Property]
    tags: dict[int, str]
    """By the number of the row."""
    locations: list[Location]


def now() -> datetime.datetime:
    """The present, naive UTC, as every column keeps it."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


def image_of(row: Sequence[Any], parts: Parts | None, member: str | None = None) -> Image:
    """A record from one row of `COLUMNS` and its parts."""
    return Image(
        id=row[0],
        name=row[1],
        disk_format=row[2],
        container_format=row[3],
        size=row[4],
        virtual_size=row[5],
        status=row[6],
        visibility=row[7],
        checksum=row[8],
        os_hash_algo=row[9],
        os_hash_value=row[10],
        min_disk=row[11],
        min_ram=row[12],
        owner=row[13],
        protected=row[14],
        os_hidden=row[15],
        created_at=row[16],
        updated_at=row[17] or row[16],
        properties=parts.properties if parts else {},
        tags=tuple(dict.fromkeys(parts.tags.values())) if parts else (),
        locations=tuple(parts.locations) if parts else (),
        member=member,
    )


def visible(row: Sequence[Any], is_member: object, viewer: Viewer) -> bool:
    """Whether `viewer` may know of an image: by visibility, owner (none: everybody) or membership."""
    return bool(
        viewer.is_admin
        or row[7] in ("public", "community")
        or row[13] is None
        or row[13] == viewer.project_id
        or (row[7] == "shared" and is_member)
    )


def _parts_of(of_image: Callable[[ColumnElement[Any]], ColumnElement[bool]]) -> tuple[Select[Any], ...]:
    """Properties, tags and active locations: kind, image, row id, name, value."""
    properties, tags, locations = image_properties.c, image_tags.c, image_locations.c
    nothing: ColumnElement[str] = literal_column("''")
    return (
        select(literal_column("1"), properties.image_id, properties.id, properties.name, properties.value).where(
            of_image(properties.image_id), live(image_properties)
        ),
        select(literal_column("2"), tags.image_id, tags.id, tags.value, nothing).where(
            of_image(tags.image_id), live(image_tags)
        ),
        select(literal_column("3"), locations.image_id, locations.id, locations.value, locations.meta_data).where(
            of_image(locations.image_id), live(image_locations), locations.status == literal_column("'active'")
        ),
    )


IS_MEMBER = (
    select(literal_column("1"))
    .where(
        image_members.c.image_id == images.c.id,
        equal(image_members.c.member, bindparam("project", type_=String())),
        image_members.c.deleted == false(),
    )
    .exists()
)
"""Whether the project `project` is a member of the image of the enclosing statement."""

_ID: BindParameter[str] = bindparam("image_id", type_=String())
_RECORD = select(*COLUMNS, IS_MEMBER.label("is_member")).where(images.c.id == _ID, images.c.deleted == false())
_LOCKED = _RECORD.with_for_update(of=images)
_PARTS_OF_ONE = _parts_of(lambda column: column == _ID)
_PARTS = union_all(*_PARTS_OF_ONE)
_PARTS_OF_MANY = union_all(*_parts_of(lambda column: column.in_(bindparam("ids", expanding=True))))
_NULL: ColumnElement[Any] = literal_column("NULL")
# One statement for all of one image: on a server, each costs a round trip. The record's columns come first and are
# empty in the rows of its parts.
_WHOLE = union_all(
    _RECORD.add_columns(*(_NULL.label(name) for name in ("kind", "part_of", "number", "part", "value"))),
    *(part.with_only_columns(*[_NULL] * (len(COLUMNS) + 1), *part.selected_columns) for part in _PARTS_OF_ONE),
)


def record_of(connection: Connection, image_id: str, project_id: str | None) -> Any:
    """The row of a live image, `COLUMNS` and `is_member` of that project, without its parts; None: there is none."""
    return connection.execute(_RECORD, {"image_id": image_id, "project": project_id}).first()


def whole_of(connection: Connection, image_id: str, project_id: str | None, *, lock: bool = False) -> tuple[Any, Parts]:
    """The same with its parts: one statement, or two with `lock`, which holds the row to the end of the transaction."""
    parts = Parts({}, {}, [])
    parameters = {"image_id": image_id, "project": project_id}
    if lock:
        record = connection.execute(_LOCKED, parameters).first()
        if record is not None:
            _gather({record[0]: parts}, connection.execute(_PARTS, {"image_id": record[0]}).all())
        return record, parts
    record, rows = None, []
    for row in connection.execute(_WHOLE, parameters).all():
        if row[0] is None:
            rows.append(row[-5:])
        else:
            record = row
    if record is not None:
        _gather({record[0]: parts}, rows)
    return record, parts


def parts_of_many(connection: Connection, ids: Iterable[str]) -> dict[str, Parts]:
    """Properties, tags and active locations of many images: one statement."""
    found = {image_id: Parts({}, {}, []) for image_id in ids}
    if found:
        _gather(found, connection.execute(_PARTS_OF_MANY, {"ids": list(found)}).all())
    return found


def _gather(found: Mapping[str, Parts], rows: Iterable[Sequence[Any]]) -> None:
    """Put what the statement gave where it belongs: a list brings hundreds of rows, hence one call for all."""
    for kind, image_id, number, name, value in rows:
        parts = found[image_id]
        if kind == 1:
            parts.properties[name] = value
        elif kind == 2:
            parts.tags[number] = name
        else:
            parts.locations.append(Location(id=number, url=name, metadata=metadata_of(value)))
    # UNION promises no order, and PostgreSQL changes it with its plans: tags and locations stand as they were added.
    for parts in found.values():
        if len(parts.tags) > 1:
            parts.tags = dict(sorted(parts.tags.items()))
        if len(parts.locations) > 1:
            parts.locations.sort(key=lambda location: location.id or 0)


def metadata_of(value: str | None) -> dict[str, Any]:
    """Location metadata from its JSON; rows of Glance before 2019 call the store `backend`."""
    if not value or value == "{}":
        return {}
    try:
        metadata = _JSON.decode(value)
    except (msgspec.DecodeError, RecursionError):
        metadata = _odd(value)
    if not isinstance(metadata, dict):
        return {}
    if "backend" in metadata and "store" not in metadata:
        metadata["store"] = metadata.pop("backend")
    if not isinstance(metadata.get("store", ""), str):
        del metadata["store"]
    return metadata


def _odd(value: str) -> Any:
    """Metadata that are no JSON: what Python's own reader makes of them (it takes NaN), else nothing.

    One such row must not hide all images of a list.
    """
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        _tell_once(value)
        return {}


@lru_cache(maxsize=256)
def _tell_once(value: str) -> None:
    LOG.warning("the metadata of a location are no JSON, and taken for empty (%d characters)", len(value))
