"""A database that does not let us in is told with its cause, and without the password, by whoever meets it first."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path

import psycopg
import pymysql
import pytest
import sqlalchemy
from sqlalchemy.engine import URL, make_url

from fanlight.catalog import Catalog, engine, make_engine, schema
from fanlight.catalog.diagnosis import refusal
from fanlight.errors import CatalogUnavailable, SettingsError
from tests.bed.databases import SERVERS, needed
from tests.cli.command import fanlight

from .conftest import settings_of

SECRET = "planted-s3cret"
COMMANDS = ["doctor", "db check", "db sync", "serve --port 0"]
DENIED = "The database refuses the user or the password of [database]connection."
NO_DATABASE = "The database server has no database of that name"
UNUSABLE = "a parameter behind the ?, that cannot be used"


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def failed(url: URL | str) -> str:
    """What is said of a database that cannot be used; the password is in none of it."""
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    with pytest.raises((CatalogUnavailable, SettingsError)) as caught:
        schema.version(Catalog(make_engine(settings_of(text))))
    told = str(caught.value)
    assert SECRET not in told
    # What an operator has to change in the URL's form is no matter of the server: all else is 503.
    by_url = told.startswith(("[database]connection", "A file that the URL"))
    assert isinstance(caught.value, SettingsError if by_url else CatalogUnavailable)
    return told


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.services) for name in SERVERS])
def server(request: pytest.FixtureRequest) -> URL:
    """A server's URL, with a database that is there."""
    url = make_url(needed(SERVERS[request.param]))
    if request.param == "mysqlclient":
        url = url.set(drivername="mysql+mysqldb")
    return url.set(database="postgres" if request.param == "postgresql" else "information_schema")


def test_who_is_not_let_in(server: URL) -> None:
    assert failed(server.set(password=SECRET)) == DENIED
    assert failed(server.set(username="nobody", password=SECRET)) == DENIED


def test_no_database_of_that_name(server: URL) -> None:
    assert NO_DATABASE in failed(server.set(database="nosuch"))


def test_no_right_to_the_database(server: URL) -> None:
    admin = sqlalchemy.create_engine(server, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
    name = f"d{uuid.uuid4().hex[:20]}"  # of the user and the database
    if server.get_backend_name() == "postgresql":
        begin = [f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'", f"CREATE DATABASE {name}"]
        begin.append(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        end = [f"DROP DATABASE {name}", f"DROP ROLE {name}"]
    else:
        begin = [f"CREATE USER {name} IDENTIFIED BY '{SECRET}'", f"CREATE DATABASE {name}"]
        end = [f"DROP DATABASE {name}", f"DROP USER {name}"]
    with admin.connect() as connection:
        for statement in begin:
            connection.exec_driver_sql(statement)
        try:
            told = failed(server.set(username=name, password=SECRET, database=name))
        finally:
            for statement in end:
                connection.exec_driver_sql(statement)
    assert told.startswith("The database does not let the user into the database of that name")


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_names_the_cause(tmp_path: Path, server: URL, words: str) -> None:
    url = server.set(password=SECRET).render_as_string(hide_password=False)
    done = fanlight(tmp_path, *words.split(), config={"database": {"connection": url}})
    assert done.code == 1
    assert DENIED in (done.out if words == "doctor" else done.err)
    assert "Traceback" not in done.err
    assert SECRET not in done.out + done.err


def test_a_parameter_that_the_driver_does_not_know(server: URL) -> None:
    assert UNUSABLE in failed(server.set(query={"nonsense": SECRET}))


@pytest.mark.parametrize("kind", ["mysql+pymysql", "postgresql+psycopg"])
def test_a_server_that_is_not_there(kind: str) -> None:
    refused = failed(f"{kind}://os:{SECRET}@127.0.0.1:{unused_port()}/x")
    assert refused == "The database server cannot be reached: connection refused."
    unknown = failed(f"{kind}://os:{SECRET}@no-such-host.invalid/x")
    assert unknown == "The database server cannot be reached: name not known."


@pytest.mark.slow
@pytest.mark.parametrize("words", ["doctor", "serve --port 0"])
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql+pymysql://os:{}@127.0.0.1:1/x?nonsense=1", UNUSABLE),
        ("postgresql://os:{}@127.0.0.1:1/x?nonsense=1", UNUSABLE),
        ("mysql+pymysql://os:{}@127.0.0.1:port/x", "the URL has a port"),
        ("mysql+pymysql://os:{}@127.0.0.1:1", "names no database"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_line(tmp_path: Path, words: str, url: str, told: str) -> None:
    done = fanlight(tmp_path, *words.split(), config={"database": {"connection": url.format(SECRET)}})
    assert done.code == 1
    assert told in (done.out if words == "doctor" else done.err)
    assert "Traceback" not in done.err
    assert SECRET not in done.out + done.err


def test_a_file_of_the_url_that_is_not_there(server: URL) -> None:
    if server.drivername == "mysql+pymysql":
        assert "A file that the URL" in failed(server.set(query={"ssl_ca": "/none/ca.pem"}))


def test_texts_with_values_of_clients_are_not_read() -> None:
    assert refusal(pymysql.err.OperationalError(1366, "Incorrect value: 'Connection refused'")) is None
    assert refusal(psycopg.errors.CheckViolation("Connection refused")) is None
    assert refusal(None) is None


def test_a_read_only_server_is_left_also_where_the_driver_gives_a_state() -> None:
    error = pymysql.err.OperationalError(1290, "running with the --read-only option")
    error.sqlstate = "HY000"
    assert engine._refused(error)
