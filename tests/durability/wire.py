"""Uploads in slow motion: a request on a socket of its own, of which every byte is sent when the test says."""

from __future__ import annotations

import socket
import struct
from types import TracebackType

from tests.bed.callers import Client
from tests.bed.servers import Server
from tests.edge.raw import read_answer

PROJECT = "p"


class SlowUpload:
    """PUT of an image's data: the head goes out at once, the body by `send`. `more`: further
    lines of the head, each with its end."""

    def __init__(
        self, server: Server, image_id: str, length: int | None, project: str = PROJECT, more: str = ""
    ) -> None:
        self.chunked = length is None
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        self.connection = socket.create_connection(("127.0.0.1", server.port), 30)
        head = (
            f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: u:{project}:member\r\n"
            f"Content-Type: application/octet-stream\r\n{framing}\r\n{more}\r\n"
        )
        self.connection.sendall(head.encode())

    def send(self, data: bytes) -> None:
        """The next bytes of the body, as one chunk where it is chunked."""
        self.connection.sendall(chunk(data) if self.chunked else data)

    def end(self) -> int:
        """Complete the body and return the status of the answer."""
        if self.chunked:
            self.connection.sendall(b"0\r\n\r\n")
        return self.status()

    def status(self) -> int:
        """The status of the answer; 0 when the connection was closed without one."""
        try:
            return read_answer(self.connection).status
        except ConnectionError:
            return 0

    def cut(self, way: str) -> None:
        """End the connection: `close`, `reset`, or `half` (nothing more is sent, but an answer could be read)."""
        if way == "half":
            self.connection.shutdown(socket.SHUT_WR)
            self.status()
        if way == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def __enter__(self) -> SlowUpload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


def assert_waits_for_data(server: Server, client: Client, image_id: str) -> None:
    """Queued, without size and hashes, no byte of it in the store, no location and no lease in the catalogue."""
    shown = client.show(image_id)
    assert shown["status"] == "queued"
    assert [shown[name] for name in ("size", "virtual_size", "checksum", "os_hash_value")] == [None] * 4
    assert [name for name in server.files() if image_id in name] == []
    assert server.rows("SELECT id FROM image_locations WHERE image_id = :id", id=image_id) == []
    assert server.rows("SELECT token FROM fanlight_leases WHERE image_id = :id", id=image_id) == []


def assert_has(server: Server, client: Client, image_id: str, data: bytes) -> None:
    """Active, and all say the same: record, store and download."""
    shown = client.show(image_id)
    assert (shown["status"], shown["size"]) == ("active", len(data))
    assert client.get(f"/v2/images/{image_id}/file").content == data
    assert {name: size for name, size in server.files().items() if image_id in name} == {image_id: len(data)}
