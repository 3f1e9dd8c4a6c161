"""Members of shared images in the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, String, bindparam, delete, desc, false, func, insert, select, update

from fanlight.catalog.exact import equal
from fanlight.catalog.rows import now
from fanlight.catalog.tables import image_members
from fanlight.errors import Duplicate, MemberNotFound
from fanlight.model import Member

_C = image_members.c
_COLUMNS = (_C.image_id, _C.member, _C.status, _C.created_at, _C.updated_at)
_LIVE = _C.deleted == false()
_LIST = select(*_COLUMNS).where(_C.image_id == bindparam("image_id"), _LIVE).order_by(_C.id)
_IT = (_C.image_id == bindparam("image_id"), equal(_C.member, bindparam("member", type_=String())))
_FETCH = select(*_COLUMNS).where(*_IT, _LIVE).order_by(desc(_C.id))
_NUMBERS = select(_C.id).where(*_IT, _LIVE).order_by(_C.id)
# As the table's own index compares, which on MariaDB is without regard to case: two rows that it takes for one could
# never be removed in the same second.
_ANY = (
    select(_C.id, _C.deleted)
    .where(_C.image_id == bindparam("image_id"), _C.member == bindparam("member", type_=String()))
    .order_by(_C.deleted, desc(_C.id))
)
_COUNT = select(func.count()).where(_C.image_id == bindparam("image_id"), _LIVE)


def list_members(connection: Connection, image_id: str) -> list[Member]:
    """All members, in the order in which they were added."""
    # Two of one project: see `drop_doubles`. The later one counts.
    return list({row[1]: _member(row) for row in connection.execute(_LIST, {"image_id": image_id})}.values())


def fetch(connection: Connection, image_id: str, member_id: str) -> Member:
    """One member. Raises MemberNotFound."""
    row = connection.execute(_FETCH, {"image_id": image_id, "member": member_id}).first()
    if row is None:
        raise MemberNotFound(image_id, member_id)
    return _member(row)


def add(connection: Connection, image_id: str, member_id: str) -> Member:
    """Add with status `pending`; a member removed earlier gets its row back. Raises Duplicate, on MariaDB also for one
    whose id differs in case alone."""
    moment = now()
    earlier = connection.execute(_ANY, {"image_id": image_id, "member": member_id}).first()
    if earlier is not None and not earlier.deleted:
        raise Duplicate(f"Project {member_id} is a member of image {image_id} already.")
    values: dict[str, Any] = {"member": member_id, "status": "pending", "updated_at": moment}
    values |= {"deleted": False, "deleted_at": None}
    if earlier is not None:
        connection.execute(update(image_members).where(_C.id == earlier.id).values(created_at=moment, **values))
    else:
        row = {"image_id": image_id, "can_share": False, "created_at": moment, **values}
        connection.execute(insert(image_members), row)
    return Member(image_id=image_id, member_id=member_id, status="pending", created_at=moment, updated_at=moment)


def set_status(connection: Connection, image_id: str, member_id: str, status: str) -> Member:
    """Change the status. Raises MemberNotFound."""
    member = fetch(connection, image_id, member_id)
    moment = now()
    connection.execute(
        update(image_members)
        .where(_C.image_id == image_id, equal(_C.member, member_id), _LIVE)
        .values(status=status, updated_at=moment)
    )
    return Member(
        image_id=image_id, member_id=member_id, status=status, created_at=member.created_at, updated_at=moment
    )


def remove(connection: Connection, image_id: str, member_id: str) -> None:
    """Remove. Raises MemberNotFound."""
    rows = connection.execute(_NUMBERS, {"image_id": image_id, "member": member_id}).all()
    if not rows:
        raise MemberNotFound(image_id, member_id)
    drop_doubles(connection, [(row[0], member_id) for row in rows])
    moment = now()
    values = {"deleted": True, "deleted_at": moment, "updated_at": moment}
    connection.execute(update(image_members).where(_C.id == rows[-1][0]).values(values))


def drop_doubles(connection: Connection, rows: Sequence[tuple[int, str]]) -> None:
    """Of live rows (number and member) of one image, remove for good all but the last of each member.

    Two workers of Glance that share at the same time leave two, and the table's index lets no two be marked deleted at
    the same time.
    """
    loosely = connection.dialect.name in ("mysql", "mariadb")
    last = {member.casefold() if loosely else member: number for number, member in sorted(rows)}
    doubles = {number for number, _ in rows} - set(last.values())
    if doubles:
        connection.execute(delete(image_members).where(_C.id.in_(doubles)))


def count(connection: Connection, image_id: str) -> int:
    """How many members the image has."""
    return int(connection.execute(_COUNT, {"image_id": image_id}).scalar_one())


def _member(row: Sequence[Any]) -> Member:
    return Member(image_id=row[0], member_id=row[1], status=row[2], created_at=row[3], updated_at=row[4] or row[3])
