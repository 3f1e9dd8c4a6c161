"""The whole service under clients that stall in mid-transfer: lists keep their speed, and others are served or told."""

from __future__ import annotations

import socket
import statistics
import time
from contextlib import ExitStack

import pytest

from tests.bed.callers import Client
from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.durability.wire import PROJECT, SlowUpload
from tests.edge.raw import eventually

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("many_files")]
COUNT = 500
MIB = 1024 * 1024


def typical_list(client: Client) -> float:
    """Median of 60 lists, in seconds."""
    times = []
    for _ in range(60):
        began = time.perf_counter()
        assert client.get("/v2/images").status_code == 200
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def unread_download(server: Server, image_id: str) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    connection.connect(("127.0.0.1", server.port))
    head = f"GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: u:{PROJECT}:member\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def test_500_stalled_uploads_and_500_unread_downloads(server: StartServer) -> None:
    one = server()
    member = one.as_member(PROJECT)
    # Of another project, so that what is listed stays the same.
    big = one.as_member("other").create_active(b"x" * (8 * MIB), visibility="community")
    usual = typical_list(member)
    ids = [one.as_member("other").create()["id"]] + [member.create()["id"] for _ in range(COUNT)]
    with ExitStack() as stack:
        for image_id in ids[1:]:
            stack.enter_context(SlowUpload(one, image_id, MIB)).send(b"x" * 1000)
            stack.enter_context(unread_download(one, big["id"]))
        eventually(lambda: one.rows("SELECT COUNT(*) AS n FROM fanlight_leases") == [{"n": COUNT}], 30)
        # A page has 25 images now where it had none.
        assert typical_list(member) < 4 * usual + 0.01
        other = one.as_member("other")
        assert other.upload(ids[0], b"data").status_code == 204
        assert other.get(f"/v2/images/{ids[0]}/file").content == b"data"
    eventually(lambda: one.rows("SELECT COUNT(*) AS n FROM fanlight_leases") == [{"n": 0}], 30)
    assert {each["status"] for each in one.rows("SELECT status FROM images WHERE owner = :p", p=PROJECT)} == {"queued"}


def test_an_upload_without_a_thread_is_told_when_to_come_back(server: StartServer) -> None:
    one = server(config={"fanlight": {"transfer_threads": 2}})
    member = one.as_member(PROJECT)
    ids = [member.create()["id"] for _ in range(3)]
    with ExitStack() as stack:
        for image_id in ids[:2]:
            stack.enter_context(SlowUpload(one, image_id, MIB)).send(b"x" * 1000)
        eventually(lambda: one.rows("SELECT COUNT(*) AS n FROM fanlight_leases") == [{"n": 2}])
        answer = member.upload(ids[2], b"data")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert member.show(ids[2])["status"] == "queued"
    eventually(lambda: member.upload(ids[2], b"data").status_code == 204)


def test_a_stranger_sends_no_large_document(server: StartServer) -> None:
    """What may take memory is read when it is known of whom."""
    one = server()
    for size, framing in ((17_000, "Content-Length: 17000"), (20_000, "Transfer-Encoding: chunked")):
        with socket.create_connection(("127.0.0.1", one.port), 10) as connection:
            connection.sendall(f"POST /v2/images HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
            # No byte of it was sent, and none is waited for.
            assert connection.makefile("rb").readline().split()[1] == b"401"
        document = {"name": "x", "long": "y" * size}
        assert one.client().post("/v2/images", json=document).status_code == 401
        assert one.as_member(PROJECT).post("/v2/images", json=document).status_code == 201
