"""The images every server is measured with: made from a seed, written by bulk SQL in Glance's table layout.

The same rows go to Glance's database and to Fanlight's; neither service takes part, so a hundred thousand
images take seconds, and no server gets a table that its own writes have arranged.
"""

from __future__ import annotations

import datetime
import random
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pymysql

MEMBER_PROJECT = "9d3f0c5a7b1e4c6f8a2b4d6e8f0a1c3e"
"""The project of the member whose lists are measured: owns 1 % of the images, is given 1 % by others."""
OWNERS = 100
FIRST = datetime.datetime(2025, 1, 1)
MIX = ("private", "private", "private", "private", "private", "private", "shared", "shared", "public", "community")
"""Visibility of image n is `MIX[n % 10]`: a private cloud with a small public catalogue."""

COLUMNS = {
    "images": "id name disk_format container_format size virtual_size status visibility checksum os_hash_algo "
    "os_hash_value min_disk min_ram owner protected os_hidden created_at updated_at deleted_at deleted",
    "image_properties": "image_id name value created_at updated_at deleted_at deleted",
    "image_tags": "image_id value created_at updated_at deleted_at deleted",
    "image_locations": "image_id value meta_data status created_at updated_at deleted_at deleted",
    "image_members": "image_id member can_share status created_at updated_at deleted_at deleted",
}
BATCH = 2000


class Database(NamedTuple):
    """A database that a server already made its tables in. `url` is SQLAlchemy's form, sqlite or mysql+pymysql."""

    url: str

    def connect(self) -> Any:
        """A plain DB-API connection, `%s`/`?` as its driver wants it."""
        parts = urlsplit(self.url)
        if parts.scheme == "sqlite":
            return sqlite3.connect(parts.path)
        return pymysql.connect(
            host=parts.hostname or "127.0.0.1", port=parts.port or 3306, user=parts.username or "",
            password=parts.password or "", database=parts.path.lstrip("/"), charset="utf8mb4",
        )  # fmt: skip

    @property
    def mark(self) -> str:
        """The parameter mark of the driver's SQL."""
        return "?" if self.url.startswith("sqlite") else "%s"


def image_ids(count: int) -> list[str]:
    """The ids of the first `count` images, the same in every run."""
    source = random.Random("fanlight-bench")
    return [str(uuid.UUID(int=source.getrandbits(128), version=4)) for _ in range(count)]


def owner(number: int) -> str:
    """The project that owns image `number`; the measured member owns every hundredth."""
    place = number // len(MIX) % OWNERS
    return MEMBER_PROJECT if place == 0 else f"{place:032x}"


def rows(table: str, ids: Sequence[str], folder: str | None) -> Iterator[tuple[Any, ...]]:
    """The rows of one table for these images. `folder` is the file store's; without one they are `queued`."""
    for number, image_id in enumerate(ids):
        at = FIRST + datetime.timedelta(seconds=number)
        tail = (f"{at:%Y-%m-%d %H:%M:%S}.000000",) * 2 + (None, 0)
        yield from TABLES[table](number, image_id, folder, tail)


def image_row(number: int, image_id: str, folder: str | None, tail: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    size = 64 * 1024 * 1024 + number
    visibility = MIX[number % len(MIX)]
    stored = ("active", visibility, f"{number:032x}", "sha512", f"{number:0128x}")
    data = (size, 2 * size, *stored) if folder else (None, None, "queued", visibility, None, None, None)
    yield (image_id, f"image-{number:06d}", "qcow2", "bare", *data, 2, 512, owner(number), 0, 0, *tail)


def property_rows(number: int, image_id: str, folder: str | None, tail: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield (image_id, "os_distro", ("debian", "ubuntu", "rocky", "fedora")[number % 4], *tail)
    yield (image_id, "os_version", str(number % 30), *tail)
    yield (image_id, "architecture", "x86_64", *tail)
    yield (image_id, "hw_disk_bus", "virtio", *tail)


def tag_rows(number: int, image_id: str, folder: str | None, tail: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield (image_id, "supported" if number % 3 else "legacy", *tail)
    yield (image_id, f"team-{number % 50}", *tail)


def location_rows(number: int, image_id: str, folder: str | None, tail: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if folder:
        yield (image_id, f"file://{folder}/{image_id}", '{"store": "local"}', "active", *tail)


def member_rows(number: int, image_id: str, folder: str | None, tail: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if MIX[number % len(MIX)] != "shared":
        return
    wanted = MEMBER_PROJECT if number // len(MIX) % 20 == 1 else f"{number % OWNERS + 500:032x}"
    yield (image_id, wanted, 0, "accepted", *tail)


TABLES = {
    "images": image_row,
    "image_properties": property_rows,
    "image_tags": tag_rows,
    "image_locations": location_rows,
    "image_members": member_rows,
}


def load(database: Database, count: int, folder: str) -> None:
    """Replaces whatever images the database holds by the first `count` of ours.

    MariaDB keeps its statistics by itself and is only hurried; SQLite has none until somebody asks for them,
    which neither service does.
    """
    connection = database.connect()
    cursor = connection.cursor()
    if database.mark == "%s":
        cursor.execute("SET unique_checks=0, foreign_key_checks=0")
    for table in reversed(COLUMNS):
        cursor.execute(f"DELETE FROM {table}")
    insert(database, connection, image_ids(count), folder)
    if database.mark == "%s":
        cursor.execute(f"ANALYZE TABLE {', '.join(COLUMNS)}")
    connection.close()


def load_queued(database: Database, count: int) -> list[str]:
    """Adds images without data, for deletion, while a server may run; gives their ids."""
    source = random.Random("fanlight-bench-queued")
    ids = [str(uuid.UUID(int=source.getrandbits(128), version=4)) for _ in range(count)]
    connection = database.connect()
    insert(database, connection, ids, None)
    connection.close()
    return ids


def insert(database: Database, connection: Any, ids: Sequence[str], folder: str | None) -> None:
    """Writes the rows of these images in one transaction; without a folder they have no data."""
    cursor = connection.cursor()
    for table, names in COLUMNS.items():
        columns = names.split()
        marks = ", ".join([database.mark] * len(columns))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        for batch in batches(rows(table, ids, folder)):
            cursor.executemany(statement, batch)
    connection.commit()


def batches(source: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    pending = iter(source)
    while batch := list(islice(pending, BATCH)):
        yield batch
