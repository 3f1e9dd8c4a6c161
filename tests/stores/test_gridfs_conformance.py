"""The GridFS store: the suite, each test in a database of its own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from fanlight.stores.gridfs import BATCH
from tests.bed.databases import needed
from tests.bed.mongowire import Server
from tests.stores.conformance import Backend, Conformance, closed_port, silent_port
from tests.stores.leaving import Leaving

pytestmark = pytest.mark.services

MIB = 1 << 20
PASSWORD = "not-the-right-one"
SOON = "serverSelectionTimeoutMS=1000&connectTimeoutMS=1000&socketTimeoutMS=1000"


class Database(Backend):
    type = "gridfs"
    block = BATCH
    memory = 32 * MIB
    secrets = (PASSWORD,)
    malformed = (
        "gridfs:a",
        "gridfs://a/b",
        "gridfs://a b",
        "gridfs://a\n",
        "gridfs://a\0",
        "gridfs://{}",
        "gridfs://.a",
        "gridfs://user:password@host/a",
        "gridfs://" + "a" * 256,
        "file:///a",
    )

    def __init__(self, client: MongoClient[Any], name: str, stack: ExitStack) -> None:
        self._database, self._stack = client[name], stack

    def options(self) -> Mapping[str, Any]:
        return {"mongodb_store_uri": needed("FANLIGHT_TEST_MONGODB"), "mongodb_store_db": self._database.name}

    def leftovers(self) -> Sequence[str]:
        files = [f"file {each['_id']}" for each in self._database["fs.files"].find({}, {"_id": 1})]
        chunks = self._database["fs.chunks"].find({}, {"files_id": 1, "n": 1})
        return files + [f"chunk {each['n']} of {each['files_id']}" for each in chunks]

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        uri = f"mongodb://127.0.0.1:{closed_port()}/?{SOON}"
        if fault == "slow":
            uri = f"mongodb://127.0.0.1:{self._stack.enter_context(silent_port())}/?{SOON}"
        if fault == "denied":
            place = urlsplit(needed("FANLIGHT_TEST_MONGODB")).netloc.rpartition("@")[2]
            uri = f"mongodb://somebody:{PASSWORD}@{place}/?{SOON}"
        if fault == "full":
            # A real disk that is full cannot be had for one test: always the stand-in.
            uri = self._stack.enter_context(serving(Server(room=8 * MIB - 1))).uri
        return {"mongodb_store_uri": uri, "mongodb_store_db": self._database.name}

    def spellings(self, url: str) -> Sequence[str]:
        return (url.replace("gridfs:", "GRIDFS:"),)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """A server of one's own, which may be ended earlier with `cut`."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.cut()
    thread.join(10)


@pytest.fixture
def backend() -> Iterator[Backend]:
    client: MongoClient[Any] = MongoClient(needed("FANLIGHT_TEST_MONGODB"), serverSelectionTimeoutMS=10_000)
    name = f"t{uuid.uuid4().hex}"
    with client, ExitStack() as stack:
        yield Database(client, name, stack)
        client.drop_database(name)


class TestGridFS(Leaving, Conformance):
    removal = "_remove"
