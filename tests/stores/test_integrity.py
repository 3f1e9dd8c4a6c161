"""Bytes that change on the way into a back end: the upload fails, whoever notices, and nothing of it stays.

A relay in front of the real server spoils one byte of one body. The server then truly has other bytes than were sent,
and says so in its answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import StoreError
from fanlight.stores.s3_upload import told_md5
from tests.bed.databases import needed
from tests.stores import s3_servers
from tests.stores import swift_bed as bed
from tests.stores.place import STORE, Bytes, new_id, open_one
from tests.stores.relay import Relay, certificate_in

MIB = 1 << 20
SEGMENT = 1_024_000
SENT, ARRIVED = b"\xaa\xaa", b"\xaa\xab"
"""Bytes that no head of a request has."""


@contextmanager
def spoiling(url: str, certificate: Path | None = None) -> Iterator[str]:
    """A way to `url` on which one byte of all that is sent changes."""
    spoiled: list[bytes] = []

    def change(block: bytes) -> bytes:
        if not spoiled and SENT in block:
            spoiled.append(block)
            return block.replace(SENT, ARRIVED, 1)
        return block

    with Relay(url, certificate, change) as relay:
        yield relay.url
    assert spoiled, "nothing was sent that could be spoiled"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_in(tmp_path_factory.mktemp("tls"))


def put(kind: str, options: dict[str, Any], size: int, known: bool) -> None:
    stores = open_one(kind, options)
    stores.put(STORE, new_id(), Bytes(b"\xaa" * size), size if known else None, algorithm="sha512")


# -- Swift


@pytest.fixture(params=["FANLIGHT_TEST_SWIFT_V1", "FANLIGHT_TEST_RGW_SWIFT_AUTH"], ids=["swift", "ceph"])
def container(request: pytest.FixtureRequest) -> Iterator[bed.Container]:
    with bed.Container.made(bed.own(needed(request.param))) as one:
        yield one


@pytest.mark.services
@pytest.mark.parametrize(("size", "known"), [(1000, True), (1000, False), (3 * SEGMENT, True), (3 * SEGMENT, False)])
@pytest.mark.parametrize("buffered", [False, True])
def test_swift(container: bed.Container, size: int, known: bool, buffered: bool, tmp_path: Path) -> None:
    storage, _ = container.client.get_auth()
    with spoiling(storage) as url:
        options = {
            "swift_store_auth_address": container.client.authurl,
            "swift_store_auth_version": "1",
            "swift_store_user": "test:tester",
            "swift_store_key": "testing",
            "swift_store_container": container.name,
            "swift_store_endpoint": storage.replace("/".join(storage.split("/", 3)[:3]), url),
            "swift_buffer_on_upload": buffered,
            "swift_upload_buffer_dir": str(tmp_path),
        }
        with pytest.raises(StoreError, match="other bytes than were sent"):
            put("swift", bed.small(options), size, known)
    assert container.names() == []


# -- S3


@pytest.fixture(params=[s3_servers.swift, s3_servers.gateway], ids=["swift", "ceph"])
def bucket(request: pytest.FixtureRequest) -> Iterator[s3_servers.Bucket]:
    place: s3_servers.Bucket = request.param()
    with place.made():
        yield place


@pytest.mark.services
@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_s3(bucket: s3_servers.Bucket, size: int, certificate: Path) -> None:
    """Behind the end of TLS nothing is signed but the heads."""
    with spoiling(bucket.endpoint, certificate) as url:
        options = {**bucket.options(), "s3_store_host": url, "s3_store_cacert": str(certificate)}
        with pytest.raises(StoreError, match="other bytes than were sent"):
            put("s3", {**options, "s3_store_large_object_chunk_size": 5}, size, True)
    assert bucket.contents() == []


@pytest.mark.services
@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_s3_where_bodies_are_signed(bucket: s3_servers.Bucket, size: int) -> None:
    """Without TLS the server itself notices."""
    with spoiling(bucket.endpoint) as url:
        options = {**bucket.options(), "s3_store_host": url, "s3_store_large_object_chunk_size": 5}
        with pytest.raises(StoreError, match="refused"):
            put("s3", options, size, True)
    assert bucket.contents() == []


MD5 = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"ETag": f'"{MD5}"'}, MD5),
        ({"ETag": MD5, "ServerSideEncryption": "AES256"}, MD5),
        ({"ETag": f'"{MD5}"', "ServerSideEncryption": "aws:kms"}, None),
        ({"ETag": f'"{MD5}"', "SSECustomerAlgorithm": "AES256"}, None),
        ({"ETag": f'"{MD5}-1"'}, None),
        ({"ETag": ""}, None),
        ({}, None),
    ],
)
def test_etags_that_are_no_md5(answer: dict[str, str], told: str | None) -> None:
    assert told_md5(answer) == told
