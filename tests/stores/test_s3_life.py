"""S3 where servers and other clients differ: lost answers, races, quotas, buckets to be made, Glance's own driver."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from fanlight.errors import BadStoreConfiguration, ObjectExists, StoreError
from fanlight.stores.s3 import S3
from tests.stores.glances import glance_store
from tests.stores.place import STORE, Bytes, new_id, pattern
from tests.stores.relay import Forgetful
from tests.stores.s3_servers import Bucket, gateway, swift

pytestmark = pytest.mark.services
MIB = 1 << 20
SMALL = {"s3_store_large_object_size": 5, "s3_store_large_object_chunk_size": 5}


@pytest.fixture(scope="module", params=[swift, gateway], ids=["swift", "ceph"])
def bucket(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    place: Bucket = request.param()
    with place.made():
        yield place


@pytest.fixture
def ceph() -> Iterator[Bucket]:
    with gateway().made() as place:
        yield place


def opened(options: dict[str, Any]) -> S3:
    store = S3(STORE, options)
    store.configure()
    store.configure_add()
    return store


def read(store: S3, url: str) -> bytes:
    found = store.open(url)
    try:
        return b"".join(bytes(block) for block in found.blocks)
    finally:
        found.close()


# -- servers


@pytest.mark.parametrize(("size", "method"), [(1000, b"PUT"), (11 * MIB, b"PUT"), (11 * MIB, b"POST")])
def test_answers_that_are_lost(bucket: Bucket, size: int, method: bytes) -> None:
    """The second try finds what the first has done, and is no reason to fail, nor to leave anything."""
    object_id, data = new_id(), pattern(size)
    with Forgetful(bucket.endpoint, method) as relay:
        store = opened({**bucket.options(), **SMALL, "s3_store_host": relay.url})
        url = store.add(object_id, Bytes(data), size).url
        assert read(store, url) == data
        assert bucket.contents() == [object_id]
        store.delete(url)
        store.discard(object_id)
    assert bucket.contents() == []


@pytest.mark.timeout(40)  # less than the gateway waits for a body that does not come a second time
@pytest.mark.parametrize("size", [0, 1000, 11 * MIB])
def test_servers_that_know_no_conditions(bucket: Bucket, size: int, caplog: pytest.LogCaptureFixture) -> None:
    """Some refuse If-None-Match, and read the body before they do. What is there is found by looking, then."""
    store, refused = opened({**bucket.options(), **SMALL}), []

    def refuse(request: Any, **_more: Any) -> AWSResponse | None:
        if "If-None-Match" not in request.headers:
            return None
        refused.append(request.url)
        if hasattr(request.body, "read"):
            request.body.read()
        page = b"<Error><Code>NotImplemented</Code><Message>A header is not implemented</Message></Error>"
        return AWSResponse(request.url, 501, {}, Raw(page))

    store._client.meta.events.register("before-send.s3", refuse)
    for _ in range(2):
        object_id = new_id()
        url = store.add(object_id, Bytes(pattern(size)), size).url
        assert read(store, url) == pattern(size)
        with pytest.raises(ObjectExists):
            store.add(object_id, Bytes(b"x"), 1)
        store.delete(url)
    assert len(refused) == 1
    assert "knows no If-None-Match" in caplog.text
    assert bucket.contents() == []


def answering(store: S3, operation: str, status: int, body: bytes, **headers: str) -> None:
    """The server answers this to each such operation, which does not reach it."""

    def answer(request: Any, **_more: Any) -> AWSResponse:
        return AWSResponse(request.url, status, headers, Raw(body))

    store._client.meta.events.register(f"before-send.s3.{operation}", answer)


def refusal(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>No</Message></Error>".encode()


@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_a_second_try_knows_the_first_where_the_server_encrypts(bucket: Bucket, size: int) -> None:
    """The ETag is no MD5 then, and says nothing of the number of parts."""

    def encrypted(parsed: dict[str, Any], **_more: Any) -> None:
        parsed.update(ETag='"of-ciphertext"', ServerSideEncryption="aws:kms")

    with Forgetful(bucket.endpoint, b"PUT" if size < MIB else b"POST") as relay:
        store = opened({**bucket.options(), **SMALL, "s3_store_host": relay.url})
        store._client.meta.events.register("after-call.s3.HeadObject", encrypted)
        url = store.add(new_id(), Bytes(pattern(size)), size).url
    again = opened(bucket.options())
    assert read(again, url) == pattern(size)
    again.delete(url)
    assert bucket.contents() == []


def test_what_another_upload_has_completed_is_not_ours(ceph: Bucket) -> None:
    """As long, of as many parts, and there in the moment before ours is completed: Amazon answers 412."""
    object_id, theirs, ours = new_id(), b"t" * 11 * MIB, b"o" * 11 * MIB
    other, store, done = opened({**ceph.options(), **SMALL}), opened({**ceph.options(), **SMALL}), []

    def overtake(**_more: Any) -> None:
        done.append(other.add(object_id, Bytes(theirs), len(theirs)))

    store._client.meta.events.register("before-call.s3.CompleteMultipartUpload", overtake)
    answering(store, "CompleteMultipartUpload", 412, refusal("PreconditionFailed"))
    with pytest.raises(ObjectExists):
        store.add(object_id, Bytes(ours), len(ours))
    assert ceph.contents() == [object_id]
    assert read(store, done[0].url) == theirs
    store.delete(done[0].url)


def test_credentials_that_may_not_list_open_uploads(bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    """An upload whose first answer was lost arrives, and what is discarded is removed all the same."""
    object_id, data = new_id(), pattern(11 * MIB)
    with Forgetful(bucket.endpoint, b"POST") as relay:
        store = opened({**bucket.options(), **SMALL, "s3_store_host": relay.url})
        answering(store, "ListMultipartUploads", 403, refusal("AccessDenied"))
        assert read(store, store.add(object_id, Bytes(data), len(data)).url) == data
        store.discard(object_id)
    assert bucket.contents() == [f"{object_id} (open)"]
    assert "that are still open stay" in caplog.text
    opened(bucket.options()).discard(object_id)
    assert bucket.contents() == []


def test_a_bucket_that_another_upload_has_made_meanwhile() -> None:
    place = gateway()
    store = opened({**place.options(), "s3_store_create_bucket_on_put": True})
    answering(store, "CreateBucket", 409, refusal("BucketAlreadyOwnedByYou"))
    store._client.meta.events.register(
        "before-call.s3.CreateBucket", lambda **_more: place.client.create_bucket(Bucket=place.name) and None
    )
    store.delete(store.add("first", Bytes(b"made"), 4).url)
    place.client.delete_bucket(Bucket=place.name)
    place.client.close()


def test_an_answer_whose_checksum_is_of_other_bytes(ceph: Bucket) -> None:
    options = {"s3_store_enable_data_integrity_protection": True}
    store = opened({**ceph.options(), **options, "s3_store_response_checksum_validation": "when_supported"})
    url = f"{store.planned_url(new_id())}"
    headers = {
        "Content-Length": "5",
        "x-amz-checksum-crc32": base64.b64encode(zlib.crc32(b"other").to_bytes(4)).decode(),
    }
    answering(store, "GetObject", 200, b"bytes", **headers)
    with pytest.raises(StoreError, match="checksum"):
        read(store, url)


class Raw(io.BytesIO):
    """A body, as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def test_two_writers_of_one_id(ceph: Bucket) -> None:
    """One of them wins, and what it wrote is whole. (Swift looks before it writes, and promises nothing in a race.)"""
    store, object_id = opened(ceph.options()), new_id()
    begin = threading.Barrier(4)

    def add(number: int) -> int | None:
        begin.wait()
        try:
            store.add(object_id, Bytes(bytes([number]) * 100_000), None)
        except ObjectExists:
            return None
        return number

    with ThreadPoolExecutor(4) as pool:
        winners = [number for number in pool.map(add, range(4)) if number is not None]
    assert len(winners) == 1
    url = store.planned_url(object_id)
    assert url
    assert read(store, url) == bytes(winners) * 100_000
    store.delete(url)


