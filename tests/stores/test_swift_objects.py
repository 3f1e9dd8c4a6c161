"""Objects of Swift: large ones of every make, what glance_store wrote and reads, names, duplicates, leftovers."""

from __future__ import annotations

import hashlib
import io
import json
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import ObjectExists, ObjectNotFound, StoreDenied, StoreError, StoreFull
from fanlight.model import Location
from fanlight.stores import Stores, swift_objects
from fanlight.stores.swift import Swift
from fanlight.stores.swift_wire import READ_SECONDS
from tests.bed.databases import needed
from tests.stores import disks
from tests.stores import swift_bed as bed
from tests.stores.glances import glance_store
from tests.stores.place import STORE, Bytes, new_id, open_one, pattern

pytestmark = pytest.mark.services

SEGMENT = 1_024_000


@pytest.fixture
def container() -> Iterator[bed.Container]:
    with bed.Container.made(bed.own()) as one:
        yield one


def options(container: bed.Container, **more: Any) -> dict[str, Any]:
    return {
        "swift_store_auth_address": needed("FANLIGHT_TEST_SWIFT_V1"),
        "swift_store_auth_version": "1",
        "swift_store_user": "test:tester",
        "swift_store_key": "testing",
        "swift_store_container": container.name,
        **more,
    }


def opened(container: bed.Container, **more: Any) -> Stores:
    """With small segments."""
    return open_one("swift", bed.small(options(container, **more)))


def put(stores: Stores, data: bytes, known: bool = True, object_id: str | None = None) -> Location:
    stored = stores.put(STORE, object_id or new_id(), Bytes(data), len(data) if known else None, algorithm="sha512")
    return Location(url=stored.url, metadata=stored.metadata)


def read(stores: Stores, location: Location, offset: int = 0, length: int | None = None) -> bytes:
    reader = stores.open(location, offset, length)
    try:
        return b"".join(bytes(block) for block in reader)
    finally:
        reader.close()


def url_of(container: bed.Container, name: str) -> str:
    place = needed("FANLIGHT_TEST_SWIFT_V1").partition("://")[2]
    return f"swift+http://test%3Atester:testing@{place}/{container.name}/{name}"


# -- what is written


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_large_objects_look_like_glances(container: bed.Container, known: bool) -> None:
    object_id, data = new_id(), pattern(2 * SEGMENT + 5)
    put(opened(container), data, known, object_id)
    names = [object_id, *(f"{object_id}-{number:05}" for number in (1, 2, 3))]
    assert container.names() == names
    head = container.client.head_object(container.name, object_id)
    assert head["x-object-manifest"] == f"{container.name}/{object_id}-"
    sizes = [int(container.client.head_object(container.name, name)["content-length"]) for name in names[1:]]
    assert sizes == [SEGMENT, SEGMENT, 5]
    assert container.client.get_object(container.name, object_id)[1] == data


def test_small_objects_are_plain(container: bed.Container) -> None:
    """Also of unknown size: as much as one block is held back to see its end."""
    stores = opened(container)
    for data, known in ((b"", True), (b"", False), (b"x", True), (pattern(SEGMENT - 1), True), (b"y" * 70_000, False)):
        location = put(stores, data, known)
        assert container.names() == [location.url.rpartition("/")[2]]
        assert read(stores, location) == data
        stores.delete(location)
        assert container.names() == []


def test_segments_buffered_on_disk(container: bed.Container, tmp_path: Path) -> None:
    stores = opened(container, swift_buffer_on_upload=True, swift_upload_buffer_dir=str(tmp_path))
    for known in (True, False):
        data = pattern(3 * SEGMENT + 1)
        location = put(stores, data, known)
        assert len(container.names()) == 5
        assert read(stores, location) == data
        stores.delete(location)
    assert list(tmp_path.iterdir()) == []
    assert container.names() == []


