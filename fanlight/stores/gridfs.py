"""Images as files of GridFS in MongoDB. Type `gridfs`; URLs `gridfs://<id>`: the options say where the database is.

The layout is that of the GridFS specification (bucket `fs`, chunks of 255 KiB, `_id` is the image's id), as Glance
wrote it, so both and MongoDB's own tools read the same files. Chunks are written and read here in batches of a few MiB
and not by the classes of the package `gridfs`: those keep up to 48 MB of an upload in memory, and a cursor open on
the server while a client stalls.

An upload owns an id by its chunk 0: the unique index lets only one be. The entry in `fs.files` comes last, after all
chunks are durable, so a file that can be seen is whole. Texts of pymongo's errors hold URIs and chunks: none leaves
this module.
"""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectExists,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreDenied,
    StoreError,
    StoreForbidden,
    StoreFull,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores.driver import Added, Context, Opened, Source, Store, leave_to_discard
from fanlight.stores.patience import Turn

if TYPE_CHECKING:
    from bson import ObjectId
    from pymongo import MongoClient
    from pymongo.collection import Collection
    from pymongo.errors import PyMongoError

LOG = logging.getLogger(__name__)
CHUNK = 255 * 1024
"""Bytes of a chunk: what the specification proposes and Glance had."""
BATCH = 16 * CHUNK
"""Bytes that go to the server, or come from it, at a time."""
TIMES = {"serverSelectionTimeoutMS": 5_000, "connectTimeoutMS": 5_000, "socketTimeoutMS": 60_000}
"""Milliseconds, where the URI does not say: pymongo's own are half a minute, 20 s and for ever."""
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}", re.ASCII)
_DUPLICATE = 11000
_FULL = frozenset({12501, 14031})
"""Codes of MongoDB: quota exceeded, out of disk space."""
_REFUSED = frozenset({13, 18})
"""Unauthorized, authentication failed."""


