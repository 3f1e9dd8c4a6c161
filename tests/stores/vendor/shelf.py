"""Images in one SQLite file: a store for Fanlight that lies outside of its tree. Type `shelf`, URLs `shelf:///<id>`."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import Self

from msgspec import Struct

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectExists,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnreachable,
)
from fanlight.stores.driver import Added, Context, Opened, Option, Source, Store, Traits

TABLES = """
CREATE TABLE IF NOT EXISTS things (id TEXT PRIMARY KEY, size INTEGER, owner TEXT, readers TEXT);
CREATE TABLE IF NOT EXISTS boxes (id TEXT, number INTEGER, bytes BLOB, PRIMARY KEY (id, number));
"""
MEANINGS = {
    "SQLITE_FULL": StoreFull,
    "SQLITE_READONLY": StoreDenied,
    "SQLITE_PERM": StoreDenied,
    "SQLITE_CANTOPEN": StoreUnreachable,
    "SQLITE_BUSY": StoreUnreachable,
}


class Address(Struct, frozen=True):
    """Where an object is: under which id. The file is the configuration's."""

    object_id: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises MalformedLocation."""
        scheme, separator, object_id = url.partition(":///")
        if scheme != "shelf" or not separator or not object_id or "/" in object_id:
            raise MalformedLocation
        return cls(object_id)

    @property
    def url(self) -> str:
        return f"shelf:///{self.object_id}"


class Shelf(Store):
    """An object is a row of `things`, and its bytes are rows of `boxes`; without a size it is not whole yet."""

    schemes = ("shelf",)
    traits = Traits(acls=True)
    declares = (Option(name="shelf_file"), Option(name="shelf_box", kind="whole", default=1 << 20))

    def configure(self) -> None:
        """Check the options."""
        self._file, self._box = self.options["shelf_file"], self.options["shelf_box"]
        if not self._file or "\0" in self._file or self._box < 1:
            raise BadStoreConfiguration("shelf_file must be the path of a file, and shelf_box at least 1.")

    def configure_add(self) -> None:
        """Make the file, and the tables in it."""
        try:
            with self._connection() as connection:
                connection.executescript(TABLES)
        except StoreUnreachable as error:
            raise BadStoreConfiguration(f"shelf_file {self._file} cannot be made: {error}") from error

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """Boxes are fetched one by one."""
        object_id = Address.parse(url).object_id
        rest = self.get_size(url) - offset
        if rest < 0 or (length is not None and length > rest):
            raise RangeNotSatisfiable
        wanted = rest if length is None else length
        return Opened(wanted, self._blocks(object_id, offset, offset + wanted), lambda: None)

    def get_size(self, url: str, context: Context | None = None) -> int:
        """From its row."""
        with self._connection() as connection:
            query = "SELECT size FROM things WHERE id = ? AND size IS NOT NULL"
            row = connection.execute(query, (Address.parse(url).object_id,)).fetchone()
        if row is None:
            raise ObjectNotFound
        return int(row[0])

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        """The row first, which takes the name; then box by box; then the size, which makes it whole."""
        owner = context.project_id if context else None
        try:
            self._write("INSERT INTO things (id, owner) VALUES (?, ?)", object_id, owner)
        except sqlite3.IntegrityError:
            raise ObjectExists from None
        try:
            number = place = 0
            while len(block := self._full_box(source)):
                self._write("INSERT INTO boxes VALUES (?, ?, ?)", object_id, number, block)
                number, place = number + 1, place + len(block)
            self._write("UPDATE things SET size = ? WHERE id = ?", place, object_id)
        except BaseException:
            self.discard(object_id)
            raise
        return Added(Address(object_id).url, place)

    def delete(self, url: str, context: Context | None = None) -> None:
        """Row and boxes."""
        self.get_size(url)
        self.discard(Address.parse(url).object_id)

    def discard(self, object_id: str) -> None:
        """The row last: while it is there, nobody else takes the name."""
        for table in ("boxes", "things"):
            self._write(f"DELETE FROM {table} WHERE id = ?", object_id)

    def planned_url(self, object_id: str) -> str:
        """Always known."""
        return Address(object_id).url

    def set_acls(
        self,
        url: str,
        public: bool,
        readers: Collection[str],
        writers: Collection[str],
        context: Context | None = None,
    ) -> None:
        """Written down beside the object."""
        self.get_size(url)
        text = "everybody" if public else ",".join(readers)
        self._write("UPDATE things SET readers = ? WHERE id = ?", text, Address.parse(url).object_id)

    def check(self) -> str:
        """How much there is."""
        with self._connection() as connection:
            return f"{connection.execute('SELECT count(*) FROM things').fetchone()[0]} objects in {self._file}"

    def _full_box(self, source: Source) -> bytes:
        box = bytearray()
        while len(box) < self._box and len(block := source.read(self._box - len(box))):
            box += block
        return bytes(box)

    def _blocks(self, object_id: str, place: int, end: int) -> Iterator[bytes]:
        query = "SELECT bytes FROM boxes WHERE id = ? AND number = ?"
        while place < end:
            number, inside = divmod(place, self._box)
            with self._connection() as connection:
                row = connection.execute(query, (object_id, number)).fetchone()
            if row is None:
                raise StoreError("A box is missing.")
            block = row[0][inside : inside + end - place]
            place += len(block)
            yield block

    def _write(self, statement: str, *values: object) -> None:
        with self._connection() as connection:
            connection.execute(statement, values)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """One for each step. What SQLite says of it is said again in our words."""
        try:
            with closing(sqlite3.connect(self._file, timeout=30, isolation_level=None)) as connection:
                yield connection
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            raise MEANINGS.get(name, StoreError)(f"SQLite: {error}") from error