@pytest.mark.parametrize("fault", ["full", "gone"])
def test_a_folder_of_segments_that_fails(container: bed.Container, tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "segments"
    folder.mkdir()
    stores = opened(container, swift_buffer_on_upload=True, swift_upload_buffer_dir=str(folder))
    with disks.small(folder, 500_000) if fault == "full" else nullcontext():
        assert stores.writable(STORE)
        if fault == "gone":
            folder.rmdir()
        with pytest.raises(StoreDenied, match="swift_upload_buffer_dir cannot be used"):
            stores.get(STORE).add("image", Bytes(pattern(4 * SEGMENT)), None)
    assert container.names() == []


def test_containers_by_seed(container: bed.Container) -> None:
    object_id = "fdae39a1-bac5-4238-aba4-69bcc726e848"
    stores = opened(container, swift_store_multiple_containers_seed=10, swift_store_create_container_on_put=True)
    location = put(stores, b"seeded", object_id=object_id)
    name = f"{container.name}_fdae39a1-ba"
    assert location.url.endswith(f"/{name}/{object_id}")
    assert stores.planned_url(STORE, object_id) == location.url
    assert read(stores, location) == b"seeded"
    stores.delete(location)
    container.client.delete_container(name)


def test_missing_containers(container: bed.Container) -> None:
    wanted = {"swift_store_container": f"{container.name}-more"}
    with pytest.raises(StoreError, match="does not exist"):
        put(opened(container, **wanted), b"x")
    location = put(opened(container, **wanted, swift_store_create_container_on_put=True), b"x")
    assert read(opened(container), location) == b"x"
    opened(container).delete(location)
    container.client.delete_container(f"{container.name}-more")


# -- what others have written


def test_static_large_objects(container: bed.Container) -> None:
    stores, data = opened(container), pattern(3 * 100_000)
    parts = []
    for number in range(3):
        piece = data[number * 100_000 : (number + 1) * 100_000]
        etag = container.client.put_object(container.name, f"part{number}", piece)
        parts.append({"path": f"/{container.name}/part{number}", "etag": etag, "size_bytes": len(piece)})
    container.client.put_object(container.name, "slo", json.dumps(parts), query_string="multipart-manifest=put")
    location = Location(url=url_of(container, "slo"), metadata={"store": STORE})
    assert stores.size(location) == len(data)
    assert read(stores, location) == data
    assert read(stores, location, 99_990, 100_020) == data[99_990:200_010]
    stores.delete(location)
    assert container.names() == []


def test_names_with_blanks(container: bed.Container) -> None:
    """Of an object that was there before it became an image."""
    stores = opened(container)
    container.client.put_object(container.name, "my image.qcow2", b"a disk")
    location = Location(url=url_of(container, "my image.qcow2"))
    assert (stores.size(location), read(stores, location)) == (6, b"a disk")
    stores.delete(location)
    assert container.names() == []


def test_segments_beyond_one_listing(container: bed.Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """Glance leaves those of the second page."""
    monkeypatch.setattr(swift_objects, "PAGE", 4)
    for number in range(11):
        container.client.put_object(container.name, f"dlo-{number:05}", b"%d" % (number % 10))
    container.client.put_object(container.name, "dlo-of-another", b"")
    container.client.put_object(container.name, "dlo", b"", headers={"X-Object-Manifest": f"{container.name}/dlo-0"})
    stores = opened(container)
    location = Location(url=url_of(container, "dlo"), metadata={"store": STORE})
    assert read(stores, location) == b"01234567890"
    assert stores.size(location) == 11
    stores.delete(location)
    assert container.names() == ["dlo-of-another"]


def test_glance_store_reads_ours_and_we_read_theirs() -> None:
    with bed.User.made(hard="") as user, bed.Container.made(user.client()) as container:
        options = bed.small(
            {
                "swift_store_auth_address": needed("FANLIGHT_TEST_KEYSTONE"),
                "swift_store_user": f"{user.project}:{user.name}",
                "swift_store_key": user.password,
                "swift_store_container": container.name,
            }
        )
        stores = open_one("swift", options)
        small, large = pattern(1000), pattern(2 * SEGMENT + 7)
        ours = [put(stores, small), put(stores, large), put(stores, large, known=False)]
        ids = [new_id() for _ in range(2)]
        answers = glance_store(
            "swift",
            options,
            *(["read", one.url] for one in ours),
            ["add", ids[0], small, len(small)],
            ["add", ids[1], large, None],
            *(["delete", one.url] for one in ours),
        )
        assert answers[:3] == [hashlib.sha512(data).hexdigest() for data in (small, large, large)]
        theirs = [Location(url=url) for url in answers[3:5]]
        assert [read(stores, one) for one in theirs] == [small, large]
        assert [stores.size(one) for one in theirs] == [len(small), len(large)]
        assert read(stores, theirs[1], SEGMENT - 1, 3) == large[SEGMENT - 1 : SEGMENT + 2]
        assert len(container.names()) == 1 + 4
        assert stores.planned_url(STORE, ids[0]) == theirs[0].url
        for one in theirs:
            stores.delete(one)
        assert container.names() == []


# -- what goes wrong


@pytest.mark.parametrize("size", [1000, 2 * SEGMENT + 5])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_second_upload_beside_the_first(container: bed.Container, size: int, known: bool) -> None:
    """Once the first has stored a segment, another upload under the same id is refused and changes nothing."""
    stores, object_id, data = opened(container), new_id(), pattern(3 * SEGMENT)
    refused: list[bool] = []

    class Beside(Bytes):
        def read(self, size_wanted: int = -1, /) -> bytes:
            if not refused and f"{object_id}-00001" in container.names():
                refused.append(True)
                with pytest.raises(ObjectExists):
                    put(stores, b"b" * size if size > SEGMENT else b"", known, object_id)
            return super().read(min(size_wanted, 300_000))

    if size < SEGMENT:
        put(stores, b"a" * size, known, object_id)
        with pytest.raises(ObjectExists):
            put(stores, b"b" * size, known, object_id)
        data = b"a" * size
    else:
        stores.put(STORE, object_id, Beside(data), len(data) if known else None, algorithm="sha512")
        assert refused
    location = Location(url=url_of(container, object_id), metadata={"store": STORE})
    assert read(stores, location) == data
    stores.delete(location)
    assert container.names() == []


def test_segment_that_is_somebody_elses(container: bed.Container) -> None:
    """It stays as it is, and what was written around it goes."""
    object_id = new_id()
    name = f"{object_id}-00003"

    class Interrupted(Bytes):
        def read(self, size: int = -1, /) -> bytes:
            if self.data and name not in container.names():
                container.client.put_object(container.name, name, b"theirs")
            return super().read(min(size, 600_000))

    with pytest.raises(ObjectExists):
        opened(container).put(STORE, object_id, Interrupted(pattern(5 * SEGMENT)), None, algorithm="sha512")
    assert container.names() == [name]
    assert container.client.get_object(container.name, name)[1] == b"theirs"


def test_parts_that_a_dead_upload_has_left(container: bed.Container) -> None:
    """They would become part of the new object, so they must be discarded before, as must all that is named so."""
    stores, object_id, data = opened(container), new_id(), pattern(2 * SEGMENT)
    other = f"{object_id}-other"
    for name in (f"{object_id}-00002", f"{object_id}-00009", other):
        container.client.put_object(container.name, name, b"left")
    for names in (3, 1):
        assert len(container.names()) == names
        with pytest.raises(ObjectExists, match="parts of an upload"):
            put(stores, data, object_id=object_id)
        stores.discard_partial(STORE, object_id)
        assert container.names() == [other]
    container.client.delete_object(container.name, other)
    assert read(stores, put(stores, data, object_id=object_id)) == data


@pytest.mark.timeout(30)
def test_lists_that_are_behind(container: bed.Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swift's still have what is gone while a server of theirs is away: nobody waits for that, asking all the time."""
    object_id, looks = new_id(), 0

    def behind(*_args: Any) -> list[str]:
        nonlocal looks
        looks += 1
        return [f"{object_id}-{number:05}" for number in range(1, 3 + (looks == 2))]

    for number in range(1, 4):
        container.client.put_object(container.name, f"{object_id}-{number:05}", b"left")
    monkeypatch.setattr("fanlight.stores.swift.parts_of", behind)
    opened(container).discard_partial(STORE, object_id)
    assert looks == 3
    assert container.names() == []


@pytest.mark.parametrize("buffered", [False, True])
def test_no_room_for_a_segment(container: bed.Container, tmp_path: Path, buffered: bool) -> None:
    stores = open_one(
        "swift",
        options(
            container,
            swift_store_auth_address=f"{needed('FANLIGHT_TEST_SWIFT_SMALL')}/auth/v1.0",
            swift_store_large_object_size=1,
            swift_store_large_object_chunk_size=5,
            swift_buffer_on_upload=buffered,
            swift_upload_buffer_dir=str(tmp_path),
        ),
    )
    for known in (True, False):
        with pytest.raises(StoreFull):
            put(stores, pattern(12_000_000), known)
        assert container.names() == []
        assert list(tmp_path.iterdir()) == []


def test_container_that_is_removed_in_between(container: bed.Container) -> None:
    stores = opened(container)
    stores.delete(put(stores, b"x"))
    container.client.delete_container(container.name)
    with pytest.raises(ObjectNotFound):
        put(stores, b"x")
    container.client.put_container(container.name)
    assert read(stores, put(stores, b"again")) == b"again"


def test_container_that_is_removed_and_may_be_made(container: bed.Container) -> None:
    """One upload finds out, the next one makes it."""
    stores = opened(container, swift_store_create_container_on_put=True)
    stores.delete(put(stores, b"x"))
    container.client.delete_container(container.name)
    with pytest.raises(ObjectNotFound):
        put(stores, b"x")
    assert read(stores, put(stores, b"again")) == b"again"


def test_connections_of_downloads_are_used_again(container: bed.Container) -> None:
    """Whoever answers with a length reads so many bytes, and does not ask for the end."""
    stores, data = opened(container), pattern(2 * SEGMENT + 5)
    location = put(stores, data)
    driver = stores.get(STORE)
    assert isinstance(driver, Swift)

    def waiting() -> int:
        return sum(len(idle) for (_, _, seconds), idle in driver._wires._idle.items() if seconds == READ_SECONDS)

    for offset, length in ((0, None), (1, SEGMENT), (2 * SEGMENT, None)):
        reader, got = stores.open(location, offset, length), b""
        for block in reader:
            got += bytes(block)
            if len(got) == reader.size:
                break
        reader.close()
        assert got == data[offset : offset + reader.size]
        assert waiting() == 1


def test_no_more_than_two_blocks_are_held(container: bed.Container) -> None:
    """The service's own source gives views of buffers, which count until nobody refers to them."""
    data = pattern(3 * SEGMENT + 11)

    class Buffer(bytearray):
        """One that can be watched."""

    class Views:
        def __init__(self) -> None:
            self.file = io.BytesIO(data)
            self.given: list[weakref.ref[Buffer]] = []
            self.most = 0

        def read(self, size: int = -1, /) -> memoryview:
            self.given = [one for one in self.given if one() is not None]
            self.most = max(self.most, len(self.given))
            buffer = Buffer(self.file.read(250_000))
            self.given.append(weakref.ref(buffer))
            return memoryview(buffer)

    driver = opened(container).get(STORE)
    for size in (len(data), None):
        views = Views()
        location = Location(url=driver.add(new_id(), views, size).url)
        assert views.most == 1
        assert read(opened(container), location) == data
