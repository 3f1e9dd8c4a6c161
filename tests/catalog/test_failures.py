"""What becomes of a transaction whose connection, lock or server goes: repeated where that is safe, else an error.

Connections are ended as an administrator does, from another session: KILL, pg_terminate_backend. A server that goes
away is a relay in front of the real one, which can refuse, cut and come back.
"""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from msgspec.structs import replace
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from fanlight.catalog import Catalog, Viewer, engine, images, open_catalog, retried, schema
from fanlight.catalog.engine import ConnectionLost
from fanlight.errors import CatalogConflict, CatalogError, CatalogUnavailable, ImageNotFound
from fanlight.model import Image
from fanlight.settings import DatabaseSettings
from tests.bed.databases import Database
from tests.stores.faults import silent_port

from .conftest import empty, new_image, settings_of

SERVERS = ("mariadb", "mysqlclient", "postgresql")


def number_of(catalog: Catalog, connection: Connection) -> int:
    """The server's number of a connection."""
    ask = "SELECT connection_id()" if catalog.engine.dialect.name == "mysql" else "SELECT pg_backend_pid()"
    return int(connection.execute(text(ask)).scalar_one())


def kill(catalog: Catalog, connection: Connection) -> None:
    end(catalog, number_of(catalog, connection))


def end(catalog: Catalog, number: int) -> None:
    """End a connection from another session, and wait until the server has."""
    mysql = catalog.engine.dialect.name == "mysql"
    there = "FROM information_schema.processlist WHERE id" if mysql else "FROM pg_stat_activity WHERE pid"
    other = sqlalchemy.create_engine(catalog.engine.url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
    with other.connect() as session:
        session.execute(text(f"KILL {number}" if mysql else f"SELECT pg_terminate_backend({number})"))
        while session.execute(text(f"SELECT count(*) {there} = {number}")).scalar():
            time.sleep(0.01)


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.services) for name in SERVERS])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """A catalogue on a server: SQLite has no connections that could be lost."""
    database = Database(request.param, tmp_path_factory.mktemp("served"))
    catalog = open_catalog(settings_of(database.url), migrate=True)
    yield catalog
    catalog.close()
    database.drop()


@pytest.fixture
def remote(served: Catalog) -> Iterator[Catalog]:
    yield served
    empty(served)


def put(catalog: Catalog, **fields: Any) -> Image:
    with catalog.write() as connection:
        return images.insert(connection, new_image(**fields))


def count(catalog: Catalog) -> int:
    with catalog.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM images")).scalar_one())


def test_a_connection_lost_before_commit_is_tried_once_more(remote: Catalog) -> None:
    runs = []

    @retried
    def insert() -> Image:
        runs.append(1)
        with remote.write() as connection:
            image = images.insert(connection, new_image())
            if len(runs) == 1:
                kill(remote, connection)
                connection.execute(text("SELECT 1"))
            return image

    image = insert()
    assert len(runs) == 2
    assert count(remote) == 1
    with remote.read() as connection:
        assert images.fetch_any(connection, image.id).id == image.id


def test_a_connection_lost_again_is_an_error(remote: Catalog) -> None:
    runs = []

    @retried
    def insert() -> None:
        runs.append(1)
        with remote.write() as connection:
            images.insert(connection, new_image())
            kill(remote, connection)
            connection.execute(text("SELECT 1"))

    with pytest.raises(CatalogUnavailable):
        insert()
    assert len(runs) == 2
    assert count(remote) == 0


def test_a_connection_lost_during_commit_is_not_tried_again(remote: Catalog) -> None:
    """It may have happened: here it has not, but nobody can tell."""
    runs = []

    @retried
    def insert() -> None:
        runs.append(1)
        with remote.write() as connection:
            images.insert(connection, new_image())
            kill(remote, connection)

    with pytest.raises(CatalogUnavailable) as caught:
        insert()
    assert not isinstance(caught.value, ConnectionLost)
    assert len(runs) == 1
    assert count(remote) == 0


def test_one_lost_connection_costs_one_read_at_most(remote: Catalog) -> None:
    image = put(remote)

    def read(*, lost: bool) -> str:
        with remote.read() as connection:
            if lost:
                kill(remote, connection)
            return images.fetch_any(connection, image.id).id

    with pytest.raises(CatalogUnavailable):
        read(lost=True)
    assert {read(lost=False) for _ in range(10)} == {image.id}


