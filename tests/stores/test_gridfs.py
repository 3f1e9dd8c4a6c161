"""The GridFS store where the suite cannot look: URIs, files of others, uploads that meet, servers that go away."""

from __future__ import annotations

import sys
import time
import traceback
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import gridfs
import pytest
from gridfs.errors import FileExists
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.database import Database

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectExists,
    ObjectNotFound,
    StoreError,
    StoreForbidden,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores.driver import Added
from fanlight.stores.gridfs import BATCH, CHUNK, Address, GridFS
from tests.bed.databases import needed
from tests.bed.mongowire import Server
from tests.stores.faults import silent_port
from tests.stores.place import Bytes, Failing, new_id, pattern
from tests.stores.test_gridfs_conformance import serving

pytestmark = pytest.mark.services


@pytest.fixture
def database() -> Iterator[Database[Any]]:
    name = f"t{uuid.uuid4().hex}"
    with MongoClient[Any](needed("FANLIGHT_TEST_MONGODB"), serverSelectionTimeoutMS=10_000) as client:
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def store(database: Database[Any]) -> GridFS:
    return configured(mongodb_store_uri=needed("FANLIGHT_TEST_MONGODB"), mongodb_store_db=database.name)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as own:
        yield own


def configured(**options: Any) -> GridFS:
    made = GridFS("mongo", options)
    made.configure()
    made.configure_add()
    return made


def read(store: GridFS, object_id: str, offset: int = 0, length: int | None = None) -> bytes:
    return b"".join(bytes(block) for block in store.open(f"gridfs://{object_id}", offset, length).blocks)


def leftovers(database: Database[Any]) -> int:
    return len(list(database["fs.files"].find())) + len(list(database["fs.chunks"].find({}, {"n": 1})))


# -- URLs and URIs


@given(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}", fullmatch=True))
def test_every_url_comes_back(file_id: str) -> None:
    assert Address.parse(Address(file_id).url) == Address(file_id)


@given(st.one_of(st.text(), st.text(alphabet="a0:/.-@$?{}% \n\0")))
def test_whatever_is_parsed_is_plain(rest: str) -> None:
    try:
        address = Address.parse(f"gridfs://{rest}")
    except MalformedLocation:
        return
    assert address.file_id == rest
    assert not set(rest) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_the_database_may_stand_in_the_uri(database: Database[Any]) -> None:
    parts = urlsplit(needed("FANLIGHT_TEST_MONGODB"))
    inside = urlunsplit(parts._replace(path=f"/{database.name}"))
    object_id = new_id()
    configured(mongodb_store_uri=inside).add(object_id, Bytes(b"x"), 1)
    assert database["fs.files"].find_one({"_id": object_id}) is not None
    # The option wins.
    elsewhere = urlunsplit(parts._replace(path="/another"))
    assert read(configured(mongodb_store_uri=elsewhere, mongodb_store_db=database.name), object_id) == b"x"


def test_a_host_is_enough(server: Server) -> None:
    store = configured(mongodb_store_uri=server.uri.removeprefix("mongodb://"), mongodb_store_db="images")
    store.add("a", Bytes(b"x"), 1)
    assert read(store, "a") == b"x"
    assert store.check() == "MongoDB 7.0.0 answers, database images"


@pytest.mark.parametrize(
    ("uri", "database"),
    [
        (None, "images"),
        ("mongodb://localhost", None),
        ("mongodb://user:s3cret@localhost:port/images", None),
        ("mongodb://user:s3c@ret@localhost/images", None),
        ("mongodb://user:s3cret@localhost/images?w=0", None),
        ("mongodb://user:s3cret@localhost/images?authMechanism=NONE", None),
        ("http://user:s3cret@localhost/images", None),
        ("mongodb://user:s3cret@localhost/", "a b"),
        ("mongodb://user:s3cret@localhost/", "a$b"),
    ],
)
def test_uris_that_cannot_be(uri: str | None, database: str | None) -> None:
    with pytest.raises(BadStoreConfiguration) as raised:
        configured(mongodb_store_uri=uri, mongodb_store_db=database)
    assert "s3c" not in "".join(traceback.format_exception(raised.value))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymongo", None)
    with pytest.raises(BadStoreConfiguration, match=r"fanlight\[gridfs\]"):
        configured(mongodb_store_uri="mongodb://localhost/images")


