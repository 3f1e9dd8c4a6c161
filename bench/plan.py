"""Which server runs over which database, in which order: each in turn, alone on the machine, on fresh tables."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from bench import cases, data, machine
from bench.cases import MEMBER, Results, Session
from bench.data import Database
from bench.load import random_file
from bench.servers import Bed, Keystone, MariaDB, Missing, Server

SMALL, LARGE = 1_000, 100_000
GLANCE, FASTEST, FANLIGHT, FLOOR = "glance", "glance tuned", "fanlight", "floor"
MYSQLCLIENT = "mysqlclient"
"""MariaDB through the driver in C, which nobody has who did not install it."""


@dataclass(frozen=True)
class Options:
    """What to measure, and for how long."""

    passes: int
    rounds: int
    """Rounds of each case in each pass."""
    seconds: int
    """Length of a round of small requests."""
    transfers: int
    """Uploads in each pass; downloads are twice as many."""
    size: int
    """Bytes of the image that is sent."""
    storm: float
    """Seconds of listings while 32 uploads and 32 downloads run; 0: not at all."""
    databases: tuple[str, ...]
    contenders: tuple[str, ...]
    groups: tuple[str, ...]
    """Of: small, write, bytes, storm, large, keystone."""
    keystone: str | None


class Run:
    """One whole benchmark over one workspace."""

    def __init__(self, options: Options, bed: Bed) -> None:
        self.options, self.bed, self.results = options, bed, Results()
        self.source = bed.folder / "source"
        self.digest = random_file(self.source, options.size)
        self.started = time.monotonic()

    def run(self) -> Results:
        for number in range(self.options.passes):
            if "sqlite" in self.options.databases:
                self.say(f"pass {number + 1} of {self.options.passes}, sqlite")
                self.on_sqlite(last=number == self.options.passes - 1)
        if "mariadb" in self.options.databases:
            self.guarded("mariadb", self.on_mariadb)
        if "keystone" in self.options.groups:
            self.guarded("keystone", self.with_keystone)
        return self.results

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.started:4.0f} s] {text}", file=sys.stderr, flush=True)

    def guarded(self, what: str, step: Callable[[], None]) -> None:
        """A server that is missing, or answers wrongly, costs its figures and a note, not the run."""
        try:
            step()
        except (Missing, RuntimeError, OSError, ValueError, KeyError) as error:
            self.say(f"{what}: {error}")
            self.results.note(f"{what}: {error}")

    # -- sqlite --------------------------------------------------------------------------------------------------

    def on_sqlite(self, *, last: bool) -> None:
        for contender in self.options.contenders:
            self.guarded(f"sqlite, {contender}", partial(self.small_on_sqlite, contender, last))
            if "large" in self.options.groups and contender != FLOOR:
                self.guarded(f"sqlite, {contender}, large", partial(self.large_on_sqlite, contender))

    def small_on_sqlite(self, contender: str, last: bool) -> None:
        database = self.copied(contender, SMALL)
        with self.started_server(contender, database) as server:
            self.small_cases(self.session("sqlite", contender, server, database), last)
        self.forget_bytes()

    def large_on_sqlite(self, contender: str) -> None:
        database = self.copied(contender, LARGE)
        with self.started_server(contender, database) as server:
            session = self.session("sqlite", contender, server, database)
            cases.listing(session, case="list 100k")
            cases.listing(session, case="list 100k by name", path=cases.BY_NAME)
            if contender != GLANCE:
                cases.listing(session, MEMBER, "list member 100k")
        if contender == GLANCE:
            with self.bed.glance(database, "trusted") as server:
                cases.listing(self.session("sqlite", contender, server, database), MEMBER, "list member 100k")

    def copied(self, contender: str, count: int) -> Database:
        """A fresh copy of the loaded tables, as SQLite's file; the first use makes and loads them."""
        maker = "glance" if contender in (GLANCE, FASTEST) else "fanlight"
        template = self.bed.folder / f"{maker}-{count}.sqlite"
        if not template.exists():
            self.say(f"loads {count:,} images for {maker}")
            database = Database(f"sqlite:///{template}")
            self.make_tables(maker, database)
            data.load(database, count, str(self.bed.folder / "images"))
        live = self.bed.folder / "live.sqlite"
        for leftover in self.bed.folder.glob("live.sqlite*"):
            leftover.unlink()
        shutil.copyfile(template, live)
        if contender == FASTEST:
            with contextlib.closing(sqlite3.connect(live)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("ANALYZE")
                connection.commit()
        return Database(f"sqlite:///{live}")

    def make_tables(self, maker: str, database: Database) -> None:
        if maker == "glance":
            self.bed.glance_tables(database)
        else:
            self.bed.fanlight_tables(database)

    # -- one server ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def started_server(self, contender: str, database: Database) -> Iterator[Server]:
        self.say(f"starts {contender}")
        makers: dict[str, Callable[[], contextlib.AbstractContextManager[Server]]] = {
            GLANCE: lambda: self.bed.glance(database),
            FASTEST: lambda: self.bed.glance(database, "fastest", fastest=True),
            FANLIGHT: lambda: self.bed.fanlight(database),
            FLOOR: lambda: self.bed.floor(database),
        }
        with makers[contender]() as server:
            yield server

    def session(self, kind: str, contender: str, server: Server, tables: Database) -> Session:
        options = self.options
        return Session(
            self.results, kind, contender, server, tables, self.bed.folder, self.source, self.digest,
            options.rounds, options.seconds,
        )  # fmt: skip

    def small_cases(self, session: Session, last: bool) -> None:
        groups, floor = self.options.groups, session.contender == FLOOR
        if "small" in groups:
            cases.show(session)
            cases.listing(session)
        if "small" in groups and last:
            cases.show(session, case="show alone", clients=1)
            cases.listing(session, case="list alone", clients=1)
        if "write" in groups:
            self.disk(session)
            cases.create(session, "create alone", clients=1)
            cases.create(session)
            if not floor:
                cases.change(session)
                cases.delete(session)
        if "bytes" in groups and session.contender != FASTEST and session.database == "sqlite":
            cases.transfers(session, self.options.transfers, download=not floor)
            if floor:
                self.guarded("nginx", lambda: self.sendfile(session))
        if "storm" in groups and last and session.database == "sqlite" and session.contender in (GLANCE, FANLIGHT):
            cases.storm(session, self.options.storm)

    def disk(self, session: Session) -> None:
        """What the disk gives just now, for the figures that wait for it."""
        facts = machine.disk(self.bed.folder, 128 * 2**20, 100)
        session.add("disk write", facts.write)
        session.add("disk fsync", facts.fsync_p50)

    def sendfile(self, session: Session) -> None:
        with self.bed.nginx() as server:
            cases.downloads(session, server, f"/{self.source.name}", 2 * self.options.transfers)

    def forget_bytes(self) -> None:
        """Removes the images that were uploaded, so that the next server finds the disk as this one did."""
        for folder in (self.bed.folder / "images", self.bed.folder / "floor" / "images"):
            for path in folder.glob("*") if folder.exists() else ():
                if path.is_file():
                    path.unlink()

    # -- other databases -----------------------------------------------------------------------------------------

    def on_mariadb(self) -> None:
        with self.bed.mariadb() as mariadb:
            for contender in self.options.contenders:
                if contender != FASTEST:
                    self.guarded(f"mariadb, {contender}", partial(self.one_on_mariadb, mariadb, contender, "mariadb"))
                if contender in (FANLIGHT, FLOOR):
                    run = partial(self.one_on_mariadb, mariadb, contender, MYSQLCLIENT)
                    self.guarded(f"{MYSQLCLIENT}, {contender}", run)

    def one_on_mariadb(self, mariadb: MariaDB, contender: str, kind: str) -> None:
        maker = "glance" if contender == GLANCE else "fanlight"
        small = self.loaded(mariadb, f"{contender}_{kind}_small", maker, SMALL)
        with self.started_server(contender, through(kind, small)) as server:
            self.small_cases(self.session(kind, contender, server, small), last=False)
        if "large" not in self.options.groups or contender == FLOOR:
            return
        large = self.loaded(mariadb, f"{contender}_{kind}_large", maker, LARGE)
        with self.started_server(contender, through(kind, large)) as server:
            cases.listing(self.session(kind, contender, server, large), case="list 100k")

    def loaded(self, mariadb: MariaDB, name: str, maker: str, count: int) -> Database:
        self.say(f"loads {count:,} images into MariaDB for {maker}")
        database = mariadb.create(name)
        self.make_tables(maker, database)
        data.load(database, count, str(self.bed.folder / "images"))
        return database

    def with_keystone(self) -> None:
        if self.options.keystone is None:
            raise Missing("FANLIGHT_TEST_KEYSTONE names no Keystone (its /v3 URL)")
        headers = cases.token(self.options.keystone, "demo", "demo")
        for contender in (GLANCE, FANLIGHT):
            if contender not in self.options.contenders:
                continue
            with self.bed.memcached() as memcached:
                keystone = Keystone(self.options.keystone, memcached.url.removeprefix("http://"))
                self.say(f"starts {contender} behind Keystone")
                database = self.copied(contender, SMALL)
                make = self.bed.glance if contender == GLANCE else self.bed.fanlight
                with make(database, "keystone", keystone=keystone) as server:
                    cases.show(self.session("sqlite", contender, server, database), headers, "show keystone")


def workspace_is_memory(folder: Path) -> bool:
    """Whether the folder lies on tmpfs, where nothing is durable and every write is free."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    inside = [(place, kind) for _, place, kind, *_ in lines if folder.resolve().is_relative_to(place)]
    return max(inside, key=lambda entry: len(entry[0]))[1] == "tmpfs"


__all__ = ["FANLIGHT", "FASTEST", "FLOOR", "GLANCE", "Options", "Run", "workspace_is_memory"]


def through(kind: str, database: Database) -> Database:
    """The same database through the driver of `kind`."""
    if kind != MYSQLCLIENT:
        return database
    if find_spec("MySQLdb") is None:
        raise Missing("mysqlclient is missing: pip install mysqlclient, which wants a compiler and libmariadb-dev")
    return Database(database.url.replace("mysql+pymysql:", "mysql+mysqldb:", 1))
