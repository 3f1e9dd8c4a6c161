"""The layout of the database: making it, bringing it up to date, and checking it.

Used at start and by `fanlight db`. Our revisions are counted in a version table of our own; Glance's
`alembic_version` stays Glance's. Two nodes may do this at once: a lock of the database lets one wait for the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, MetaData, inspect, select, text

from fanlight.catalog.engine import Catalog, translated
from fanlight.catalog.tables import GLANCE_HEAD, OUR_VERSION_TABLE, alembic_version
from fanlight.errors import CatalogError

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK_NAME = "CONCAT('fanlight ', SHA1(DATABASE()))"
"""A lock of MariaDB belongs to the server, not to one of its databases; on Galera to one node of it."""
_LOCK_NUMBER = 0x666E6C74
_LOCK_SECONDS = 300


class Version(NamedTuple):
    """Where a database stands: Glance's revision and ours; None where there is none."""

    glance: str | None
    ours: str | None
    head: str


def sync(catalog: Catalog) -> Version:
    """Make or migrate everything; nothing to do is fine. Raises CatalogError for a layout older than we know."""
    with translated(), _locked(catalog) as connection:
        found = _version(connection)
        _require_known(found)
        if found.ours != found.head:
            _upgrade(connection)
        return _version(connection)


def version(catalog: Catalog) -> Version:
    """Where the database stands. A file that does not exist yet is not made."""
    if catalog.is_missing_file():
        return Version(None, None, _head())
    with translated(), catalog.engine.connect() as connection:
        return _version(connection)


def require_current(catalog: Catalog) -> None:
    """Raise CatalogError, with what to do, unless the database has the layout of this release."""
    found = version(catalog)
    _require_known(found)
    if found.ours is None:
        raise CatalogError("The database is not made yet, or not taken over: run `fanlight db sync`.")
    if found.ours != found.head:
        raise CatalogError(
            f"The database is at revision {found.ours}, this release needs {found.head}: run `fanlight db sync`."
        )


def _require_known(found: Version) -> None:
    if found.glance not in (None, GLANCE_HEAD):
        raise CatalogError(
            f"The database has Glance's revision {found.glance}; Fanlight takes over {GLANCE_HEAD}. "
            "Bring it there with `glance-manage db sync` of the Glance that made it, or a later one."
        )
    if found.ours is not None and found.ours not in revisions():
        raise CatalogError(
            f"The database is at revision {found.ours}, which this release does not know: a later one has used it. "
            "Run that one, or go back to the backup from before it."
        )


def revisions() -> list[str]:
    """All that this release knows, oldest first: each is the number that the name of its file begins with.

    Alembic could tell, but most starts find nothing to do, and it takes longer to load than they do altogether.
    """
    return sorted(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _version(connection: Connection) -> Version:
    tables = set(inspect(connection).get_table_names())
    glance = None
    if alembic_version.name in tables:
        found = connection.execute(select(alembic_version.c.version_num)).scalars().all()
        glance = ",".join(sorted(found)) or None
    elif "images" in tables and OUR_VERSION_TABLE not in tables:
        # With that table it is our own making, cut short; it goes on from there.
        glance = "none (no alembic_version table)"
    ours = None
    if OUR_VERSION_TABLE in tables:
        ours = connection.execute(text(f"SELECT version_num FROM {OUR_VERSION_TABLE}")).scalar()  # a constant
    return Version(glance, ours, _head())


def _head() -> str:
    known = revisions()
    if not known:
        raise CatalogError("The migrations of this installation are missing.")
    return known[-1]


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def create_missing(connection: Connection, metadata: MetaData) -> None:
    """Make the tables and indexes of `metadata` that are not there."""
    metadata.create_all(connection)
    inspector = inspect(connection)
    for table in metadata.sorted_tables:
        found = {index["name"] for index in inspector.get_indexes(table.name)}
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            if index.name not in found:
                index.create(connection)


@contextmanager
def _locked(catalog: Catalog) -> Iterator[Connection]:
    """A connection that is the only one to migrate, until the block ends."""
    kind = catalog.engine.dialect.name
    if kind == "sqlite":
        with catalog.write() as connection:
            yield connection
        return
    with catalog.engine.connect() as connection:
        if kind == "mysql":
            got = connection.execute(text(f"SELECT GET_LOCK({_LOCK_NAME}, {_LOCK_SECONDS})"))  # constants
            if got.scalar() != 1:
                raise CatalogError(f"Another node has been migrating the database for {_LOCK_SECONDS} seconds.")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_NUMBER})
        try:
            yield connection
            connection.commit()
        finally:
            if kind == "mysql" and not connection.invalidated:
                connection.execute(text(f"SELECT RELEASE_LOCK({_LOCK_NAME})"))  # a constant
