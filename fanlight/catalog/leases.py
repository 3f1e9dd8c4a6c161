"""Leases in the catalogue: who moves which bytes, and until when it may be believed (see operations/keeper.py)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, tuple_, update

from fanlight.catalog.rows import metadata_of
from fanlight.catalog.tables import leases
from fanlight.model import Lease

_C = leases.c
_COLUMNS = (
    _C.token,
    _C.kind,
    _C.image_id,
    _C.store,
    _C.url,
    _C.meta_data,
    _C.location_id,
    _C.holder,
    _C.expires_at,
)
_OPEN = insert(leases)
_RENEW = update(leases).where(_C.token == bindparam("its_token")).values(expires_at=bindparam("until"))
_CLOSE = delete(leases).where(_C.token == bindparam("its_token"))
_STANDING = select(_C.token, _C.holder, _C.expires_at).order_by(_C.expires_at)


class Standing(NamedTuple):
    """A lease as it stands in the catalogue; renewed or taken over, it is another."""

    token: str
    holder: str
    expires_at: datetime.datetime


def open(connection: Connection, lease: Lease) -> None:
    """Write a lease down."""
    connection.execute(
        _OPEN,
        {
            "token": lease.token,
            "kind": lease.kind,
            "image_id": lease.image_id,
            "store": lease.store,
            "url": lease.url,
            "meta_data": msgspec.json.encode(lease.metadata).decode(),
            "location_id": lease.location_id,
            "holder": lease.holder,
            "expires_at": lease.expires_at,
        },
    )


def renew(connection: Connection, token: str, holder: str, until: datetime.datetime) -> bool:
    """Extend a lease of `holder`; False when it is gone or somebody else's by now."""
    done = connection.execute(_RENEW.where(_C.holder == holder), {"its_token": token, "until": until})
    return done.rowcount == 1


def close(connection: Connection, token: str, holder: str) -> bool:
    """End a lease of `holder`; False when it is gone or somebody else's by now."""
    return connection.execute(_CLOSE.where(_C.holder == holder), {"its_token": token}).rowcount == 1


def owe(connection: Connection, token: str, holder: str, until: datetime.datetime) -> bool:
    """Turn an upload's lease of `holder` into a debt: its remains must be discarded, from `until` on, by anybody."""
    values = {"kind": "discard", "expires_at": until}
    done = connection.execute(update(leases).where(_C.token == token, _C.holder == holder).values(values))
    return done.rowcount == 1


def owed(connection: Connection, image_id: str, store: str) -> bool:
    """Whether something of an image must still go from a store: the remains of an upload, or a removed location."""
    statement = select(_C.token).where(_C.image_id == image_id, _C.store == store, _C.kind != "upload")
    return connection.execute(statement).first() is not None


def exist(connection: Connection, image_id: str) -> bool:
    """Whether anybody writes, deletes or owes anything of an image."""
    return connection.execute(select(_C.token).where(_C.image_id == image_id)).first() is not None


def named(connection: Connection, url: str) -> bool:
    """Whether somebody is writing or about to remove an object of exactly this URL."""
    return connection.execute(select(_C.token).where(_C.url == url)).first() is not None


def standing(connection: Connection) -> list[Standing]:
    """All of them, the oldest first."""
    return [Standing(*row) for row in connection.execute(_STANDING)]


def takeover(
    connection: Connection, wanted: Sequence[Standing], *, new_holder: str, new_expiry: datetime.datetime
) -> list[Lease]:
    """Claim those of `wanted` that still stand as they were seen. Each is claimed by one caller only."""
    seen = tuple_(_C.token, _C.holder, _C.expires_at).in_([tuple(one) for one in wanted])
    statement = select(*_COLUMNS).where(seen).order_by(_C.expires_at)
    rows = connection.execute(statement.with_for_update(skip_locked=True)).all()
    if rows:
        connection.execute(
            update(leases)
            .where(_C.token.in_([row[0] for row in rows]))
            .values(holder=new_holder, expires_at=new_expiry)
        )
    return [_lease(row, new_holder, new_expiry) for row in rows]


def _lease(row: Sequence[Any], holder: str, expires_at: datetime.datetime) -> Lease:
    return Lease(
        token=row[0],
        kind=row[1],
        image_id=row[2],
        store=row[3],
        url=row[4],
        metadata=metadata_of(row[5]),
        location_id=row[6],
        holder=holder,
        expires_at=expires_at,
    )
