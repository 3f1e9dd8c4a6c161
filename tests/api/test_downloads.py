"""GET of an image's data: whole, in ranges of both spellings, and what it never does (gzip, pretending)."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.bed.callers import Client
from tests.bed.servers import Server
from tests.conftest import StartServer

DATA = random.Random(3).randbytes(3_000_001)
SIZE = len(DATA)
OCTETS = "application/octet-stream"

RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=0-9": (0, 10),
    "bytes=10-": (10, SIZE),
    "bytes=1048575-1048577": (1_048_575, 1_048_578),
    f"bytes={SIZE - 1}-": (SIZE - 1, SIZE),
    f"bytes={SIZE - 1}-{SIZE - 1}": (SIZE - 1, SIZE),
    f"bytes=0-{SIZE - 1}": (0, SIZE),
    # An end beyond the image is clipped.
    f"bytes=5-{SIZE * 2}": (5, SIZE),
    f"bytes=0-{2**63 - 1}": (0, SIZE),
    "bytes=-1": (SIZE - 1, SIZE),
    "bytes=-1000": (SIZE - 1000, SIZE),
    # More than there is: the whole image, as a part.
    f"bytes=-{SIZE}": (0, SIZE),
    f"bytes=-{SIZE + 5}": (0, SIZE),
}
CONTENT_RANGES = {
    f"bytes 0-9/{SIZE}": (0, 10),
    "bytes 0-9/*": (0, 10),
    f"bytes 100-{SIZE - 1}/{SIZE}": (100, SIZE),
    f"bytes 100-{SIZE - 1}/*": (100, SIZE),
}
REFUSED = {
    f"bytes={SIZE}-": 416,
    f"bytes={SIZE}-{SIZE + 1}": 416,
    "bytes=5-4": 416,
    "bytes=-0": 416,
    "bytes=-": 416,
    "bytes=": 416,
    "bytes": 416,
    "": 416,
    "bytes=a-b": 416,
    "bytes=1": 416,
    "bytes=--1": 416,
    "bytes=+1-2": 416,
    "items=0-1": 416,
    "bytes=0-1,3-4": 400,
    "bytes=0-1,": 400,
}
REFUSED_CONTENT_RANGES = {
    "bytes 0-9": 416,
    "bytes */10": 416,
    "bytes 9-0/*": 416,
    f"bytes {SIZE}-{SIZE + 1}/*": 416,
    f"bytes 0-{SIZE}/*": 416,
    "junk": 416,
}


@pytest.fixture
def owner(service: Server, project: str) -> Client:
    return service.as_member(project)


@pytest.fixture
def url(owner: Client) -> str:
    return f"/v2/images/{owner.create_active(DATA)['id']}/file"


def assert_part(answer: httpx.Response, first: int, end: int) -> None:
    assert answer.status_code == 206
    assert answer.content == DATA[first:end]
    assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(end - first)
    assert answer.headers["content-type"] == OCTETS
    # The sum of the whole image, also on a part (Image API V2).
    assert answer.headers["content-md5"] == hashlib.md5(DATA).hexdigest()


def test_whole(owner: Client, url: str) -> None:
    answer = owner.get(url)
    assert answer.status_code == 200
    assert answer.content == DATA
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["content-type"] == OCTETS
    assert answer.headers["content-md5"] == hashlib.md5(DATA).hexdigest()
    assert "content-range" not in answer.headers


def test_ranges(owner: Client, url: str) -> None:
    for header, (first, end) in RANGES.items():
        assert_part(owner.get(url, headers={"Range": header}), first, end)


def test_content_ranges(owner: Client, url: str) -> None:
    for header, (first, end) in CONTENT_RANGES.items():
        assert_part(owner.get(url, headers={"Content-Range": header}), first, end)


def test_a_range_wins_over_a_content_range(owner: Client, url: str) -> None:
    assert_part(owner.get(url, headers={"Range": "bytes=1-2", "Content-Range": "bytes 5-9/*"}), 1, 3)


def test_refused_ranges(owner: Client, url: str) -> None:
    for header, status in REFUSED.items():
        answer = owner.get(url, headers={"Range": header})
        assert answer.status_code == status, header
        assert DATA[:4] not in answer.content
    for header, status in REFUSED_CONTENT_RANGES.items():
        assert owner.get(url, headers={"Content-Range": header}).status_code == status, header


def test_ranges_put_together_are_the_image(owner: Client, url: str) -> None:
    step = 700_001
    parts = [
        owner.get(url, headers={"Range": f"bytes={start}-{start + step - 1}"}).content for start in range(0, SIZE, step)
    ]
    assert b"".join(parts) == DATA


def test_an_image_without_bytes(owner: Client) -> None:
    """An empty upload is a valid one."""
    image = owner.create()
    url = f"/v2/images/{image['id']}/file"
    assert owner.get(url).status_code == 204
    assert owner.upload(image["id"], b"").status_code == 204
    shown = owner.show(image["id"])
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", 0, None)
    assert shown["checksum"] == hashlib.md5(b"").hexdigest()
    assert shown["os_hash_value"] == hashlib.sha512(b"").hexdigest()
    answer = owner.get(url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "0"
    for header in ("bytes=0-0", "bytes=0-", "bytes=-1"):
        assert owner.get(url, headers={"Range": header}).status_code == 416


def test_data_is_never_compressed(owner: Client, service: Server) -> None:
    """Zeros would shrink to nothing: length and sums would be those of something else."""
    image = owner.create_active(bytes(200_000))
    with owner.stream("GET", f"/v2/images/{image['id']}/file", headers={"Accept-Encoding": "gzip"}) as answer:
        assert "content-encoding" not in answer.headers
        assert answer.headers["content-length"] == "200000"
        assert b"".join(answer.iter_raw()) == bytes(200_000)


def test_json_is_compressed_when_asked(owner: Client) -> None:
    for number in range(10):
        owner.create(name=f"image {number}")
    plain = owner.get("/v2/images", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    with owner.stream("GET", "/v2/images", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        body = b"".join(answer.iter_raw())
    assert answer.headers["content-length"] == str(len(body))
    assert len(body) < len(plain.content) / 2
    assert json.loads(gzip.decompress(body)) == plain.json()


def test_a_compressed_upload_is_stored_as_it_came(owner: Client) -> None:
    """Content-Encoding has no meaning for the data of an image."""
    data = gzip.compress(b"inside" * 1000)
    image = owner.create_active(data)
    assert owner.get(f"/v2/images/{image['id']}/file").content == data


def test_prefer_needs_stores_to_prefer(server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    stores = {name: {"filesystem_store_datadir": tmp_path_factory.mktemp(name)} for name in ("one", "two")}
    several = server(
        config={
            "DEFAULT": {"enabled_backends": "one:file,two:file"},
            "glance_store": {"default_backend": "one"},
            **stores,
        }
    )
    member = several.as_member("p")
    image = member.create_active(b"data")
    assert image["stores"] == "one"
    url = f"/v2/images/{image['id']}/file"
    for preferred, status in (("one", 200), ("two", 200), ("two,one", 200), (",", 200), ("", 200), ("three", 400)):
        assert member.get(url, params={"prefer": preferred}).status_code == status, preferred
    other = member.create()
    headers = {"Content-Type": OCTETS, "X-Image-Meta-Store": "two"}
    assert member.put(f"/v2/images/{other['id']}/file", content=b"two", headers=headers).status_code == 204
    assert member.show(other["id"])["stores"] == "two"
    headers["X-Image-Meta-Store"] = "three"
    third = member.create()
    assert member.put(f"/v2/images/{third['id']}/file", content=b"x", headers=headers).status_code == 400
    assert member.show(third["id"])["status"] == "queued"


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_what_goes_up_comes_down(owner: Client, framing: str) -> None:
    image = owner.create()
    assert owner.upload(image["id"], DATA if framing == "length" else _pieces(DATA)).status_code == 204
    shown = owner.show(image["id"])
    assert (shown["size"], shown["virtual_size"]) == (SIZE, SIZE)
    assert shown["checksum"] == hashlib.md5(DATA).hexdigest()
    assert (shown["os_hash_algo"], shown["os_hash_value"]) == ("sha512", hashlib.sha512(DATA).hexdigest())
    assert owner.get(f"/v2/images/{image['id']}/file").content == DATA


# -- a store that has other bytes than were put there


@pytest.mark.parametrize("stored", [b"", b"0123", b"0123456789abcdef"])
def test_damaged_data_is_never_a_whole_answer(service: Server, project: str, stored: bytes) -> None:
    """A file that was cut or grew behind our back."""
    owner = service.as_member(project)
    image = owner.create_active(b"0123456789")
    (file,) = (path for path in service.files() if image["id"] in path)
    (service.data_dir / "images" / file).write_bytes(stored)
    url = f"/v2/images/{image['id']}/file"
    answer = owner.get(url)
    assert (answer.status_code, "content-md5" in answer.headers) == (503, False)
    if len(stored) < 10:
        assert owner.get(url, headers={"Range": "bytes=2-9"}).status_code == 503
    service.wait_for_log(f"image {image['id']} cannot be read from store local")


# -- who may see an image is decided first


def test_nothing_is_said_of_the_request_before_the_image_is_found(service: Server, project: str) -> None:
    hidden = service.as_member(project).create_active(b"x")["id"]
    stranger = service.as_member("stranger-" + project)
    for image_id in (hidden, str(uuid.uuid4())):
        url = f"/v2/images/{image_id}/file"
        for header in ("x", "bytes=0-1,3-4", "bytes=7-"):
            assert stranger.get(url, headers={"Range": header}).status_code == 404, header
        assert stranger.get(url, params={"prefer": "nowhere"}).status_code == 404