def test_writes_wait_for_disks_and_servers(database: Database[Any]) -> None:
    """As the URI says; where it says nothing, for the majority and the journal."""
    uri = needed("FANLIGHT_TEST_MONGODB")
    wanted = configured(mongodb_store_uri=uri, mongodb_store_db="a")._client.write_concern.document
    assert wanted == {"w": "majority", "j": True}
    uri += ("&" if "?" in uri else "/?") + "w=1&serverSelectionTimeoutMS=1234"
    client = configured(mongodb_store_uri=uri, mongodb_store_db="a")._client
    assert client.write_concern.document == {"w": 1}
    assert client.options.server_selection_timeout == 1.234


# -- the same files as everybody's


@pytest.mark.parametrize("chunk", [1000, CHUNK, 1 << 20])
def test_files_that_others_wrote(store: GridFS, database: Database[Any], chunk: int) -> None:
    """As Glance wrote them: `put` with the id of the image."""
    object_id, data = new_id(), pattern(2 * BATCH // 3 + 7)
    gridfs.GridFS(database).put(data, _id=object_id, chunkSize=chunk)
    url = f"gridfs://{object_id}"
    assert store.get_size(url) == len(data)
    assert read(store, object_id) == data
    for offset, length in ((0, 1), (chunk - 1, 2), (chunk, chunk), (17, None), (len(data) - 3, 3), (len(data), 0)):
        wanted = data[offset:] if length is None else data[offset : offset + length]
        assert read(store, object_id, offset, length) == wanted
    store.delete(url)
    assert leftovers(database) == 0


@pytest.mark.parametrize("size", [0, 1, CHUNK, BATCH + CHUNK + 1])
def test_files_that_others_read(store: GridFS, database: Database[Any], size: int) -> None:
    object_id, data = new_id(), pattern(size)
    store.add(object_id, Bytes(data), size)
    bucket = gridfs.GridFSBucket(database)
    with bucket.open_download_stream(object_id) as file:
        assert file.read() == data
        assert (file.length, file.chunk_size, file.filename) == (size, CHUNK, object_id)
        assert file.upload_date is not None
    with pytest.raises(FileExists):
        gridfs.GridFS(database).put(b"x", _id=object_id)
    bucket.delete(object_id)
    with pytest.raises(ObjectNotFound):
        store.get_size(f"gridfs://{object_id}")


@pytest.mark.parametrize("damage", ["first", "middle", "last", "short", "shifted"])
def test_data_with_a_gap_is_not_given_out(store: GridFS, database: Database[Any], damage: str) -> None:
    object_id, chunks = new_id(), database["fs.chunks"]
    store.add(object_id, Bytes(pattern(20 * CHUNK + 5)), None)
    number = {"first": 0, "middle": 17, "last": 20, "short": 3, "shifted": 20}[damage]
    (chunk,) = chunks.find({"files_id": object_id, "n": number})
    chunks.delete_one({"files_id": object_id, "n": number})
    if damage == "short":
        chunks.insert_one({"files_id": object_id, "n": number, "data": chunk["data"][:-1]})
    if damage == "shifted":
        chunks.insert_one({"files_id": object_id, "n": 21, "data": chunk["data"]})
    with pytest.raises(StoreError, match="gap"):
        read(store, object_id)


def test_entry_without_a_length(store: GridFS, database: Database[Any]) -> None:
    database["fs.files"].insert_one({"_id": "a", "chunkSize": CHUNK})
    with pytest.raises(StoreError, match="not whole"):
        store.get_size("gridfs://a")


# -- uploads that meet


def test_one_of_two_writers_wins(store: GridFS, database: Database[Any]) -> None:
    for size in (1, BATCH + 1, 3 * BATCH):
        object_id, data = new_id(), [pattern(size), pattern(size)[::-1]]

        def add(number: int, object_id: str = object_id, data: list[bytes] = data) -> Added | ObjectExists:
            try:
                return store.add(object_id, Bytes(data[number]), None)
            except ObjectExists as error:
                return error

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(add, (0, 1)))
        (winner,) = [number for number, one in enumerate(found) if isinstance(one, Added)]
        assert read(store, object_id) == data[winner]
        store.delete(f"gridfs://{object_id}")
    assert leftovers(database) == 0


def test_a_loser_takes_nothing_away(store: GridFS, database: Database[Any]) -> None:
    """Another upload is under way, or has died: its chunks stay, whatever happens to ours."""
    object_id = new_id()
    store.add("index", Bytes(b"x"), 1)
    other = {"files_id": object_id, "n": 0, "data": b"other"}
    database["fs.chunks"].insert_one(other)
    for size in (1, 2 * BATCH):
        with pytest.raises(ObjectExists):
            store.add(object_id, Bytes(bytes(size)), size)
        with pytest.raises(KeyError):
            store.add(object_id, Failing(b"", KeyError()), size)
    assert [chunk["data"] for chunk in database["fs.chunks"].find({"files_id": object_id})] == [b"other"]
    store.discard(object_id)
    store.add(object_id, Bytes(b"mine"), 4)
    assert read(store, object_id) == b"mine"


