"""A small server of MongoDB's protocol, enough for pymongo and GridFS: `python mongowire.py PORT`.

The wire is real (OP_MSG over TCP); databases lie in memory. It is one server without users: whoever brings a password
is refused, as a real one would refuse a user that it does not have. Asked for what it does not know, it says so.
"""

from __future__ import annotations

import itertools
import operator
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import bson

Document = dict[str, Any]
HELLO: Document = {
    "ismaster": True,
    "isWritablePrimary": True,
    "helloOk": True,
    "maxBsonObjectSize": 16 << 20,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "readOnly": False,
    "ok": 1.0,
}
REPLY = 16 << 20
"""Bytes of documents in one reply."""
OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
MORE_TO_COME = 2
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$ne": operator.ne,
    "$in": lambda value, wanted: value in wanted,
}


class Refusal(Exception):
    """A command's failure, with MongoDB's number and name for it."""

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(text)
        self.reply: Document = {"ok": 0.0, "code": code, "codeName": name, "errmsg": text}


class Collection:
    """Documents by `_id`, and unique indexes."""

    def __init__(self) -> None:
        self.documents: dict[bytes, Document] = {}
        self.indexes: dict[str, Document] = {"_id_": {"v": 2, "key": {"_id": 1}, "name": "_id_"}}
        self._taken: dict[str, set[bytes]] = {}
        self._groups: dict[bytes, dict[bytes, Document]] = {}

    def insert(self, document: Document) -> None:
        """Raises KeyError with the name of the index in which it is not unique."""
        key = encoded(document["_id"])
        if key in self.documents:
            raise KeyError("_id_")
        for name, taken in self._taken.items():
            if self._entry(name, document) in taken:
                raise KeyError(name)
        for name, taken in self._taken.items():
            taken.add(self._entry(name, document))
        self.documents[key] = document
        # Chunks are asked for by their file: not to be looked for among all others.
        self._groups.setdefault(encoded(document.get("files_id")), {})[key] = document

    def find(self, wanted: Mapping[str, Any]) -> list[Document]:
        """All that match, in the order in which they came."""
        if isinstance(wanted.get("_id"), str):
            document = self.documents.get(encoded(wanted["_id"]))
            candidates: Iterable[Document] = [document] if document else []
        elif isinstance(wanted.get("files_id"), str):
            candidates = self._groups.get(encoded(wanted["files_id"]), {}).values()
        else:
            candidates = self.documents.values()
        return [document for document in candidates if matches(document, wanted)]

    def remove(self, document: Document) -> None:
        key = encoded(document["_id"])
        del self.documents[key]
        del self._groups[encoded(document.get("files_id"))][key]
        for name, taken in self._taken.items():
            taken.discard(self._entry(name, document))

    def index(self, one: Mapping[str, Any]) -> None:
        name = one["name"]
        if name in self.indexes:
            return
        self.indexes[name] = {"v": 2, **one}
        if one.get("unique"):
            self._taken[name] = {self._entry(name, document) for document in self.documents.values()}

    def _entry(self, index: str, document: Document) -> bytes:
        return encoded([value_at(document, path) for path in self.indexes[index]["key"]])


