"""Connections to the database, transactions, and what its exceptions mean. Everything of the catalogue runs in here.

SQLite: write-ahead log, every commit synced. One writer at a time is SQLite's own rule; the others would poll for their
turn with growing pauses, so writers queue on a lock file beside the database instead and go on at once.
MariaDB and PostgreSQL: a read transaction sees one state; an operation that reads before it writes takes the row's lock
with its first statement.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InvalidatePoolError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from fanlight.catalog.diagnosis import connect_in_words, not_understood, refusal, require_database
from fanlight.catalog.questions import OPERATION, Unanswered
from fanlight.errors import CatalogConflict, CatalogError, CatalogUnavailable, SettingsError

LOG = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

TRIES = 8
"""How often an operation is run at most when other transactions are in its way."""
PATIENCE = 20.0
"""Seconds after which it is not run again; one try may wait long for a lock by itself."""
PING_AFTER = 1.0
"""Seconds of rest after which a connection is asked whether it still lives, before it is used."""

ANSWER_SECONDS = 60
"""A MySQL or MariaDB that says nothing for so long is given up: longer than it lets a transaction wait for a lock."""

_MYSQL_CONFLICTS = frozenset({1205, 1213, 1020})
_MYSQL_LOST = frozenset({2002, 2003, 2006, 2013, 2055, 1927})
_MYSQL_REFUSED = frozenset({1040, 1047, 1053, 1203, 1290, 1836})
"""Too many connections, a Galera node without quorum, shutting down, or read-only: another connection may be better."""
_MYSQL_PLANS = (
    "SET SESSION optimizer_switch = CONCAT('index_merge_intersection=off' /*M! , ',exists_to_in=off' */), "
    "eq_range_index_dive_limit = 10"
)
"""Left alone, MariaDB and MySQL find a page of a list by intersecting the indexes of `deleted` and `os_hidden`, and
MariaDB by gathering all images with a tag: both read and sort all there are. The second part is MariaDB's alone. And
for the properties, tags and locations of a page they would look up each of its ids twice more, only to count."""
_MYSQL_FULL = frozenset({1021, 1114})
_POSTGRES_FULL = "53100"
_POSTGRES_CONFLICTS = frozenset({"40001", "40P01", "55P03"})
_POSTGRES_REFUSED = frozenset({"53300", "25006"})
"""Too many connections, or read-only. 57P and 08 (shutting down, connection) are looked at by their beginning."""


_SQLITE_TROUBLES = {
    "file is not a database": "The file that is to be the database is no SQLite database: name another in "
    "[database]connection (or another data folder), or move this one away.",
    "unable to open database file": "The file of the database cannot be opened: look at [database]connection, and "
    "let us read and write the file and its folder.",
    "attempt to write a readonly database": "The file of the database cannot be written: let us write it and its "
    "folder.",
}
"""What SQLite says -> what is to be done."""


class DatabaseSettings(Protocol):
    """The options of `[database]` that matter here."""

    @property
    def connection(self) -> str: ...
    @property
    def max_pool_size(self) -> int: ...
    @property
    def max_overflow(self) -> int: ...
    @property
    def pool_timeout(self) -> float | None: ...
    @property
    def connection_recycle_time(self) -> int: ...
    @property
    def mysql_sql_mode(self) -> str | None: ...


class Catalog:
    """The metadata database of one process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        path = engine.url.database if engine.dialect.name == "sqlite" else None
        self._writers = _WriterQueue(path + "-writers") if path else None
        # MariaDB reads one state in a transaction by default; PostgreSQL when asked, at no cost.
        postgres = engine.dialect.name == "postgresql"
        self._reader = engine.execution_options(isolation_level="REPEATABLE READ") if postgres else engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One read transaction: whatever is read in the block belongs to one state of the database."""
        with translated(ConnectionLost), self._reader.connect() as connection:
            if self._writers is None:
                yield connection
                return
            raw = connection.connection.driver_connection
            assert raw is not None  # it was just checked out
            raw.execute("BEGIN")
            try:
                yield connection
            finally:
                if raw.in_transaction:  # after some errors SQLite has rolled back by itself
                    raw.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One write transaction: committed and durable when the block ends, rolled back when it raises.

        Raises ConnectionLost when nothing of it can have stayed, and CatalogUnavailable when the connection broke
        during COMMIT: then nobody knows.
        """
        with translated(ConnectionLost):
            if self._writers is None:
                with self.engine.connect() as connection:
                    OPERATION.writing = True
                    try:
                        yield connection
                    finally:
                        OPERATION.writing = False
                    with translated(CatalogUnavailable):
                        connection.commit()
            else:
                with self._writers, self.engine.connect() as connection:
                    raw: Any = connection.connection.driver_connection
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    OPERATION.writing = True
                    try:
                        yield connection
                        connection.exec_driver_sql("COMMIT")
                    finally:
                        OPERATION.writing = False
                        if raw.in_transaction:  # also after a COMMIT that failed: the disk may be full
                            raw.rollback()

    def is_missing_file(self) -> bool:
        """Whether this is a SQLite file that does not exist yet."""
        return self._writers is not None and not os.path.exists(str(self.engine.url.database))

    def describe(self) -> str:
        """Kind and version of the database. Raises CatalogUnavailable."""
        with translated(), self.engine.connect() as connection:
            numbers = connection.dialect.server_version_info or ()
        return f"{self.engine.dialect.name} {'.'.join(str(number) for number in numbers)}"

    def close(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()


class _WriterQueue:
    """Whose turn it is to write to a SQLite file, over all threads and processes; `flock` wakes the next at once."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._file: int | None = None
        self._pid = 0

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if self._file is None or self._pid != os.getpid():
                # A lock is the open file's: a child must not share its parent's, nor keep it from ending with it.
                if self._file is not None:
                    os.close(self._file)
                try:
                    self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                except OSError as error:
                    self._file = None
                    raise CatalogUnavailable(f"{self._path} cannot be written: {error.strerror}.") from error
                self._pid = os.getpid()
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *exc: object) -> None:
        assert self._file is not None  # __enter__ has opened it
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()


def make_engine(settings: DatabaseSettings, *, patient: bool = False) -> Engine:
    """The engine that `settings.connection` names. Raises SettingsError for a URL that names none we have.

    `patient`: statements may take however long, as those of migrations do; else a server that says nothing for
    `ANSWER_SECONDS` is given up.
    """
    try:
        url = _our_driver(make_url(settings.connection))
        if url.get_backend_name() == "sqlite":
            return _sqlite_engine(url, settings)
        return _server_engine(url, settings, patient)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        # The URL holds a password: tell only what kind of trouble it was.
        raise SettingsError(
            f"[database]connection names no usable database ({type(error).__name__}): it must be sqlite:/// and a "
            "file, or begin with mysql:// or postgresql://."
        ) from None
    except (TypeError, ValueError) as error:
        raise SettingsError(not_understood(error)) from None


def _our_driver(url: URL) -> URL:
    """Any spelling of MySQL and PostgreSQL that a Glance configuration may have, on a driver that is there.

    mysqlclient is twice as fast as PyMySQL, and has to be compiled where it is installed: so those who ask for it and
    have it get it.
    """
    kind = url.get_backend_name()
    if kind in ("mysql", "mariadb"):
        in_c = url.drivername.partition("+")[2] in ("", "mysqldb") and find_spec("MySQLdb") is not None
        return url.set(drivername="mysql+mysqldb" if in_c else "mysql+pymysql")
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if kind != "sqlite" or url.database in (None, "", ":memory:"):
        raise ArgumentError(kind)
    return url.set(drivername="sqlite")


def _sqlite_engine(url: URL, settings: DatabaseSettings) -> Engine:
    # Transactions are begun by hand (BEGIN IMMEDIATE); the driver must not begin its own.
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=max(settings.max_pool_size, 16),
        max_overflow=settings.max_overflow,
        pool_use_lifo=True,  # the one used last has its pages at hand
        connect_args={"check_same_thread": False, "timeout": 30},
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-16384")
        cursor.close()

    return engine


def _server_engine(url: URL, settings: DatabaseSettings, patient: bool) -> Engine:
    arguments: dict[str, Any] = {"connect_timeout": 10}
    options: dict[str, Any] = {}
    if url.get_backend_name() == "mysql":
        require_database(url)
        # Its own default, which a server may have been given another.
        options["isolation_level"] = "REPEATABLE READ"
        if settings.mysql_sql_mode:
            arguments["sql_mode"] = settings.mysql_sql_mode
        arguments["init_command"] = _MYSQL_PLANS
        if not patient:
            arguments |= {"read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS}
    else:
        # libpq waits for an answer however long, but finds out that the other machine is gone.
        arguments |= {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
        arguments["tcp_user_timeout"] = ANSWER_SECONDS * 1000
    engine = create_engine(
        url,
        pool_size=settings.max_pool_size,
        max_overflow=settings.max_overflow,
        pool_use_lifo=True,
        pool_timeout=settings.pool_timeout or 30,
        pool_recycle=settings.connection_recycle_time,
        connect_args=arguments,
        **options,
    )
    connect_in_words(engine)
    _ping_after_rest(engine)

    @event.listens_for(engine, "handle_error")
    def leave(context: ExceptionContext) -> None:
        # A server that shuts down, or became somebody's replica, is of no use: the next connection finds the new one.
        if _refused(context.original_exception):
            context.is_disconnect = True

    return engine


def _ping_after_rest(engine: Engine) -> None:
    """Notice connections that died at rest (server restarted, `wait_timeout`, firewall) before a request does.

    A connection that was in use a moment ago is not asked: that would be one more round trip for every request.
    """
    dialect = engine.dialect
    refusal: type[Exception] = dialect.loaded_dbapi.Error

    @event.listens_for(engine, "checkin")
    def rest(connection: object, record: ConnectionPoolEntry) -> None:
        if connection is not None:
            record.info["rests since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def wake(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        since = record.info.get("rests since")
        if since is not None and time.monotonic() - since > PING_AFTER:
            try:
                dialect.do_ping(connection)
            except refusal as error:
                raise InvalidatePoolError from error


class ConnectionLost(CatalogUnavailable):
    """The connection broke before COMMIT was sent: nothing of the transaction has stayed, and a new one may work."""


@contextmanager
def translated(lost: type[CatalogUnavailable] = CatalogUnavailable) -> Iterator[None]:
    """Turn the database's exceptions into ours; their texts, which may hold values, stay in the cause.

    `lost` is raised for a connection that was there and broke.
    """
    try:
        yield
    except PoolTimeout as error:
        raise CatalogUnavailable("All database connections are in use.") from error
    except DBAPIError as error:
        raise _translation(error, lost) from error
    except SQLAlchemyError as error:
        raise CatalogError(f"The database refused the operation ({type(error).__name__}).") from error


def _translation(error: DBAPIError, lost: type[CatalogUnavailable]) -> CatalogError:
    number = _mysql_number(error.orig)
    state = getattr(error.orig, "sqlstate", None)
    if number in _MYSQL_CONFLICTS or state in _POSTGRES_CONFLICTS or "database is locked" in str(error.orig):
        return CatalogConflict()
    told = refusal(error.orig) if isinstance(error, OperationalError) else None
    if error.connection_invalidated:
        return lost(told)
    if told or number in _MYSQL_LOST or _refused(error.orig):
        return CatalogUnavailable(told)
    if number in _MYSQL_FULL or state == _POSTGRES_FULL or "database or disk is full" in str(error.orig):
        return CatalogUnavailable("The disk of the database is full.")
    for words, advice in _SQLITE_TROUBLES.items():
        if words in str(error.orig):
            return CatalogError(advice)
    if isinstance(error, OperationalError) and state is None and "connect" in str(error.orig).lower():
        return CatalogUnavailable()
    return CatalogError(f"The database refused the operation ({type(error.orig).__name__}).")


def _mysql_number(error: BaseException | None) -> object:
    return error.args[0] if error is not None and error.args else None


def _refused(error: BaseException | None) -> bool:
    """Whether it is the server that will not, whatever it is asked."""
    if _mysql_number(error) in _MYSQL_REFUSED:  # PyMySQL gives a state beside the number, which says less
        return True
    state = getattr(error, "sqlstate", None)
    return state is not None and (state in _POSTGRES_REFUSED or state.startswith(("57P", "08")))


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """Run an operation again when its transaction was rolled back because of another (CatalogConflict), or because
    somebody else had to be asked something first (questions.py).

    For functions that have no effect but one transaction. A lost connection is tried once more with a new one, but
    only if it was lost before COMMIT: what comes after may have happened, and its CatalogUnavailable is raised.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        begun = time.monotonic()
        lost = False
        before, attempt = OPERATION.known, 1
        OPERATION.known = {} if before is None else before
        try:
            while True:
                try:
                    return function(*args, **kwargs)
                except Unanswered as question:
                    OPERATION.known[question.key] = question.ask()
                except ConnectionLost:
                    if lost:
                        raise
                    lost = True
                except CatalogConflict:
                    if attempt == TRIES or time.monotonic() - begun > PATIENCE:
                        raise
                    # Longer and more random each time, so that those in each other's way part.
                    time.sleep(random.uniform(0, 0.01 * 2**attempt))  # no secret
                    attempt += 1
        finally:
            OPERATION.known = before

    return run
