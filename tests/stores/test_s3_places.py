"""Where S3 objects may be: behind TLS with a CA of one's own, and in folders of the bucket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import BadStoreConfiguration, MalformedLocation, ObjectNotFound, StoreUnreachable
from fanlight.model import Location
from fanlight.settings import StoreSettings, StoresSettings
from fanlight.stores import create_stores, s3
from fanlight.stores.s3 import S3
from tests.stores.place import STORE, Bytes, pattern
from tests.stores.relay import Relay, certificate_in
from tests.stores.s3_servers import Bucket, swift

MIB = 1 << 20
HERE = {
    "s3_store_host": "http://gw.example.org:8080/s3",
    "s3_store_access_key": "key",
    "s3_store_secret_key": "secret",
    "s3_store_bucket": "images",
}


def configured(options: dict[str, Any]) -> S3:
    store = S3(STORE, options)
    store.configure()
    return store


def read(store: S3, url: str) -> bytes:
    opened = store.open(url)
    try:
        return b"".join(map(bytes, opened.blocks))
    finally:
        opened.close()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with swift().made() as one:
        yield one


# -- keys with slashes


@pytest.mark.parametrize(
    ("place", "bucket", "key"),
    [
        ("gw.example.org:8080/s3/images/id", "images", "id"),
        ("gw.example.org:8080/s3/images/deep/down/id", "images", "deep/down/id"),
        ("GW.example.org:8080/s3/images/images/id", "images", "images/id"),
        ("old:se/cret@gw.example.org:8080/s3/images/deep/id", "images", "deep/id"),
        # Of another host or bucket nobody knows where the key begins: the last part, as Glance reads it.
        ("gw.example.org:8080/s3/others/deep/id", "deep", "id"),
        ("gw.example.org:8080/s3/Images/deep/id", "deep", "id"),
        ("gw.example.org/s3/images/deep/id", "deep", "id"),
        ("gw.example.org:8080/s3/images2/deep/id", "deep", "id"),
    ],
)
def test_where_the_key_begins(place: str, bucket: str, key: str) -> None:
    store = configured(HERE)
    for scheme in S3.schemes:
        address = store._address(f"{scheme}://{place}")
        assert (address.bucket, address.key) == (bucket, key)
    assert store.owns(f"s3://{place}") == (bucket == "images")


@pytest.mark.parametrize("rest", ["deep//id", "/id", "deep/", "../others/id", "deep/./id", "deep/.."])
def test_steps_that_lead_elsewhere(rest: str) -> None:
    with pytest.raises(MalformedLocation):
        configured(HERE)._address(f"s3://gw.example.org:8080/s3/images/{rest}")


@pytest.mark.services
@pytest.mark.parametrize("key", ["deep/down/image", "my image.qcow2"])
def test_objects_of_other_names_than_ours(bucket: Bucket, key: str) -> None:
    store = configured(bucket.options())
    data = pattern(1000)
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=data)
    bucket.client.put_object(Bucket=bucket.name, Key="image", Body=b"another")
    url = f"s3://{bucket.endpoint.removeprefix('http://')}/{bucket.name}/{key}"
    assert (store.get_size(url), read(store, url)) == (1000, data)
    store.delete(url)
    assert bucket.contents() == ["image"]
    with pytest.raises(ObjectNotFound):
        store.delete(url)
    bucket.client.delete_object(Bucket=bucket.name, Key="image")


def test_keys_in_urls_of_another_host_do_not_show_either() -> None:
    """The store that such an object was in has gone from the configuration, or has another name now."""
    made = (StoreSettings(id="m", type="memory"), StoreSettings(id="s", type="s3", options=HERE))
    stores = create_stores(StoresSettings(stores=made, default="m"))
    for metadata in ({}, {"store": "gone"}, {"store": "s"}):
        location = Location(url="s3+https://key:hid/den@old.example.org/images/id", metadata=metadata)
        assert stores.shown(location).url == "s3+https://old.example.org/images/id"


# -- TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return certificate_in(tmp_path)


@pytest.mark.services
@pytest.mark.parametrize("size", [0, 1000, 6 * MIB])
def test_with_the_ca(bucket: Bucket, certificate: Path, size: int) -> None:
    with Relay(bucket.endpoint, certificate) as front:
        more = {"s3_store_cacert": str(certificate), "s3_store_large_object_chunk_size": 5}
        store = configured({**bucket.options(), "s3_store_host": front.url, **more})
        store.configure_add()
        url = store.add("image", Bytes(pattern(size)), size).url
        assert url == f"s3+{front.url}/{bucket.name}/image"
        assert store.owns(url)
        assert read(store, url) == pattern(size)
        store.delete(url)


@pytest.mark.services
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("part", [5, 20])
def test_a_slow_line(bucket: Bucket, certificate: Path, monkeypatch: pytest.MonkeyPatch, part: int, tls: bool) -> None:
    """The limit for what is sent is for a piece of it: a part may take longer, however large it is."""
    monkeypatch.setattr(s3, "CONNECT_SECONDS", 1.0)

    def slow(block: bytes) -> bytes:
        time.sleep(len(block) / (5 * MIB))
        return block

    with Relay(bucket.endpoint, certificate if tls else None, slow) as front:
        more = {"s3_store_cacert": str(certificate), "s3_store_large_object_chunk_size": part}
        store = configured({**bucket.options(), "s3_store_host": front.url, **more})
        store.configure_add()
        url = store.add("image", Bytes(pattern(19 * MIB)), None).url
        assert store.get_size(url) == 19 * MIB
        store.delete(url)


@pytest.mark.services
@pytest.mark.parametrize("own", [False, True])
def test_with_other_cas(bucket: Bucket, certificate: Path, own: bool, tmp_path: Path) -> None:
    """Those of the library's own, and one that has nothing to do with it."""
    (tmp_path / "other").mkdir()
    ca = str(certificate_in(tmp_path / "other")) if own else None
    with Relay(bucket.endpoint, certificate) as front:
        store = configured({**bucket.options(), "s3_store_host": front.url, "s3_store_cacert": ca})
        with pytest.raises(StoreUnreachable):
            store.get_size(f"s3+{front.url}/{bucket.name}/image")


def test_a_ca_file_that_is_missing(tmp_path: Path) -> None:
    """Found when the store is made, not at the first image."""
    with pytest.raises(BadStoreConfiguration, match="CA file"):
        configured({**HERE, "s3_store_cacert": str(tmp_path / "missing")})