class Databases:
    """All databases, and the commands. `room`: bytes of documents that fit in."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.databases: dict[str, dict[str, Collection]] = {}
        self._cursors: dict[int, tuple[str, list[Document]]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def run(self, command: Document) -> Document:
        """Answer a command. `(name, what it is about)` is its first entry."""
        name, about = next(iter(command.items()))
        ask = getattr(self, f"do_{name.lower()}", None)
        if ask is None:
            return Refusal(59, "CommandNotFound", f"no such command: '{name}'").reply
        with self._lock:
            try:
                reply: Document = ask(about, command)
            except Refusal as refusal:
                return refusal.reply
        return {**reply, "ok": 1.0}

    def do_hello(self, _about: Any, _command: Document) -> Document:
        return HELLO

    do_ismaster = do_hello

    def do_ping(self, _about: Any, _command: Document) -> Document:
        return {}

    do_endsessions = do_ping

    def do_buildinfo(self, _about: Any, _command: Document) -> Document:
        return {"version": "7.0.0", "versionArray": [7, 0, 0, 0]}

    def do_saslstart(self, _about: Any, _command: Document) -> Document:
        raise Refusal(18, "AuthenticationFailed", "Authentication failed.")

    def do_insert(self, about: str, command: Document) -> Document:
        collection, database = self._collection(about, command, make=True), command["$db"]
        for number, document in enumerate(command["documents"]):
            if self.room is not None and self._used() + len(bson.encode(document)) > self.room:
                raise Refusal(14031, "OutOfDiskSpace", "no room left")
            try:
                collection.insert(document)
            except KeyError as taken:
                text = f"E11000 duplicate key error collection: {database}.{about} index: {taken.args[0]}"
                failure = {"index": number, "code": 11000, "errmsg": text}
                return {"n": number, "writeErrors": [failure]}
        return {"n": len(command["documents"])}

    def do_find(self, about: str, command: Document) -> Document:
        found = self._collection(about, command).find(command.get("filter", {}))
        for path, direction in reversed(command.get("sort", {}).items()):
            found.sort(key=lambda document: value_at(document, path), reverse=direction < 0)
        found = found[command.get("skip", 0) :]
        found = found[: abs(command["limit"])] if command.get("limit") else found
        found = [projected(document, command.get("projection")) for document in found]
        single = bool(command.get("singleBatch"))
        count = len(found) if single else command.get("batchSize", 101)
        return self._reply(f"{command['$db']}.{about}", found, count, "firstBatch", single=single)

    def do_getmore(self, about: int, command: Document) -> Document:
        if about not in self._cursors:
            raise Refusal(43, "CursorNotFound", f"cursor id {about} not found")
        namespace, rest = self._cursors.pop(about)
        return self._reply(namespace, rest, command.get("batchSize") or len(rest), "nextBatch")

    def do_killcursors(self, _about: Any, command: Document) -> Document:
        killed = [cursor for cursor in command["cursors"] if self._cursors.pop(cursor, None)]
        return {"cursorsKilled": killed, "cursorsNotFound": [], "cursorsAlive": [], "cursorsUnknown": []}

    def do_delete(self, about: str, command: Document) -> Document:
        collection, count = self._collection(about, command), 0
        for one in command["deletes"]:
            for document in collection.find(one["q"])[: one["limit"] or None]:
                collection.remove(document)
                count += 1
        return {"n": count}

    def do_createindexes(self, about: str, command: Document) -> Document:
        collection = self._collection(about, command, make=True)
        for one in command["indexes"]:
            collection.index(one)
        return {}

    def do_listindexes(self, about: str, command: Document) -> Document:
        if about not in self.databases.get(command["$db"], {}):
            raise Refusal(26, "NamespaceNotFound", f"ns does not exist: {command['$db']}.{about}")
        indexes = list(self._collection(about, command).indexes.values())
        return self._reply(f"{command['$db']}.{about}", indexes, len(indexes), "firstBatch")

    def do_dropdatabase(self, _about: Any, command: Document) -> Document:
        self.databases.pop(command["$db"], None)
        return {}

    def _collection(self, name: str, command: Document, make: bool = False) -> Collection:
        if not make:
            return self.databases.get(command["$db"], {}).get(name) or Collection()
        return self.databases.setdefault(command["$db"], {}).setdefault(name, Collection())

    def _used(self) -> int:
        return sum(
            len(document.get("data", b""))
            for collections in self.databases.values()
            for collection in collections.values()
            for document in collection.documents.values()
        )

    def _reply(
        self, namespace: str, documents: list[Document], count: int, key: str, *, single: bool = False
    ) -> Document:
        """At most `count` documents and REPLY bytes; the rest waits under the number of a cursor."""
        size, taken = 0, 0
        for document in documents[:count]:
            size += len(bson.encode(document))
            if taken and size > REPLY:
                break
            taken += 1
        number = 0
        if documents[taken:] and not single:
            number = next(self._numbers)
            self._cursors[number] = (namespace, documents[taken:])
        return {"cursor": {"id": bson.Int64(number), "ns": namespace, key: documents[:taken]}}


def encoded(value: Any) -> bytes:
    """A value as something that can be compared and hashed."""
    return bson.encode({"": value})


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """The value at a path with dots; None where there is none."""
    value: Any = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def matches(document: Document, wanted: Mapping[str, Any]) -> bool:
    """Whether a document is what a filter describes."""
    return all(_fits(value_at(document, path), condition) for path, condition in wanted.items())


def _fits(value: Any, condition: Any) -> bool:
    if not (isinstance(condition, Mapping) and next(iter(condition), "").startswith("$")):
        return bool(value == condition)
    for name, operand in condition.items():
        if name not in COMPARISONS:
            raise Refusal(2, "BadValue", f"unknown operator: {name}")
        if value is None or not COMPARISONS[name](value, operand):
            return False
    return True


def projected(document: Document, projection: Mapping[str, Any] | None) -> Document:
    """The fields that are asked for; `_id` unless it is refused."""
    if not projection:
        return document
    if not any(shown for name, shown in projection.items() if name != "_id"):
        only_id = projection.get("_id", 0)
        return {name: value for name, value in document.items() if (name == "_id") == bool(only_id)}
    shown = {"_id": 1, **projection}
    return {name: value for name, value in document.items() if shown.get(name)}


class Connection(socketserver.BaseRequestHandler):
    """One client."""

    server: Server

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.open_sockets.add(self.request)
        try:
            while True:
                length, number, _, kind = struct.unpack("<iiii", self._exactly(16))
                body = self._exactly(length - 16)
                self.server.answering.wait()
                if kind == OP_QUERY:  # the first hello of a driver
                    reply = bson.encode(HELLO)
                    head = struct.pack("<iiiiiqii", 36 + len(reply), 0, number, OP_REPLY, 8, 0, 0, 1)
                    self.request.sendall(head + reply)
                elif kind == OP_MSG:
                    flags, command = message(body)
                    reply = bson.encode(self.server.databases.run(command))
                    head = struct.pack("<iiiiIB", 21 + len(reply), 0, number, OP_MSG, 0, 0)
                    if not flags & MORE_TO_COME:
                        self.request.sendall(head + reply)
                else:
                    return
        except (EOFError, OSError):
            return
        finally:
            self.server.open_sockets.discard(self.request)

    def _exactly(self, size: int) -> bytes:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self.request.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return bytes(data)


def message(body: bytes) -> tuple[int, Document]:
    """Flags and command of an OP_MSG: a body (kind 0), and sequences of documents (kind 1) that belong into it."""
    (flags,) = struct.unpack_from("<I", body)
    at, end = 4, len(body) - (4 if flags & 1 else 0)
    command: Document = {}
    sequences: Document = {}
    while at < end:
        kind, size = struct.unpack_from("<Bi", body, at)
        at += 1
        if kind == 0:
            command = bson.decode(body[at : at + size])
        else:
            stop = body.index(b"\0", at + 4)
            sequences[body[at + 4 : stop].decode()] = bson.decode_all(body[stop + 1 : at + size])
        at += size
    return flags, {**command, **sequences}


class Server(socketserver.ThreadingTCPServer):
    """Listens on a port of 127.0.0.1; 0: any. `answering`: cleared, it takes what comes and answers nothing."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int = 0, room: int | None = None) -> None:
        self.databases = Databases(room)
        self.answering = threading.Event()
        self.answering.set()
        self.open_sockets: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Connection)

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.server_address[1]}"

    def cut(self) -> None:
        """Stop listening, and end all connections."""
        self.shutdown()
        self.server_close()
        self.answering.set()
        for one in tuple(self.open_sockets):
            one.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    Server(int(sys.argv[1])).serve_forever()
