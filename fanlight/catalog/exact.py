"""Comparing texts exactly, on every database.

The collation of Glance's tables on MariaDB and MySQL takes letters of either case, and blanks at the end, for the same.
Who may see an image, and which property is meant, must not depend on that. The loose comparison stays in the
statement, since it is what an index serves.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, ColumnElement, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class _Bytes(FunctionElement[str]):
    """The bytes of one text; only ever rendered on MySQL."""

    type = String()
    inherit_cache = True


class _Loose(FunctionElement[bool]):
    """A comparison, and the same of bytes, which is added where the first is loose."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: object = None) -> Any:
        # A function of type boolean would be compared with 1, and then no index serves it.
        return self


@compiles(_Bytes)
def _bytes(element: _Bytes, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS BINARY)"


@compiles(_Loose)
def _exact_anyway(element: _Loose, compiler: Any, **options: Any) -> str:
    loose, _ = element.clauses
    return str(compiler.process(loose, **options))


@compiles(_Loose, "mysql")
@compiles(_Loose, "mariadb")
def _made_exact(element: _Loose, compiler: Any, **options: Any) -> str:
    loose, exact = element.clauses
    return f"({compiler.process(loose, **options)} AND {compiler.process(exact, **options)})"


def equal(column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
    """`column = value`, letter by letter."""
    return _Loose(column == value, _Bytes(column) == value)


def among(column: ColumnElement[Any], values: Any) -> ColumnElement[bool]:
    """`column IN values`, letter by letter; `values` is a collection or an expanding parameter."""
    return _Loose(column.in_(values), _Bytes(column).in_(values))
