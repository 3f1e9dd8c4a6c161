"""What a database says of its own layout, as plain values that can be compared."""

from __future__ import annotations

from typing import Any

import sqlalchemy

from fanlight.catalog.tables import LIST_INDEXES, OUR_VERSION_TABLE, OURS

OUR_TABLES = frozenset({*OURS.tables, OUR_VERSION_TABLE})
OUR_INDEXES = frozenset(name for name, _, _ in LIST_INDEXES)


def layout(url: str) -> dict[str, Any]:
    """Table -> columns, keys, indexes and checks."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        inspector = sqlalchemy.inspect(connection)
        return {name: _table(inspector, name) for name in sorted(inspector.get_table_names())}


def _table(inspector: Any, name: str) -> dict[str, Any]:
    columns = [
        (one["name"], repr(one["type"]), one["nullable"], str(one["default"]), bool(one.get("autoincrement")))
        for one in inspector.get_columns(name)
    ]
    indexes = {one["name"]: (tuple(one["column_names"]), bool(one["unique"])) for one in inspector.get_indexes(name)}
    keys = [
        (tuple(one["constrained_columns"]), one["referred_table"], tuple(one["referred_columns"]), one["options"])
        for one in inspector.get_foreign_keys(name)
    ]
    uniques = {one["name"]: tuple(one["column_names"]) for one in inspector.get_unique_constraints(name)}
    options = {key: value for key, value in inspector.get_table_options(name).items() if "auto_increment" not in key}
    return {
        "columns": columns,
        "primary key": tuple(inspector.get_pk_constraint(name)["constrained_columns"]),
        "indexes": indexes,
        "foreign keys": sorted(keys, key=repr),
        "uniques": uniques,
        "checks": sorted(one["sqltext"] for one in inspector.get_check_constraints(name)),
        "options": options,
    }


def without_ours(found: dict[str, Any]) -> dict[str, Any]:
    """What is left when our own tables and indexes are taken away."""
    left = {name: dict(table) for name, table in found.items() if name not in OUR_TABLES}
    for table in left.values():
        table["indexes"] = {name: one for name, one in table["indexes"].items() if name not in OUR_INDEXES}
    return left


def ours(found: dict[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Names of our tables and of our indexes on Glance's that are there."""
    indexes = {name for table in found.values() for name in table["indexes"]}
    return OUR_TABLES & set(found), OUR_INDEXES & indexes
