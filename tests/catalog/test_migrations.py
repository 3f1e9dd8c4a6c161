"""Making and migrating the database: again, at the same time, cut short, from Glance's, and from our older revision.

Glance knows MySQL and SQLite only: what a database of Glance is compared with, or taken over from, is not PostgreSQL.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import event, text

from fanlight.catalog import Catalog, Viewer, images, make_engine, members, open_catalog, schema
from fanlight.catalog.tables import GLANCE_HEAD, METADATA
from fanlight.errors import CatalogError
from tests.bed.databases import Database
from tests.bed.servers import ROOT

from .conftest import OpenCatalog, new_image, settings_of
from .glance import Glance
from .reflection import OUR_INDEXES, OUR_TABLES, layout, ours, without_ours

HEAD = "0002"
WITH_GLANCE = [pytest.param("sqlite"), pytest.param("mariadb", marks=pytest.mark.services)]


@pytest.fixture(params=WITH_GLANCE)
def database_of_glance(request: pytest.FixtureRequest, glance: Path, tmp_path: Path) -> Any:
    """A database that the real Glance made, and that Glance."""
    database = Database(request.param, tmp_path / "glance-made")
    maker = Glance(glance, tmp_path / "glance", database.url, tmp_path / "images")
    maker.manage("db", "sync")
    yield database, maker
    database.drop()


def test_the_names_of_the_files_are_the_chain_that_alembic_follows() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    chain = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert schema.revisions() == chain[::-1]
    assert chain[0] == HEAD


def test_made_from_nothing(unmade: OpenCatalog, database: Database) -> None:
    catalog = unmade()
    assert schema.version(catalog) == (None, None, HEAD)
    with pytest.raises(CatalogError, match="fanlight db sync"):
        schema.require_current(catalog)
    assert schema.sync(catalog) == (GLANCE_HEAD, HEAD, HEAD)
    schema.require_current(catalog)
    found = layout(database.url)
    assert ours(found) == (OUR_TABLES, OUR_INDEXES)
    assert set(without_ours(found)) == set(METADATA.tables)
    with catalog.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [GLANCE_HEAD]


def test_again_changes_nothing(unmade: OpenCatalog, database: Database) -> None:
    catalog = unmade()
    schema.sync(catalog)
    with catalog.write() as connection:
        image = images.insert(connection, new_image(tags=("t",)))
    found = layout(database.url)
    for _ in range(2):
        assert schema.sync(catalog) == (GLANCE_HEAD, HEAD, HEAD)
    assert layout(database.url) == found
    with catalog.read() as connection:
        assert images.fetch_any(connection, image.id).tags == ("t",)


def test_several_processes_at_once(database: Database, folder: Path) -> None:
    config = folder / "glance-api.conf"
    config.write_text(f"[database]\nconnection = {database.url}\n")
    words = [sys.executable, "-m", "fanlight", "db", "sync", "--data-dir", str(folder), "--config-file", str(config)]
    running = [
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(3)
    ]
    said = [process.communicate(timeout=100)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert all(f"revision {HEAD} (Glance: {GLANCE_HEAD})" in one for one in said), said
    assert ours(layout(database.url)) == (OUR_TABLES, OUR_INDEXES)


@pytest.mark.parametrize("survives", [1, 2, 3, 12, 30, 50])
def test_cut_short_and_started_again(unmade: OpenCatalog, database: Database, survives: int) -> None:
    """Where DDL has no transactions, half of the tables stay; the next start makes the rest."""
    catalog = unmade()
    seen = [0]

    class Cut(Exception):
        pass

    def cut(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("CREATE", "ALTER")):
            seen[0] += 1
            if seen[0] > survives:
                raise Cut

    event.listen(catalog.engine, "before_cursor_execute", cut)
    with pytest.raises(Cut):
        schema.sync(catalog)
    event.remove(catalog.engine, "before_cursor_execute", cut)
    assert schema.sync(unmade()) == (GLANCE_HEAD, HEAD, HEAD)
    whole = Database(database.engine, Path(database.url.removeprefix("sqlite:///")).parent / "whole")
    open_catalog(settings_of(whole.url), migrate=True).close()
    assert layout(database.url) == layout(whole.url)
    whole.drop()


@pytest.mark.parametrize("found", ["liberty", "zed_contract01", "2024_1_expand01"])
def test_other_revisions_of_glance_are_refused(unmade: OpenCatalog, database: Database, found: str) -> None:
    catalog = unmade()
    schema.sync(catalog)
    with catalog.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
    for function in (schema.sync, schema.require_current):
        with pytest.raises(CatalogError, match=f"{found}.*glance-manage db sync"):
            function(catalog)


def test_a_revision_of_a_later_release_is_refused(unmade: OpenCatalog) -> None:
    catalog = unmade()
    schema.sync(catalog)
    with catalog.write() as connection:
        connection.execute(text("UPDATE fanlight_alembic_version SET version_num = '9999'"))
    for look in (schema.sync, schema.require_current):
        with pytest.raises(CatalogError, match="9999, which this release does not know"):
            look(catalog)


def test_tables_of_nobody_known_are_refused(unmade: OpenCatalog) -> None:
    catalog = unmade()
    with catalog.write() as connection:
        connection.execute(text("CREATE TABLE images (id VARCHAR(36))"))
    with pytest.raises(CatalogError, match="no alembic_version table"):
        schema.sync(catalog)


# -- beside Glance's own ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_glances_database_gets_only_what_is_ours(database_of_glance: tuple[Database, Glance]) -> None:
    database, maker = database_of_glance
    before = layout(database.url)
    assert ours(before) == (frozenset(), frozenset())
    catalog = open_catalog(settings_of(database.url), migrate=True)
    assert schema.version(catalog) == (GLANCE_HEAD, HEAD, HEAD)
    catalog.close()
    after = layout(database.url)
    assert without_ours(after) == before
    assert ours(after) == (OUR_TABLES, OUR_INDEXES)
    maker.manage("db", "check")
    maker.manage("db", "sync")
    assert layout(database.url) == after


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_our_database_is_glances(database_of_glance: tuple[Database, Glance], glance: Path, tmp_path: Path) -> None:
    """Column by column, with types, defaults, indexes and keys."""
    database, _ = database_of_glance
    own = Database(database.engine, tmp_path / "own")
    open_catalog(settings_of(own.url), migrate=True).close()
    theirs, found = layout(database.url), without_ours(layout(own.url))
    for table, told in theirs.items():
        assert found[table] == told, table
    assert set(found) == set(theirs)
    Glance(glance, tmp_path / "check", own.url, tmp_path / "images").manage("db", "check")
    own.drop()


# -- from an older release -------------------------------------------------------------------------------------------


def test_upgrade_from_revision_0001(tmp_path: Path) -> None:
    """The dump was made by revision 0001, with one image, a deleted one, and a member."""
    file = tmp_path / "old.db"
    connection = sqlite3.connect(file)
    connection.executescript((Path(__file__).parent / "revision-0001.sql").read_text())
    connection.close()
    catalog = Catalog(make_engine(settings_of(f"sqlite:///{file}")))
    assert schema.version(catalog) == (GLANCE_HEAD, "0001", HEAD)
    with pytest.raises(CatalogError, match=r"revision 0001.*needs 0002"):
        schema.require_current(catalog)
    assert schema.sync(catalog) == (GLANCE_HEAD, HEAD, HEAD)
    with catalog.read() as reading:
        image = images.fetch(reading, "3f0c5a7b-1e4c-4f8a-8b4d-6e8f0a1c3e9d", Viewer("friend"))
        assert (image.name, image.size, image.tags, image.properties) == ("old", 5, ("kept",), {"os_distro": "debian"})
        assert image.locations[0].url == "file:///images/old"
        assert [one.status for one in members.list_members(reading, image.id)] == ["accepted"]
    catalog.close()
    new = Database("sqlite", tmp_path / "new")
    open_catalog(settings_of(new.url), migrate=True).close()
    assert layout(f"sqlite:///{file}") == layout(new.url)
    engine = sqlalchemy.create_engine(f"sqlite:///{file}", poolclass=sqlalchemy.NullPool)
    with engine.connect() as reading:
        assert reading.execute(text("PRAGMA integrity_check")).scalar() == "ok"