class Address(Struct, frozen=True):
    """A file of the bucket."""

    file_id: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take a URL apart. Raises MalformedLocation."""
        scheme, separator, file_id = url.partition("://")
        if scheme.lower() != "gridfs" or not separator or not _ID.fullmatch(file_id):
            raise MalformedLocation
        return cls(file_id)

    @property
    def url(self) -> str:
        """The canonical form."""
        return f"gridfs://{self.file_id}"


class GridFS(Store):
    """One database with the bucket `fs`."""

    schemes = ("gridfs",)
    _closing: Callable[[], object] = staticmethod(lambda: None)

    def configure(self) -> None:
        """Make the client, which connects when it is first used. Raises BadStoreConfiguration."""
        uri = str(self.options.get("mongodb_store_uri") or "")
        if not uri or not uri.isprintable():
            raise BadStoreConfiguration("mongodb_store_uri is not set, or no URI.")
        client, database = _client(uri, self.options.get("mongodb_store_db"))
        if not client.write_concern.acknowledged:
            client.close()
            raise BadStoreConfiguration("mongodb_store_uri: w=0 would lose images without a word.")
        self._closing()  # configured a second time, after something else had failed
        self._closing = weakref.finalize(self, client.close)
        self._client = client
        self._files: Collection[Any] = client[database]["fs.files"]
        self._chunks: Collection[Any] = client[database]["fs.chunks"]
        self._indexing = Turn()
        self._indexed = False

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """Find the file; its chunks are asked for as they are read."""
        file_id = Address.parse(url).file_id
        size, chunk = self._find(file_id)
        rest = size - offset
        if rest < 0 or (length is not None and length > rest):
            raise RangeNotSatisfiable(size=size)
        wanted = rest if length is None else length
        # Nothing is held between two blocks, so there is nothing to close.
        return Opened(wanted, self._blocks(file_id, chunk, offset, wanted), lambda: None)

    def get_size(self, url: str, context: Context | None = None) -> int:
        """Length of the file."""
        return self._find(Address.parse(url).file_id)[0]

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        """Write the chunks, then the entry. An id with an entry, or with a chunk 0, is taken."""
        from bson import ObjectId

        self._index()
        with _explained(writing=True):
            if self._files.find_one({"_id": object_id}, {"_id": 1}) is not None:
                raise ObjectExists
        mark = ObjectId()
        try:
            written = self._write(object_id, source, mark)
        except BaseException as error:
            self._undo(object_id, mark, error)
            raise
        return Added(Address(object_id).url, written)

    def delete(self, url: str, context: Context | None = None) -> None:
        """Remove the entry, so that nobody begins to read, then the chunks."""
        file_id = Address.parse(url).file_id
        with _explained():
            gone = self._files.delete_one({"_id": file_id}).deleted_count
            self._chunks.delete_many({"files_id": file_id})
        if not gone:
            raise ObjectNotFound

    def discard(self, object_id: str) -> None:
        """Remove entry and chunks, as far as there are any."""
        with _explained():
            self._files.delete_one({"_id": object_id})
            self._chunks.delete_many({"files_id": object_id})

    def planned_url(self, object_id: str) -> str | None:
        """Always known."""
        return Address(object_id).url

    def check(self) -> str:
        """Ask the server for its version and the bucket for a file."""
        with _explained():
            version = self._client.server_info()["version"]
            self._files.find_one({"_id": ""}, {"_id": 1})
        return f"MongoDB {version} answers, database {self._files.database.name}"

    def _find(self, file_id: str) -> tuple[int, int]:
        """Bytes of a file, and of one of its chunks. Raises ObjectNotFound."""
        with _explained():
            entry = self._files.find_one({"_id": file_id}, {"length": 1, "chunkSize": 1})
        if entry is None:
            raise ObjectNotFound
        size, chunk = int(entry.get("length", -1)), int(entry.get("chunkSize", 0))
        if size < 0 or chunk <= 0:
            raise StoreError("The entry of the file in GridFS is not whole.")
        return size, chunk

    def _blocks(self, file_id: str, chunk: int, offset: int, length: int) -> Iterator[bytes]:
        """The bytes, about BATCH at a time. One request each: the server keeps nothing open in between."""
        at_once = max(1, BATCH // chunk)
        end = offset + length
        while offset < end:
            first, skipped = divmod(offset, chunk)
            count = min(at_once, -(-end // chunk) - first)
            with _explained():
                wanted = {"files_id": file_id, "n": {"$gte": first, "$lt": first + count}}
                found = self._chunks.find(wanted, {"_id": 0, "n": 1, "data": 1}).sort("n", 1).limit(-count).to_list()
            numbers = [entry["n"] for entry in found]
            block = b"".join(entry["data"] for entry in found)[skipped : skipped + end - offset]
            del found
            # All but the last chunk of a file are full: anything else shifts what comes after it.
            if numbers != list(range(first, first + count)) or len(block) < min(count * chunk - skipped, end - offset):
                raise StoreError("The stored data has a gap or ends before its recorded size.")
            offset += len(block)
            yield block

    def _write(self, file_id: str, source: Source, mark: ObjectId) -> int:
        """Chunks and entry. Bytes are taken from the source in whole batches, which are whole chunks."""
        size = 0
        ended = False
        while not ended:
            batch = bytearray()
            while len(batch) < BATCH and not ended:
                block = source.read(BATCH - len(batch))
                ended = not len(block)
                batch += block
                del block
            if batch:
                self._insert(file_id, batch, size // CHUNK, mark)
            size += len(batch)
        entry = {
            "_id": file_id,
            "filename": file_id,
            "length": size,
            "chunkSize": CHUNK,
            "uploadDate": datetime.now(UTC),
            "metadata": {"upload": mark},
        }
        with _explained(writing=True):
            self._files.insert_one(entry)
        return size

    def _insert(self, file_id: str, batch: bytearray, first: int, mark: ObjectId) -> None:
        """Insert a batch of chunks from number `first` on. Chunk 0 carries the mark of the upload as its `_id`."""
        view = memoryview(batch)
        entries: list[dict[str, Any]] = [
            {"files_id": file_id, "n": first + at // CHUNK, "data": bytes(view[at : at + CHUNK])}
            for at in range(0, len(batch), CHUNK)
        ]
        if first == 0:
            entries[0]["_id"] = mark
        with _explained(writing=True):
            self._chunks.insert_many(entries, ordered=True)

    def _undo(self, file_id: str, mark: ObjectId, reason: BaseException) -> None:
        """Remove what this upload has written. Raises Leftovers."""
        try:
            self._remove(file_id, mark)
        except StoreError as error:
            LOG.warning("what was written of %s cannot be removed: %s", file_id, error)
            leave_to_discard(reason)

    def _remove(self, file_id: str, mark: ObjectId) -> None:
        """Remove what one upload has written, and nothing else: another may have the id."""
        with _explained():
            self._files.delete_one({"_id": file_id, "metadata.upload": mark})
            if self._chunks.find_one({"files_id": file_id, "n": 0, "_id": mark}, {"_id": 1}) is not None:
                self._chunks.delete_many({"files_id": file_id})

    def _index(self) -> None:
        """The specification's unique index: without it two uploads could own one id. Raises StoreError."""
        with self._indexing.taken(), _explained(writing=True):
            if not self._indexed:
                self._chunks.create_index([("files_id", 1), ("n", 1)], unique=True)
                self._files.create_index([("filename", 1), ("uploadDate", 1)])
                self._indexed = True