@pytest.mark.parametrize(("style", "by_name"), [("virtual", True), ("path", False), ("auto", False)])
def test_style_of_addresses(style: str, by_name: bool) -> None:
    """What is sent, because the library falls back to paths without a word."""
    with gateway(style="virtual").made() as place:
        store = opened({**place.options(), "s3_store_bucket_url_format": style})
        sent: list[str] = []
        store._client.meta.events.register("before-send.s3", lambda request, **_more: sent.append(request.url))
        url = store.add("x", Bytes(b"x"), 1).url
        assert read(store, url) == b"x"
        store.delete(url)
    start = f"http://{place.name}.s3.localhost:" if by_name else "http://s3.localhost:"
    assert sent
    assert all(each.startswith(start) and (by_name or f"/{place.name}/x" in each) for each in sent)


@pytest.mark.timeout(40)  # as above: the gateway reads what it refuses for lack of a bucket
def test_bucket_that_is_missing() -> None:
    place = gateway()
    with pytest.raises(BadStoreConfiguration, match=place.name):
        opened(place.options())
    store = opened({**place.options(), "s3_store_create_bucket_on_put": True})
    url = store.add("first", Bytes(b"made"), 4).url
    assert read(store, url) == b"made"
    store.delete(url)
    place.client.delete_bucket(Bucket=place.name)
    place.client.close()


