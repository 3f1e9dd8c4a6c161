"""One side of the comparison of stores, in a process of its own: `store_worker.py SIDE STORE SIZE`.

It runs in Fanlight's environment or in glance_store's, so it imports of either only what its side needs. The first line
on stdin are the store's options; then each line is `add`, `get` or `delete`, answered with the seconds that it took.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Protocol

MIB = 1 << 20
BLOCK = 4 * MIB


class Stream:
    """`size` bytes that no store can compress, as they come from a client."""

    def __init__(self, size: int) -> None:
        self._block = os.urandom(BLOCK)
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        # All that is asked for: boto3 takes less for the end of a part, and loses what comes after it.
        count = min(self._left, BLOCK if size is None or size < 0 else size)
        self._left -= count
        return self._block if count == BLOCK else (self._block * -(-count // BLOCK))[:count]


class Side(Protocol):
    def add(self, name: str, source: Stream, size: int) -> None: ...
    def get(self, name: str) -> Iterable[Any]: ...
    def delete(self, name: str) -> None: ...


class Ours:
    """Fanlight: the driver and the portable part around it, which hashes MD5 and SHA-512."""

    def __init__(self, store: str, options: dict[str, Any]) -> None:
        from fanlight.settings import StoreSettings, StoresSettings
        from fanlight.stores import create_stores

        one = StoreSettings(id="bench", type=store, options=options)
        self._stores = create_stores(StoresSettings(stores=(one,), default="bench"))
        self._locations: dict[str, Any] = {}

    def add(self, name: str, source: Stream, size: int) -> None:
        from fanlight.model import Location

        stored = self._stores.put("bench", name, source, size, algorithm="sha512")
        self._locations[name] = Location(url=stored.url, metadata=stored.metadata)

    def get(self, name: str) -> Iterable[Any]:
        reader = self._stores.open(self._locations[name])
        yield from reader
        reader.close()

    def delete(self, name: str) -> None:
        self._stores.delete(self._locations[name])


class Theirs:
    """glance_store as Glance calls it, with the same two hashes."""

    def __init__(self, store: str, options: dict[str, Any]) -> None:
        glance_store = importlib.import_module("glance_store")
        self._backend = importlib.import_module("glance_store.backend")
        conf = importlib.import_module("oslo_config.cfg").ConfigOpts()
        glance_store.register_opts(conf)
        conf([])
        for option, value in {"stores": [store], "default_store": store, **options}.items():
            conf.set_override(option, value, group="glance_store")
        glance_store.create_stores(conf)
        self._conf, self._scheme = conf, store
        self._urls: dict[str, str] = {}

    def add(self, name: str, source: Stream, size: int) -> None:
        added = self._backend.add_to_backend_with_multihash(self._conf, name, source, size, "sha512", self._scheme)
        self._urls[name] = added[0]

    def get(self, name: str) -> Iterable[Any]:
        data, _ = self._backend.get_from_backend(self._urls[name])
        return data  # type: ignore[no-any-return]

    def delete(self, name: str) -> None:
        self._backend.delete_from_backend(self._urls[name])


class RawFile:
    """The floor of files: write, sync, and read in large blocks."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._folder = options["filesystem_store_datadir"]

    def add(self, name: str, source: Stream, size: int) -> None:
        with open(os.path.join(self._folder, name), "wb", buffering=0) as file:
            while block := source.read(BLOCK):
                file.write(block)
            os.fsync(file.fileno())

    def get(self, name: str) -> Iterable[bytes]:
        with open(os.path.join(self._folder, name), "rb", buffering=0) as file:
            while block := file.read(BLOCK):
                yield block

    def delete(self, name: str) -> None:
        os.unlink(os.path.join(self._folder, name))


class RawS3:
    """boto3 as it comes: parts of 8 MiB, ten threads."""

    def __init__(self, options: dict[str, Any]) -> None:
        import boto3
        from botocore.config import Config

        self._bucket = options["s3_store_bucket"]
        self._client = boto3.client(
            "s3",
            endpoint_url=options["s3_store_host"],
            aws_access_key_id=options["s3_store_access_key"],
            aws_secret_access_key=options["s3_store_secret_key"],
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def add(self, name: str, source: Stream, size: int) -> None:
        self._client.upload_fileobj(source, self._bucket, name)

    def get(self, name: str) -> Iterable[bytes]:
        yield from self._client.get_object(Bucket=self._bucket, Key=name)["Body"].iter_chunks(BLOCK)

    def delete(self, name: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=name)


class RawSwift:
    """python-swiftclient: one PUT."""

    def __init__(self, options: dict[str, Any]) -> None:
        from swiftclient.client import Connection

        project, _, user = options["swift_store_user"].partition(":")
        domains = {"project_name": project, "user_domain_id": "default", "project_domain_id": "default"}
        url, key = options["swift_store_auth_address"], options["swift_store_key"]
        self._connection = Connection(url, user, key, auth_version="3", os_options=domains)
        self._container = options["swift_store_container"]

    def add(self, name: str, source: Stream, size: int) -> None:
        self._connection.put_object(self._container, name, source, content_length=size, chunk_size=BLOCK)

    def get(self, name: str) -> Iterable[bytes]:
        _, data = self._connection.get_object(self._container, name, resp_chunk_size=BLOCK)
        return data  # type: ignore[no-any-return]

    def delete(self, name: str) -> None:
        self._connection.delete_object(self._container, name)


class RawRbd:
    """librbd: one write after the other, then a flush."""

    def __init__(self, options: dict[str, Any]) -> None:
        import rados

        cluster = rados.Rados(conffile=options["rbd_store_ceph_conf"], rados_id=options["rbd_store_user"])
        cluster.connect()
        self._pool = cluster.open_ioctx(options["rbd_store_pool"])

    def add(self, name: str, source: Stream, size: int) -> None:
        import rbd

        rbd.RBD().create(self._pool, name, size, order=23, old_format=False, features=rbd.RBD_FEATURE_LAYERING)
        with rbd.Image(self._pool, name) as image:
            place = 0
            while block := source.read(BLOCK):
                place += image.write(block, place)
            image.flush()

    def get(self, name: str) -> Iterable[bytes]:
        import rbd

        with rbd.Image(self._pool, name, read_only=True) as image:
            for place in range(0, image.size(), 2 * BLOCK):
                yield image.read(place, min(2 * BLOCK, image.size() - place))

    def delete(self, name: str) -> None:
        import rbd

        rbd.RBD().remove(self._pool, name)


RAW: dict[str, Callable[[dict[str, Any]], Side]] = {"file": RawFile, "s3": RawS3, "swift": RawSwift, "rbd": RawRbd}


def made(side: str, store: str, options: dict[str, Any]) -> Side:
    """The side of that name, ready."""
    if side == "raw":
        return RAW[store](options)
    return Ours(store, options) if side == "ours" else Theirs(store, options)


def main() -> None:
    _, name, store, size = sys.argv
    side = made(name, store, json.loads(sys.stdin.readline()))
    objects: list[str] = []
    for line in sys.stdin:
        begun = time.perf_counter()
        if line == "add\n":
            objects.append(str(uuid.uuid4()))
            side.add(objects[-1], Stream(int(size)), int(size))
        elif line == "get\n":
            count = sum(len(block) for block in side.get(objects[-1]))
            if count != int(size):
                raise SystemExit(f"{count} bytes came back")
        else:
            side.delete(objects.pop())
        print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main()