def test_connections_that_died_at_rest_are_no_error(remote: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restarted server, `wait_timeout`, a firewall: nobody who asks gets to know."""
    image = put(remote)
    monkeypatch.setattr(engine, "PING_AFTER", -1.0)
    connections = [remote.engine.connect() for _ in range(3)]
    numbers = [number_of(remote, connection) for connection in connections]
    for connection in connections:
        connection.close()
    for number in numbers:
        end(remote, number)
    for _ in range(5):
        with remote.read() as reading:
            assert images.fetch_any(reading, image.id).id == image.id
        with remote.write() as writing:
            assert images.set_status(writing, image.id, ("queued",), "queued")


def test_a_connection_in_use_is_not_asked(remote: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ping would be a round trip of every request."""
    asked: list[object] = []
    monkeypatch.setattr(remote.engine.dialect, "do_ping", asked.append)
    monkeypatch.setattr(engine, "PING_AFTER", 60.0)
    for _ in range(20):
        count(remote)
    assert asked == []
    monkeypatch.setattr(engine, "PING_AFTER", -1.0)
    count(remote)
    assert len(asked) == 1


def test_a_deadlock_is_run_again(remote: Catalog) -> None:
    """Two transactions lock two images in opposite orders; both take effect."""
    one, two = put(remote, name="0"), put(remote, name="0")
    barrier = threading.Barrier(2)
    runs: list[str] = []
    failures: list[BaseException] = []

    @retried
    def change(first: Image, second: Image) -> None:
        runs.append(first.id)
        early = len(runs) <= 2
        with remote.write() as connection:
            for image in (first, second):
                before = images.fetch_any(connection, image.id, lock=True)
                if image is first and early:
                    barrier.wait(20)
                images.save(connection, before, replace(before, name=str(int(before.name or "") + 1)))

    def run(*pair: Image) -> None:
        try:
            change(*pair)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in ((one, two), (two, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    with remote.read() as connection:
        assert [images.fetch_any(connection, image.id).name for image in (one, two)] == ["2", "2"]
    assert len(runs) >= 3


def test_conflicts_are_not_repeated_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    @retried
    def conflict() -> None:
        runs.append(1)
        raise CatalogConflict

    with pytest.raises(CatalogConflict):
        conflict()
    assert len(runs) == engine.TRIES
    monkeypatch.setattr(engine, "PATIENCE", -1.0)
    runs.clear()
    with pytest.raises(CatalogConflict):
        conflict()
    assert len(runs) == 1


def test_what_is_no_trouble_of_the_database_is_raised_as_it_is(catalog: Catalog) -> None:
    runs = []

    @retried
    def fail() -> None:
        runs.append(1)
        with catalog.write() as connection:
            images.fetch_any(connection, "none")

    with pytest.raises(ImageNotFound):
        fail()
    assert len(runs) == 1
    with pytest.raises(CatalogError) as caught, catalog.read() as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))
    assert "nowhere" not in str(caught.value)


# -- the server goes and comes back ----------------------------------------------------------------------------------


class Relay:
    """Passes connections on to a server, until it is told to refuse them."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._pairs: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.up()

    def up(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(50)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self) -> None:
        """Refuse new connections and cut those that are open."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        for one in self._pairs:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(self._target, 10)
            except OSError:
                return
            self._pairs += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
    source.close()


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.services) for name in SERVERS])
def behind_relay(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Catalog, Relay]]:
    database = Database(request.param, tmp_path)
    url = make_url(database.url)
    relay = Relay(url.host or "", url.port or 0)
    through = url.set(port=relay.port).render_as_string(hide_password=False)
    catalog = open_catalog(settings_of(through), migrate=True)
    yield catalog, relay
    catalog.close()
    relay.down()
    database.drop()


def test_a_server_that_is_down(behind_relay: tuple[Catalog, Relay]) -> None:
    catalog, relay = behind_relay
    image = put(catalog)
    relay.down()

    @retried
    def write() -> None:
        with catalog.write() as connection:
            images.set_status(connection, image.id, ("queued",), "queued")

    def read() -> None:
        with catalog.read() as connection:
            images.fetch(connection, image.id, Viewer("p"))

    functions: tuple[Callable[[], object], ...] = (read, write, lambda: schema.version(catalog), catalog.describe)
    for function in functions * 3:
        with pytest.raises(CatalogUnavailable):
            function()
    relay.up()
    for function in functions * 3:
        function()


def test_a_server_that_restarts_at_rest(behind_relay: tuple[Catalog, Relay], monkeypatch: pytest.MonkeyPatch) -> None:
    """All pooled connections are dead, and nobody has noticed."""
    catalog, relay = behind_relay
    image = put(catalog)
    relay.down()
    relay.up()
    monkeypatch.setattr(engine, "PING_AFTER", -1.0)
    with catalog.read() as connection:
        assert images.fetch(connection, image.id, Viewer("p")).id == image.id


def test_a_database_that_cannot_be_reached_at_start() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        for url in (f"mysql+pymysql://a:b@127.0.0.1:{port}/x", f"postgresql://a:b@127.0.0.1:{port}/x"):
            with pytest.raises(CatalogUnavailable):
                open_catalog(settings_of(url), migrate=True)


# -- SQLite ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Catalog]:
    catalog = open_catalog(settings_of(Database("sqlite", tmp_path).url), migrate=True)
    yield catalog
    catalog.close()


def test_a_commit_that_fails_leaves_no_transaction_behind(file: Catalog) -> None:
    """The disk is full: later, with room again, the same connection works."""
    with file.engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar()

    def fill() -> None:
        with file.write() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            for _ in range(50):
                images.insert(connection, new_image(properties={"p": "x" * 60_000}))

    with pytest.raises(CatalogError):
        fill()
    with file.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    image = put(file)
    assert count(file) == 1
    with file.read() as connection:
        assert images.fetch_any(connection, image.id).id == image.id


def test_another_program_that_writes_is_waited_for(file: Catalog) -> None:
    """Glance, or an administrator with sqlite3, knows nothing of our queue of writers."""
    other = sqlite3.connect(str(file.engine.url.database), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    timer.start()
    put(file)
    timer.join()
    other.close()
    assert count(file) == 1


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["pymysql", "mysqldb"])
def test_a_server_that_takes_connections_and_says_nothing(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a command that will work for hours does not wait for one."""
    monkeypatch.setattr(engine, "ANSWER_SECONDS", 1)
    with silent_port() as port:
        settings = DatabaseSettings(connection=f"mysql+{driver}://u:p@127.0.0.1:{port}/glance")
        for migrate in (False, True):
            begun = time.monotonic()
            with pytest.raises(CatalogUnavailable):
                open_catalog(settings, migrate=migrate)
            assert time.monotonic() - begun < 15