@pytest.mark.parametrize("mode", ["when_required", "when_supported"])
def test_checksums_when_wanted(bucket: Bucket, mode: str) -> None:
    options = {
        **bucket.options(),
        **SMALL,
        "s3_store_enable_data_integrity_protection": True,
        "s3_store_request_checksum_calculation": mode,
        "s3_store_response_checksum_validation": mode,
    }
    store = opened(options)
    for size in (0, 1000, 11 * MIB):
        url = store.add(new_id(), Bytes(pattern(size)), size).url
        assert read(store, url) == pattern(size)
        store.delete(url)


def test_log_of_the_library_shows_neither_secrets_nor_images(bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    """Also where everything else is logged at DEBUG."""
    caplog.set_level(logging.DEBUG)
    store = opened(bucket.options())
    url = store.add(new_id(), Bytes(b"bytes of an image" * 100), None).url
    assert read(store, url)
    store.delete(url)
    for text in (bucket.secret, "bytes of an image", "Signature="):
        assert text not in caplog.text


def test_an_upload_that_ended_while_it_was_discarded(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process was killed as the last answer was on its way: the object is there, and the upload is not."""
    store, object_id = opened({**bucket.options(), **SMALL}), new_id()
    store.add(object_id, Bytes(pattern(6 * MIB)), None)
    begun = [bucket.client.create_multipart_upload(Bucket=bucket.name, Key=object_id)["UploadId"] for _ in range(2)]
    bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=object_id, UploadId=begun[0])
    monkeypatch.setattr(store, "_open_uploads", lambda key: iter(begun))
    store.discard(object_id)
    assert bucket.contents() == []


# -- Glance's own driver


@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_glance_and_we_read_each_other(bucket: Bucket, size: int) -> None:
    options, data = {**bucket.options(), **SMALL}, pattern(size)
    store = opened(options)
    ours = store.add(new_id(), Bytes(data), size).url
    found, theirs = glance_store("s3", options, ["read", ours], ["add", new_id(), data, size])
    assert found == hashlib.sha512(data).hexdigest()
    assert store.owns(theirs)
    assert store.get_size(theirs) == size
    assert read(store, theirs) == data
    for url in (ours, theirs):
        store.delete(url)
    assert bucket.contents() == []
