"""A body cut anywhere, in both framings, however the connection ends: never an active image, nothing left behind."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.bed.servers import Server
from tests.durability.wire import SlowUpload, assert_has, assert_waits_for_data, chunk
from tests.edge.raw import eventually

MIB = 1 << 20
DATA = random.Random(1).randbytes(5 * MIB + 17)
"""More than one block of the upload path, and no round number of them."""
LENGTHS = (0, 1, 2, 65_535, 65_536, 65_537, MIB - 1, MIB, MIB + 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, len(DATA) - 1)
CHUNK = 300_001
WAYS = ("close", "reset", "half")


def wire_body() -> bytes:
    parts = [chunk(DATA[start : start + CHUNK]) for start in range(0, len(DATA), CHUNK)]
    return b"".join(parts) + b"0\r\n\r\n"


BODY = wire_body()
FIRST = len(b"%x\r\n" % CHUNK)
CHUNKED = (
    *(0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + CHUNK - 1, FIRST + CHUNK, FIRST + CHUNK + 1, FIRST + CHUNK + 2),
    *(FIRST + CHUNK + 3, MIB, 4 * MIB, len(BODY) - 8, len(BODY) - 7, len(BODY) - 6, len(BODY) - 5, len(BODY) - 4),
    *(len(BODY) - 3, len(BODY) - 2, len(BODY) - 1),
)
"""In and after size lines, in data, before and within the line end after it, in the last chunk; never the last byte."""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("cut")).start()
    yield made
    made.end()
    assert made.unexpected_tracebacks() == []


def assert_cut_is_refused(server: Server, image_id: str, way: str, sent: bytes, length: int | None) -> None:
    """Send part of a body and end the connection; afterwards all is as before, and the whole body goes up."""
    member = server.as_member("p")
    since = server.log_size()
    upload = SlowUpload(server, image_id, length)
    upload.connection.sendall(sent)
    upload.cut(way)
    # The line in the log says that the request is over; until then it might not even have begun.
    server.wait_for_log(f"PUT /v2/images/{image_id}/file", since=since)
    eventually(lambda: member.show(image_id)["status"] != "saving")
    assert_waits_for_data(server, member, image_id)


@pytest.mark.parametrize("way", WAYS)
def test_cut_with_a_length(one: Server, way: str) -> None:
    member = one.as_member("p")
    image = member.create()
    for position in LENGTHS:
        assert_cut_is_refused(one, image["id"], way, DATA[:position], len(DATA))
    assert member.upload(image["id"], DATA).status_code == 204
    assert_has(one, member, image["id"], DATA)


@pytest.mark.parametrize("way", WAYS)
def test_cut_in_chunks(one: Server, way: str) -> None:
    member = one.as_member("p")
    image = member.create()
    for position in CHUNKED:
        assert_cut_is_refused(one, image["id"], way, BODY[:position], None)
    upload = SlowUpload(one, image["id"], None)
    upload.connection.sendall(BODY)
    assert upload.status() == 204
    upload.cut("close")
    assert_has(one, member, image["id"], DATA)


@pytest.mark.parametrize(
    "broken", [b"zz\r\n", b"-1\r\n", b"5\r\nabc\r\n0\r\n\r\n", b"3\r\nabcdef\r\n", b"\r\n", b"3 abc"]
)
def test_chunks_that_are_none(one: Server, broken: bytes) -> None:
    image = one.as_member("p").create()
    assert_cut_is_refused(one, image["id"], "half", chunk(DATA[:CHUNK]) + broken, None)


@pytest.mark.parametrize("announced", [len(DATA) + 1, len(DATA) - 1, 0, 1 << 60])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_size_header_that_is_wrong(one: Server, announced: int, framing: str) -> None:
    member = one.as_member("p")
    image = member.create()
    headers = {"Content-Type": "application/octet-stream", "X-Openstack-Image-Size": str(announced)}
    body = DATA if framing == "length" else iter([DATA[:MIB], DATA[MIB:]])
    answer = member.put(f"/v2/images/{image['id']}/file", content=body, headers=headers)
    assert answer.status_code == (413 if announced == 1 << 60 else 400)
    assert_waits_for_data(one, member, image["id"])
    headers["X-Openstack-Image-Size"] = str(len(DATA))
    assert member.put(f"/v2/images/{image['id']}/file", content=DATA, headers=headers).status_code == 204


def test_more_bytes_than_announced(one: Server) -> None:
    """What comes after the announced length is no part of the image, and no request either."""
    member = one.as_member("p")
    image = member.create()
    upload = SlowUpload(one, image["id"], 1000)
    upload.connection.sendall(DATA[:1000] + b"\xff\xfemore")
    assert upload.status() == 204
    upload.cut("close")
    assert_has(one, member, image["id"], DATA[:1000])