def _client(uri: str, database: str | None) -> tuple[MongoClient[Any], str]:
    """A client that is not connected yet, and the name of the database: the option's, else the URI's."""
    try:
        from pymongo import MongoClient
        from pymongo.errors import PyMongoError
        from pymongo.uri_parser import parse_uri
    except ImportError:
        raise BadStoreConfiguration("The package pymongo is missing: install fanlight[gridfs].") from None
    if "://" not in uri:
        uri = f"mongodb://{uri}"
    try:
        parsed = parse_uri(uri)
        name = database or parsed["database"]
        if not name:
            raise BadStoreConfiguration("Neither mongodb_store_db nor mongodb_store_uri names a database.")
        given: Mapping[str, Any] = parsed["options"]
        more: dict[str, Any] = {key: value for key, value in TIMES.items() if key not in given}
        more["appname"] = given.get("appname", "fanlight")
        if "w" not in given:
            # An image is not active before most of a replica set have it, and have it on disk.
            more |= {"w": "majority"} | ({} if "journal" in given else {"journal": True})
        client: MongoClient[Any] = MongoClient(uri, connect=False, tz_aware=True, **more)
        client[name]  # a name that cannot be is refused here
    except (PyMongoError, ValueError, TypeError):
        # pymongo's text may hold the URI, and that the password.
        raise BadStoreConfiguration("mongodb_store_uri or mongodb_store_db is not right.") from None
    return client, name


@contextmanager
def _explained(*, writing: bool = False) -> Iterator[None]:
    """pymongo's errors as ours. They are not kept as the cause: a log would show them, with chunks and all."""
    from pymongo.errors import PyMongoError

    try:
        yield
    except PyMongoError as error:
        raise _meaning(error, writing) from None


def _meaning(error: PyMongoError, writing: bool) -> StoreError:
    from pymongo import errors

    codes = _codes(error)
    if _DUPLICATE in codes:
        return ObjectExists()
    if codes & _FULL:
        return StoreFull()
    if codes & _REFUSED:
        return StoreDenied() if writing else StoreForbidden()
    if isinstance(error, errors.NetworkTimeout | errors.ExecutionTimeout | errors.WTimeoutError):
        return StoreTimeout()
    if isinstance(error, errors.ConnectionFailure):
        return StoreUnreachable()
    return StoreError(f"MongoDB failed: {type(error).__name__}{''.join(f', code {code}' for code in sorted(codes))}")


def _codes(error: PyMongoError) -> set[int]:
    """The codes that an error carries: its own, or those of its parts."""
    details = getattr(error, "details", None)
    found = {getattr(error, "code", None)}
    if isinstance(details, Mapping):
        found |= {part.get("code") for part in details.get("writeErrors", ()) if isinstance(part, Mapping)}
    return {code for code in found if isinstance(code, int)}
