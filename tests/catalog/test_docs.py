"""docs/databases.md says what is so: its statements and commands are run."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.engine import make_url

from fanlight.catalog import make_engine, open_catalog
from fanlight.catalog.tables import LIST_INDEXES, OUR_VERSION_TABLE, OURS
from tests.bed.databases import Database, needed
from tests.bed.servers import ROOT

from .conftest import settings_of
from .glance import Glance
from .reflection import layout, ours

PAGE = (ROOT / "docs" / "databases.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    """The fenced block that stands below a mark."""
    found = re.search(rf"<!-- tested: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"docs/databases.md has no block {name}"
    return found[1]


def indented(beginning: str) -> list[str]:
    """Indented lines that begin so."""
    return [line.strip() for line in PAGE.splitlines() if line.startswith("    " + beginning)]


def test_the_addresses_are_addresses() -> None:
    lines = indented("connection = ")
    kinds = [make_engine(settings_of(line.partition(" = ")[2])).dialect.name for line in lines]
    assert kinds == ["sqlite", "mysql", "postgresql"]
    for name in re.findall(r"`((?:mysql|postgresql)\+\w+)`", PAGE):
        engine = make_engine(settings_of(f"{name}://user:word@127.0.0.1/name"))
        assert engine.dialect.driver in ("pymysql", "mysqldb", "psycopg")


def test_what_is_added_is_named() -> None:
    names = {*OURS.tables, OUR_VERSION_TABLE, *(name for name, _, _ in LIST_INDEXES)}
    assert set(re.findall(r"`(fanlight_\w+)`", PAGE)) == names


@pytest.mark.services
@pytest.mark.parametrize("engine", ["mariadb", "postgresql"])
def test_a_database_is_made_as_told(engine: str) -> None:
    """By an administrator, then used by the account that was made."""
    server = make_url(needed(f"FANLIGHT_TEST_{engine.upper()}"))
    name = f"docs{uuid.uuid4().hex[:12]}"
    script = block(engine).replace("fanlight", name)
    administrator = sqlalchemy.create_engine(
        server.set(database="postgres" if engine == "postgresql" else None),
        poolclass=sqlalchemy.NullPool,
        isolation_level="AUTOCOMMIT",
    )

    def run(statements: str) -> None:
        with administrator.connect() as connection:
            for statement in filter(None, (part.strip() for part in statements.split(";"))):
                connection.exec_driver_sql(statement.replace("%", "%%") if engine == "mariadb" else statement)

    run(script)
    try:
        url = server.set(username=name, password="SECRET", database=name)
        open_catalog(settings_of(url.render_as_string(hide_password=False)), migrate=True).close()
    finally:
        run(f"DROP DATABASE {name}; DROP USER {name}" + ("@'%'" if engine == "mariadb" else ""))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_commands_run(tmp_path: Path) -> None:
    config = tmp_path / "glance-api.conf"
    config.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/it.db\n[fanlight]\ndata_dir = {tmp_path}\n")
    commands = indented("fanlight db ")
    assert len(commands) == 6
    for command in commands:
        words = shlex.split(command.replace("glance-api.conf", str(config)))[1:]
        done = subprocess.run(
            [sys.executable, "-m", "fanlight", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip(), command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A SQLite database of ours."""
    database = Database("sqlite", tmp_path)
    open_catalog(settings_of(database.url), migrate=True).close()
    return Path(database.url.removeprefix("sqlite:///"))


def test_what_was_added_can_go(file: Path, glance: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(file)
    connection.executescript(block("remove"))
    for name, _, _ in LIST_INDEXES:
        connection.execute(f"DROP INDEX {name}")
    connection.close()
    url = f"sqlite:///{file}"
    assert ours(layout(url)) == (frozenset(), frozenset())
    Glance(glance, tmp_path / "glance", url, tmp_path / "images").manage("db", "check")
    # And back: what is missing is made again.
    catalog = open_catalog(settings_of(url), migrate=True)
    catalog.close()
    assert len(ours(layout(url))[1]) == len(LIST_INDEXES)


def test_the_backup_of_sqlite_is_whole(file: Path, tmp_path: Path) -> None:
    found = re.search(r'"(VACUUM INTO .*)"', block("sqlite backup"))
    assert found
    copy = tmp_path / "copy.db"
    connection = sqlite3.connect(file)
    connection.execute(found[1].replace("/var/backups/fanlight.db", str(copy)))
    connection.close()
    assert layout(f"sqlite:///{copy}") == layout(f"sqlite:///{file}")


@pytest.mark.services
@pytest.mark.parametrize(("engine", "file"), [("mariadb", "fanlight.sql"), ("postgresql", "fanlight.dump")])
def test_the_dumps(engine: str, file: str, tmp_path: Path) -> None:
    """Each client finds the server and the account by itself, as an operator's does."""
    database = Database(engine, tmp_path)
    open_catalog(settings_of(database.url), migrate=True).close()
    url = make_url(database.url)
    command = re.sub(r"(?<= )fanlight\b(?=[ \n])", str(url.database), block(f"{engine} dump").removeprefix("$ "))
    (tmp_path / ".my.cnf").write_text(
        f"[client]\nhost = {url.host}\nport = {url.port}\nuser = {url.username}\npassword = {url.password}\n"
    )
    login = {"PGHOST": str(url.host), "PGPORT": str(url.port), "PGUSER": str(url.username), "PGPASSWORD": "os"}
    found = {**os.environ, **login, "HOME": str(tmp_path)}
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, env=found, check=True, timeout=60)
    dump = (tmp_path / file).read_bytes()
    assert len(dump) > 1000
    assert b"fanlight_leases" in dump
    database.drop()