def test_rest_of_a_removal_that_died(store: GridFS, database: Database[Any]) -> None:
    """Chunks without number 0: the add that meets them fails once, and clears them away."""
    object_id = new_id()
    store.add("index", Bytes(b"x"), 1)
    database["fs.chunks"].insert_one({"files_id": object_id, "n": 5, "data": b"rest"})
    data = pattern(7 * CHUNK)
    with pytest.raises(ObjectExists):
        store.add(object_id, Bytes(data), len(data))
    store.add(object_id, Bytes(data), len(data))
    assert read(store, object_id) == data


def test_no_text_holds_what_was_stored(store: GridFS, caplog: pytest.LogCaptureFixture) -> None:
    """pymongo's own text of a failed insert holds the chunk."""
    store.add("a", Bytes(b"x"), 1)
    store._files.delete_one({"_id": "a"})
    data = b"-".join([b"TOP", b"SECRET"]) * 100  # not as it stands in this line, which the traceback shows
    with pytest.raises(ObjectExists) as raised:
        store.add("a", Bytes(data), None)
    assert "TOP-SECRET" not in "".join(traceback.format_exception(raised.value)) + caplog.text


# -- servers that go away


def test_server_lost_in_the_middle(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    store = configured(mongodb_store_uri=f"{server.uri}/images?serverSelectionTimeoutMS=500")

    class Source(Bytes):
        def read(self, size: int = -1, /) -> bytes:
            block = super().read(size)
            if not block:
                server.cut()
            return block

    with pytest.raises(StoreUnreachable):
        store.add("a", Source(pattern(2 * BATCH)), None)
    assert "cannot be removed" in caplog.text


def test_server_that_hangs_in_the_middle(server: Server) -> None:
    store = configured(mongodb_store_uri=f"{server.uri}/images?socketTimeoutMS=500&serverSelectionTimeoutMS=500")
    store.add("a", Bytes(pattern(2 * BATCH)), None)
    blocks = store.open("gridfs://a").blocks
    assert len(next(blocks)) == BATCH
    server.answering.clear()
    with pytest.raises((StoreTimeout, StoreUnreachable)):
        next(blocks)
    server.answering.set()
    assert len(read(store, "a")) == 2 * BATCH


def test_silent_server_is_waited_for_once() -> None:
    """The index is made by one thread at a time: the fifth would be told after five times the limit."""
    with silent_port() as port, ThreadPoolExecutor(5) as pool:
        store = configured(mongodb_store_uri=f"mongodb://127.0.0.1:{port}/images?serverSelectionTimeoutMS=1000")

        def add(number: int) -> None:
            with pytest.raises((StoreTimeout, StoreUnreachable)):
                store.add(f"a{number}", Bytes(b"x"), 1)

        began = time.monotonic()
        assert len([*pool.map(add, range(5))]) == 5
        assert time.monotonic() - began < 1.9
        # Who comes later tries again.
        add(5)
        assert time.monotonic() - began > 1.9
        store._closing()


def test_server_that_comes_back(server: Server) -> None:
    """The store is made while nobody is there; nothing is needed when somebody is."""
    port = server.server_address[1]
    server.cut()
    # pymongo asks a server that was away every half second at most.
    store = configured(mongodb_store_uri=f"mongodb://127.0.0.1:{port}/images?serverSelectionTimeoutMS=2000")
    with pytest.raises(StoreUnreachable):
        store.add("a", Bytes(b"x"), 1)
    with serving(Server(port)):
        store.add("a", Bytes(b"x"), 1)
        assert read(store, "a") == b"x"


def test_reading_keeps_nothing_open(server: Server) -> None:
    """A client that stalls costs the server nothing."""
    store = configured(mongodb_store_uri=f"{server.uri}/images")
    store.add("a", Bytes(pattern(3 * BATCH)), None)
    opened = store.open("gridfs://a")
    next(opened.blocks)
    assert not server.databases._cursors
    opened.close()


def test_a_wrong_password_is_told_but_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    place = urlsplit(needed("FANLIGHT_TEST_MONGODB")).netloc.rpartition("@")[2]
    store = configured(mongodb_store_uri=f"mongodb://somebody:s3cret@{place}/images")
    for ask in (lambda: store.get_size("gridfs://a"), store.check, lambda: store.discard("a")):
        with pytest.raises(StoreForbidden) as raised:
            ask()
        assert "s3cret" not in "".join(traceback.format_exception(raised.value)) + caplog.text + repr(store)
