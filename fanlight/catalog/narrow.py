"""Whether what a list asks for leaves few images: then a page is made of those, and no index of all is walked.

Each look reads a bounded number of rows of one index: what many images have costs as much to find out as what few have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Select, String, bindparam, select

from fanlight.catalog.exact import among, equal
from fanlight.catalog.tables import image_properties, image_tags, images, live
from fanlight.model import ImageQuery

FEW = 200
"""How many images are few."""
LOOKS = 3
"""How many conditions of a list are looked at, at most: each is a statement."""
_INDEXED = ("id", "name", "checksum", "os_hash_value")
"""Columns of which few images have the same value, as a rule."""

_VALUE = bindparam("value", type_=String())
_VALUES = bindparam("value", type_=String(), expanding=True)
_EQUAL = {name: select(images.c.id).where(equal(images.c[name], _VALUE)).limit(FEW + 1) for name in _INDEXED}
_AMONG = {name: select(images.c.id).where(among(images.c[name], _VALUES)).limit(FEW + 1) for name in _INDEXED}
_TAGGED = select(image_tags.c.image_id).where(equal(image_tags.c.value, _VALUE), live(image_tags)).limit(FEW + 1)
# By name alone: no index has the value, and for a rare one as many rows as there are images might have to be read.
_PROPERTY = select(image_properties.c.image_id).where(equal(image_properties.c.name, _VALUE)).limit(FEW + 1)


def narrow(connection: Connection, query: ImageQuery) -> Sequence[str] | None:
    """Ids of at most FEW images, among which are all that `query` asks for; None when there may be more."""
    for statement, value in islice(_looks(query), LOOKS):
        found: Sequence[str] = connection.execute(statement, {"value": value}).scalars().all()
        if len(found) <= FEW:
            return found
    return None


def _looks(query: ImageQuery) -> Iterator[tuple[Select[Any], Any]]:
    for one in query.filters:
        if one.column in _INDEXED and one.op in ("eq", "in"):
            yield (_AMONG[one.column], list(one.value)) if one.op == "in" else (_EQUAL[one.column], one.value)
    for tag in query.tags:
        yield _TAGGED, tag
    for name in query.properties:
        yield _PROPERTY, name
