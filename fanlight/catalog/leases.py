"""Leases in the catalogue: who moves which bytes, and until when it may be believed (see operations/keeper.py)."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

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
_HOLDERS = select(_C.holder).distinct()


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


def named(connection: Connection, url: str) -> bool:
    """Whether somebody is writing or about to remove an object of exactly this URL."""
    return connection.execute(select(_C.token).where(_C.url == url)).first() is not None


def holders(connection: Connection) -> list[str]:
    """Everybody who holds a lease."""
    return [row[0] for row in connection.execute(_HOLDERS)]


def takeover(
    connection: Connection,
    *,
    now: datetime.datetime,
    dead_holders: Collection[str],
    new_holder: str,
    new_expiry: datetime.datetime,
    limit: int,
) -> list[Lease]:
    """Claim at most `limit` leases that have run out or whose holders are dead. Each is claimed by one caller only."""
    over = or_(_C.expires_at < now, _C.holder.in_(list(dead_holders)))
    statement = select(*_COLUMNS).where(over).order_by(_C.expires_at).limit(limit)
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
