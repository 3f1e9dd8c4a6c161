"""Where images lie, in the catalogue: each function is one step of a transaction on the connection it is given.

What is read of locations comes with their image (rows.py).
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec
from sqlalchemy import BindParameter, Connection, String, bindparam, false, insert, select, update

from fanlight.catalog.exact import equal
from fanlight.catalog.rows import now
from fanlight.catalog.tables import image_locations, live
from fanlight.model import Location

_C = image_locations.c
_INSERT = insert(image_locations)
_MOMENT: BindParameter[datetime.datetime] = bindparam("moment")
_MOVE = (
    update(image_locations)
    .where(_C.id == bindparam("its_row"))
    .values(value=bindparam("value"), meta_data=bindparam("meta_data"), updated_at=_MOMENT)
)
_HAS_URL = equal(_C.value, bindparam("url", type_=String()))


def add(connection: Connection, image_id: str, location: Location) -> Location:
    """Add one location; returns it with the id of its row."""
    moment = now()
    done = connection.execute(
        _INSERT,
        {
            "image_id": image_id,
            **_place_of(location),
            "status": location.status,
            "created_at": moment,
            "updated_at": moment,
            "deleted": False,
        },
    )
    key = done.inserted_primary_key
    return msgspec.structs.replace(location, id=key[0] if key else None)


def remove(connection: Connection, image_id: str, location_id: int) -> bool:
    """Mark one location deleted; whether there was one."""
    moment = now()
    done = connection.execute(
        update(image_locations)
        .where(_C.id == location_id, _C.image_id == image_id, _C.deleted == false())
        .values(status="deleted", deleted=True, deleted_at=moment, updated_at=moment)
    )
    return done.rowcount == 1


def restore(connection: Connection, image_id: str, location_id: int) -> None:
    """Undo `remove`."""
    connection.execute(
        update(image_locations)
        .where(_C.id == location_id, _C.image_id == image_id)
        .values(status="active", deleted=False, deleted_at=None, updated_at=now())
    )


def save(
    connection: Connection, image_id: str, before: Sequence[Location], after: Sequence[Location]
) -> tuple[Location, ...]:
    """Make `after` of the locations `before`, in that order; those of `after` without an id are new ones.

    Rows are read in the order of their numbers. So where a new location is not the last, or the order is another, what
    the rows hold moves, and the rows stay. Returns the locations as they are now.
    """
    kept = {location.id for location in after}
    for location in before:
        if location.id not in kept:
            remove(connection, image_id, location.id or 0)
    old = {location.id: location for location in before if location.id in kept}
    saved = []
    for number, location in zip(
        [*sorted(old, key=lambda number: number or 0)] + [None] * len(after), after, strict=False
    ):
        if number is None:
            saved.append(add(connection, image_id, location))
            continue
        if (location.url, location.metadata) != (old[number].url, old[number].metadata):
            connection.execute(_MOVE, {"its_row": number, **_place_of(location), "moment": now()})
        saved.append(msgspec.structs.replace(location, id=number))
    return tuple(saved)


def _place_of(location: Location) -> dict[str, str]:
    return {"value": location.url, "meta_data": msgspec.json.encode(location.metadata).decode()}


def is_held(connection: Connection, url: str) -> bool:
    """Whether any live image has a location of exactly this URL. Looks at all rows: there is no index."""
    found = select(_C.id).where(_HAS_URL, live(image_locations)).limit(1)
    return connection.execute(found, {"url": url}).first() is not None
