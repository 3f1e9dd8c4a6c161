"""One page of images: two statements, whose cost does not depend on how many images there are.

What a project may see is the union of sets that do not overlap (public; its own; shared with it ...). Asked with one
OR, a database reads all of them and sorts; so each set is a branch of its own that walks an index in the order
asked for and stops after a page, and the page is the first of the branches' pages. The next page begins after
a row (`marker`), not after a number of rows.

In the order of names each branch is two: images without a name stand where the empty name stands, and an index has them
elsewhere.

A walk is long where few images fulfil what is asked, as of those with a name or a tag. So `narrow` finds out first
whether they are few: then the page is made of those alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    String,
    and_,
    bindparam,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from fanlight.catalog.exact import among, equal
from fanlight.catalog.narrow import narrow
from fanlight.catalog.rows import COLUMNS, LONGEST_ID, Viewer, image_of, parts_of_many, record_of, visible
from fanlight.catalog.tables import image_members, image_properties, image_tags, images, live
from fanlight.errors import Forbidden, Invalid
from fanlight.model import VISIBILITIES, Image, ImageQuery

_Operator = Callable[[ColumnElement[Any], Any], ColumnElement[bool]]
_OPERATORS: dict[str, _Operator] = {
    "eq": lambda column, value: equal(column, value) if _is_text(column) else column == value,
    "neq": lambda column, value: column != value,
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
    "in": lambda column, value: among(column, value) if _is_text(column) else column.in_(value),
}
_EMPTY = {"name": "", "container_format": "", "disk_format": "", "size": 0}
"""Columns that may be null, and what null sorts as."""


def _text(name: str) -> BindParameter[str]:
    return bindparam(name, type_=String())


_PROJECT = _text("project")


def list_page(connection: Connection, query: ImageQuery, viewer: Viewer) -> list[Image]:
    """At most `query.limit` images in the order asked for, after `query.marker`.

    Raises Invalid (no such marker), Forbidden (the marker is an image that `viewer` may not see).
    """
    branches = _branches(query.visibility, viewer)
    if not branches:
        return []
    parameters: dict[str, Any] = {"project": viewer.project_id, "hidden": query.os_hidden, "most": query.limit}
    if query.member_status != "all":
        parameters["member_status"] = query.member_status
    for number, one in enumerate(query.filters):
        parameters[f"filter_{number}"] = list(one.value) if one.op == "in" else one.value
    for number, tag in enumerate(query.tags):
        parameters[f"tag_{number}"] = tag
    for number, (name, value) in enumerate(query.properties.items()):
        parameters[f"property_{number}"] = name
        parameters[f"value_{number}"] = value
    if query.marker is not None:
        parameters.update(_marker_values(connection, query, viewer))
    few = narrow(connection, query)
    if few is not None:
        if not few:
            return []
        parameters["few"] = few
    shape = _Shape(
        branches=branches,
        any_answer=query.member_status == "all",
        filters=tuple((one.column, one.op) for one in query.filters),
        tags=len(query.tags),
        properties=len(query.properties),
        sort=query.sort,
        after_marker=query.marker is not None,
        few=few is not None,
    )
    statement = _statement(shape)
    rows = connection.execute(statement, parameters).all()
    parts = parts_of_many(connection, [row[0] for row in rows])
    return [image_of(row, parts[row[0]], row[-1]) for row in rows]


def _branches(visibility: str | None, viewer: Viewer) -> tuple[str, ...]:
    """Which sets make up what is asked for; each name is a condition of `_condition`, and no two overlap."""
    if visibility not in (None, "all", *VISIBILITIES):
        return ()
    if viewer.is_admin:
        return ("everything but community of others",) if visibility is None else (f"any {visibility}",)
    found = []
    if visibility in (None, "all", "public"):
        found.append("any public")
    if visibility in ("all", "community"):
        found.append("any community")
    if viewer.project_id is None:
        return tuple(found)
    if visibility in (None, "all"):
        found.append("own but public" if visibility is None else "own but public or community")
    elif visibility in ("private", "shared"):
        found.append(f"own {visibility}")
    if visibility in (None, "all", "shared"):
        found.append("shared with me")
    return tuple(found)


def _condition(columns: Any, branch: str) -> ColumnElement[bool]:
    """What makes an image belong to a branch, but for the membership of those that are shared."""
    own = equal(columns.owner, _PROJECT)
    if branch == "any all":
        return true()
    if branch.startswith("any "):
        return _is(columns.visibility, branch.removeprefix("any "))
    if branch == "everything but community of others":
        return or_(columns.visibility != "community", own)
    if branch == "own but public":
        return and_(own, columns.visibility != "public")
    if branch == "own but public or community":
        return and_(own, columns.visibility.in_(("private", "shared")))
    if branch.startswith("own "):
        # Not an equation: SQLite would walk the index by visibility, and not the one by owner.
        return and_(own, columns.visibility.not_in([one for one in VISIBILITIES if one != branch.removeprefix("own ")]))
    return and_(columns.visibility == "shared", or_(columns.owner.is_(None), ~own))


def _is_text(column: ColumnElement[Any]) -> bool:
    return isinstance(column.type, String)


def _is(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    return column == value


class _Shape(NamedTuple):
    """What decides the text of a statement; the values come as parameters."""

    branches: tuple[str, ...]
    any_answer: bool
    filters: tuple[tuple[str, str], ...]
    tags: int
    properties: int
    sort: tuple[tuple[str, str], ...]
    after_marker: bool
    few: bool


@lru_cache(maxsize=256)
def _statement(shape: _Shape) -> Select[Any]:
    pages = [_page(branch, named, shape) for branch in shape.branches for named in _sections(branch, shape)]
    if len(pages) == 1:
        return pages[0]
    whole = union_all(*(page.subquery().select() for page in pages)).subquery()
    merged = [_ordered(key, direction) for key, direction in _keys(whole.c, shape.sort)]
    return whole.select().order_by(*merged).limit(bindparam("most"))


def _sections(branch: str, shape: _Shape) -> tuple[bool | None, ...]:
    """What a branch is asked for one by one: see `_page`. No index is walked where the images are known before."""
    if shape.sort[0][0] != "name" or shape.few or branch == "shared with me":
        return (None,)
    return True, False


def _page(branch: str, named: bool | None, shape: _Shape) -> Select[Any]:
    """A page of one branch; `named`: of the images that have a name, of those that have none, or None for all."""
    columns = _source(branch, shape).c
    member: ColumnElement[Any] = _PROJECT if branch == "shared with me" else literal_column("NULL")
    shown = [columns[column.name] for column in COLUMNS]
    page = select(*shown, member.label("member")).where(*_conditions(columns, shape), _condition(columns, branch))
    keys = _keys(columns, shape.sort)
    if named is not None:
        page = page.where(columns.name.is_not(None) if named else columns.name.is_(None))
        keys[0] = (columns.name if named else literal_column("''", String()), shape.sort[0][1])
    if shape.after_marker:
        page = page.where(_after(keys, shape.sort))
    order = [_ordered(key, direction) for key, direction in (keys[1:] if named is False else keys)]
    return page.order_by(*order).limit(bindparam("most"))


def _source(branch: str, shape: _Shape) -> FromClause:
    """The images that a branch looks at: all, or those that are known to come into question.

    That limit limits nothing. It keeps a database from looking into the subquery, and from walking an index of all
    images instead: without statistics, SQLite takes every index for a good one.
    """
    within: list[ColumnElement[bool]] = []
    if shape.few:
        within.append(images.c.id.in_(bindparam("few", expanding=True)))
    if branch == "shared with me":
        members = image_members.c
        mine = select(members.image_id).where(equal(members.member, _PROJECT), live(image_members))
        within.append(
            images.c.id.in_(mine if shape.any_answer else mine.where(members.status == bindparam("member_status")))
        )
    if not within:
        return images
    return select(*COLUMNS, images.c.deleted).where(*within).limit(literal_column(str(2**31))).subquery()


def _conditions(columns: Any, shape: _Shape) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [
        columns.deleted == false(),
        columns.os_hidden == bindparam("hidden"),
        columns.status != "killed",
    ]
    for number, (name, operator) in enumerate(shape.filters):
        value = bindparam(f"filter_{number}", type_=columns[name].type, expanding=operator == "in")
        found.append(_OPERATORS[operator](columns[name], value))
    tags, properties = image_tags.c, image_properties.c
    for number in range(shape.tags):
        carried = select(tags.image_id).where(tags.image_id == columns.id, _tagged(number))
        found.append(carried.exists())
    for number in range(shape.properties):
        carried = select(properties.image_id).where(properties.image_id == columns.id, _valued(number))
        found.append(carried.exists())
    return found


def _tagged(number: int) -> ColumnElement[bool]:
    return and_(equal(image_tags.c.value, _text(f"tag_{number}")), live(image_tags))


def _valued(number: int) -> ColumnElement[bool]:
    properties = image_properties.c
    return and_(
        equal(properties.name, _text(f"property_{number}")),
        equal(properties.value, _text(f"value_{number}")),
        live(image_properties),
    )


_Keys = list[tuple[ColumnElement[Any], str]]
"""What is sorted by, and in which direction: asc or desc."""


def _keys(columns: Any, sort: tuple[tuple[str, str], ...]) -> _Keys:
    return [(_key(columns, name), direction) for name, direction in sort]


def _key(columns: Any, name: str) -> ColumnElement[Any]:
    if name == "updated_at":
        # As it is shown, too: a row that was never updated may have none.
        return func.coalesce(columns.updated_at, columns.created_at)
    found: ColumnElement[Any] = columns[name]
    return func.coalesce(found, _EMPTY[name]) if name in _EMPTY else found


def _ordered(key: ColumnElement[Any], direction: str) -> ColumnElement[Any]:
    return key.asc() if direction == "asc" else key.desc()


def _after(keys: _Keys, sort: tuple[tuple[str, str], ...]) -> ColumnElement[bool]:
    """Rows that come after the marker: a later first key, or the same and a later second key, and so on.

    The first key's own bound stands there once more by itself: no database finds it inside the OR.
    """
    values = [bindparam(f"after_{number}", type_=images.c[name].type) for number, (name, _) in enumerate(sort)]
    alternatives = []
    equal: list[ColumnElement[bool]] = []
    for (key, direction), value in zip(keys, values, strict=True):
        alternatives.append(and_(*equal, key > value if direction == "asc" else key < value))
        equal.append(key == value)
    first, direction = keys[0]
    return and_(first >= values[0] if direction == "asc" else first <= values[0], or_(*alternatives))


def _marker_values(connection: Connection, query: ImageQuery, viewer: Viewer) -> dict[str, Any]:
    marker = query.marker or ""
    row = None
    if len(marker) <= LONGEST_ID:
        row = record_of(connection, marker, viewer.project_id)
    if row is None or row[0] != marker:
        raise Invalid(f"Invalid marker. Image {marker} could not be found.")
    if not visible(row, row.is_member, viewer):
        raise Forbidden("The marker is an image that you may not see.")
    values = {name: _EMPTY.get(name) if value is None else value for name, value in row._mapping.items()}
    values["updated_at"] = values["updated_at"] or values["created_at"]
    return {f"after_{number}": values[name] for number, (name, _) in enumerate(query.sort)}
