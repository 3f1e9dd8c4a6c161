"""URLs of S3 objects, and how an upload is cut into parts."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanlight.errors import MalformedLocation, StoreError
from fanlight.stores.s3 import S3
from fanlight.stores.s3_address import Address
from fanlight.stores.s3_upload import PARTS, PIECE, Part, Sent, Upload, part_size
from tests.stores.place import STORE, Bytes, pattern

MIB = 1 << 20
WORD = st.text("abcXYZ0189.-_+=", min_size=1).filter(lambda word: word not in (".", ".."))


# -- addresses


@given(scheme=st.sampled_from(S3.schemes), host=WORD, port=st.integers(1, 65535), bucket=WORD, key=WORD)
def test_urls_come_back(scheme: str, host: str, port: int, bucket: str, key: str) -> None:
    address = Address(scheme, f"{host}:{port}", bucket, key)
    assert Address.parse(address.url) == address


@given(access=WORD, secret=st.text("abcXYZ019+/=:@", min_size=1), host=WORD, bucket=WORD, key=WORD)
def test_credentials_are_forgotten(access: str, secret: str, host: str, bucket: str, key: str) -> None:
    address = Address.parse(f"s3://{access}:{secret}@{host}/{bucket}/{key}")
    assert address == Address("s3", host, bucket, key)


@given(st.text())
def test_any_text_is_an_address_or_malformed(text: str) -> None:
    for url in (text, "s3://" + text, "s3+https://" + text):
        try:
            address = Address.parse(url)
        except MalformedLocation:
            continue
        assert Address.parse(address.url) == address


@pytest.mark.parametrize(
    ("host", "url", "region"),
    [
        ("s3.example.org", "s3+https://s3.example.org/b-1/x", ""),
        ("https://s3.example.org:8443/", "s3+https://s3.example.org:8443/b-1/x", ""),
        ("http://127.0.0.1:1", "s3://127.0.0.1:1/b-1/x", ""),
        ("s3-eu-west-1.amazonaws.com", "s3+https://s3-eu-west-1.amazonaws.com/b-1/x", "eu-west-1"),
        ("https://s3.ap-south-1.amazonaws.com", "s3+https://s3.ap-south-1.amazonaws.com/b-1/x", "ap-south-1"),
    ],
)
def test_hosts(host: str, url: str, region: str) -> None:
    store = S3(
        STORE,
        {
            "s3_store_host": host,
            "s3_store_access_key": "a",
            "s3_store_secret_key": "b",
            "s3_store_bucket": "b-1",
        },
    )
    store.configure()
    assert store.planned_url("x") == url
    assert store._region == region


# -- parts


def test_any_size_fits_into_the_parts_of_an_upload() -> None:
    largest = 5 << 40
    for base in (5 * MIB, 10 * MIB):
        assert sum(part_size(base, None, number) for number in range(1, PARTS + 1)) >= largest
        assert part_size(base, largest, 1) * PARTS >= largest
        assert part_size(base, None, 1) == part_size(base, 1, 1) == base


def test_up_to_some_gigabytes_no_more_parts_are_needed_than_swift_takes() -> None:
    for base in (5 * MIB, 10 * MIB):
        for size in (5 << 30, 15 << 30, 15_625 * MIB):
            assert -(-size // part_size(base, size, 1)) <= 1000
        assert sum(part_size(base, None, number) for number in range(1, 1001)) >= 9 << 30
        assert max(part_size(base, 15 << 30, 1), part_size(base, None, 700)) <= 16 * MIB + base


def test_parts_keep_their_order_and_memory_its_bounds() -> None:
    """A server that answers late parts first; what is under way at a time is bounded."""
    lock = threading.Lock()
    under_way, most, sent = 0, 0, {}

    def send(number: int, data: bytearray) -> str:
        nonlocal under_way, most
        with lock:
            under_way += len(data)
            most = max(most, under_way)
        threading.Event().wait(0.02 if number % 3 else 0.06)
        with lock:
            under_way -= len(data)
            sent[number] = bytes(data)
        return f"tag-{number}"

    data = pattern(190 * MIB + 1)
    source = Bytes(data)
    upload = Upload(send, 10 * MIB, None, 10)
    tags = upload.run(source, Part(bytearray(source.read(10 * MIB)), False))
    assert tags == [f"tag-{number}" for number in range(1, len(tags) + 1)]
    assert b"".join(sent[number] for number in sorted(sent)) == data
    assert upload.written == len(data)
    assert most <= 40 * MIB


def test_part_that_fails_ends_the_upload() -> None:
    """No further byte is read than those under way need."""
    source = Bytes(pattern(100 * MIB))

    def send(number: int, _data: bytearray) -> str:
        if number == 2:
            raise StoreError("no")
        return ""

    with pytest.raises(StoreError, match="no"):
        Upload(send, 5 * MIB, None, 3).run(source, Part(bytearray(source.read(5 * MIB)), False))
    rest = len(source.read(-1))
    assert rest >= 70 * MIB


def test_a_part_as_a_file() -> None:
    data = bytearray(pattern(2 * PIECE + 7))
    sent = Sent(data)
    for _ in range(2):
        assert (len(sent), sent.tell()) == (len(data), 0)
        pieces = list(iter(lambda: sent.read(16_384), b""))
        assert [len(piece) for piece in pieces] == [PIECE, PIECE, 7]
        assert b"".join(pieces) == data
        assert sent.seek(0, 2) == len(data)
        assert sent.seek(-3, 1) == len(data) - 3
        assert sent.read() == data[-3:]
        assert sent.seek(0) == 0
    assert sent.read(3 * PIECE) == data
    # Nothing holds the memory of the part, which is the next one's.
    del data[5:]
