"""The half of the suite that every driver passes that adds and deletes."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from fanlight.errors import (
    AclsUnsupported,
    ClientGone,
    LimitExceeded,
    MalformedLocation,
    ObjectExists,
    ObjectHasSnapshot,
    ObjectInUse,
    ObjectNotFound,
    SizeMismatch,
    StoreError,
)
from tests.stores.child import Child
from tests.stores.place import (
    MIB,
    REASONS,
    STORE,
    Backend,
    Bytes,
    Failing,
    Pieces,
    Place,
    RecordProperty,
    new_id,
    pattern,
)
from tests.stores.reading import SIZES, bytes_of

ENDS = {
    "client gone": ClientGone(),
    "connection reset": ConnectionResetError(104, "reset by the client"),
    "no value": ValueError("not what it should be"),
    "cancelled": asyncio.CancelledError(),
}
"""What a source may raise; it must come out as it is."""
ODD_IDS = ("a", "A.b-c_d", "--", "0" * 64, "x.part", "image-00001", "file.tar.gz")


class Writing:
    """Needs the fixtures `backend` and `place`."""

    @pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
    @pytest.mark.parametrize("size", SIZES)
    def test_round_trip(self, place: Place, size: str, known: bool) -> None:
        data = bytes_of(size, place.backend)
        object_id = new_id()
        planned = place.stores.planned_url(STORE, object_id)
        location = place.put(Pieces(data), len(data) if known else None, object_id)
        assert planned in (None, location.url)
        assert place.read(location) == data
        assert place.stores.size(location, context=place.context) == len(data)
        assert all(isinstance(value, str | list | dict) for value in location.metadata.values())
        place.delete(location)
        with pytest.raises(ObjectNotFound):
            place.delete(location)

    def test_round_trip_with_normal_options(self, backend: Backend) -> None:
        place = Place(backend, backend.options())
        for known in (True, False):
            data = pattern(2 * MIB + 3)
            location = place.put(Bytes(data), len(data) if known else None)
            assert place.read(location) == data
            assert place.read(location, 1, 10) == data[1:11] if place.driver.traits.ranges else True
        assert_nothing_new(place)

    @pytest.mark.parametrize("size", ["1", "block", "3*block+7"])
    @pytest.mark.parametrize("wrong", [-1, 1, 3_000_000])
    def test_size_that_is_not_as_announced(self, place: Place, size: str, wrong: int) -> None:
        data = bytes_of(size, place.backend)
        if len(data) + wrong < 0:
            return
        with pytest.raises(SizeMismatch):
            place.put(Bytes(data), len(data) + wrong)
        assert_nothing_new(place)

    @pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
    def test_cap(self, place: Place, known: bool) -> None:
        data = bytes_of("3*block+7", place.backend)
        with pytest.raises(LimitExceeded):
            place.put(Bytes(data), len(data) if known else None, cap=len(data) - 1)
        assert_nothing_new(place)

    @pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
    @pytest.mark.parametrize("end", ENDS)
    @pytest.mark.parametrize("size", ["0", "1", "3*block+7"])
    def test_source_that_fails(self, place: Place, size: str, end: str, known: bool) -> None:
        data = bytes_of(size, place.backend)
        error = ENDS[end]
        with pytest.raises(type(error)) as raised:
            place.put(Failing(data, error), len(data) + 1000 if known else None)
        assert raised.value is error
        assert_nothing_new(place)

    def test_observer_that_refuses(self, place: Place) -> None:
        class Refusing:
            seen = 0

            def update(self, block: bytes | memoryview) -> None:
                self.seen += len(block)
                if self.seen > place.backend.block:
                    raise LimitExceeded

        data = bytes_of("3*block+7", place.backend)
        with pytest.raises(LimitExceeded):
            place.put(Pieces(data), len(data), observers=[Refusing()])
        assert_nothing_new(place)

    def test_observer_sees_every_byte_once(self, place: Place) -> None:
        class Seeing:
            data = b""

            def update(self, block: bytes | memoryview) -> None:
                self.data += bytes(block)

        seeing, data = Seeing(), bytes_of("3*block+7", place.backend)
        place.put(Pieces(data), len(data), observers=[seeing])
        assert seeing.data == data

    @pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
    @pytest.mark.parametrize("size", ["0", "1", "3*block+7"])
    def test_second_add_keeps_the_first(self, place: Place, size: str, known: bool) -> None:
        object_id = new_id()
        first = place.put(Bytes(b"the first"), 9, object_id)
        data = bytes_of(size, place.backend)
        with pytest.raises(ObjectExists):
            place.put(Bytes(data), len(data) if known else None, object_id)
        assert place.read(first) == b"the first"

    def test_deleted_ids_can_be_used_again(self, place: Place) -> None:
        object_id = new_id()
        place.delete(place.put(Bytes(bytes_of("3*block+7", place.backend)), None, object_id))
        assert place.read(place.put(Bytes(b"again"), 5, object_id)) == b"again"

    @pytest.mark.parametrize("object_id", ODD_IDS)
    def test_odd_ids(self, place: Place, object_id: str) -> None:
        location = place.put(Bytes(b"odd"), None, object_id)
        assert place.read(location) == b"odd"
        place.delete(location)

    @pytest.mark.parametrize(
        "object_id", ["", ".", "..", "a/b", "../a", "a b", "a%2fb", "ä", "a\n", "x" * 256, "?", "a:b"]
    )
    def test_ids_that_cannot_be(self, place: Place, object_id: str) -> None:
        with pytest.raises(StoreError):
            place.stores.put(STORE, object_id, Bytes(b"x"), 1, algorithm="sha512", context=place.context)
        with pytest.raises(StoreError):
            place.stores.discard_partial(STORE, object_id)
        assert_nothing_new(place)

    def test_many_writers(self, place: Place) -> None:
        def write_and_read(number: int) -> bool:
            data = pattern(place.backend.block * (number % 3) + number)
            location = place.put(Pieces(data), len(data) if number % 2 else None)
            whole = place.read(location) == data
            place.delete(location)
            return whole

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(write_and_read, range(8)))

    def test_discard(self, place: Place) -> None:
        """Nothing, and whole objects; others with names like it stay."""
        object_id = new_id()
        place.stores.discard_partial(STORE, object_id)
        other = place.put(Bytes(b"other"), 5, object_id + "0")
        place.put(Bytes(bytes_of("3*block+7", place.backend)), None, object_id)
        for _ in range(2):
            place.stores.discard_partial(STORE, object_id)
        assert place.read(other) == b"other"
        place.delete(other)
        assert_nothing_new(place)

    @pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
    def test_discard_after_a_killed_add(self, place: Place, known: bool) -> None:
        backend, object_id = place.backend, new_id()
        size = 3 * backend.block + 7
        with Child(backend.type, backend.small(), place.context) as child:
            child.add(object_id, size, size + backend.block if known else None)
            child.wait_until_given(size)
            child.kill()
        place.stores.discard_partial(STORE, object_id)
        assert_nothing_new(place)
        assert place.read(place.put(Bytes(b"anew"), 4, object_id)) == b"anew"

    def test_objects_in_use(self, place: Place, record_property: RecordProperty) -> None:
        location = place.put(Bytes(b"in use"), 6)
        use = place.backend.busy(location.url)
        if isinstance(use, str):
            record_property("reason", use)
            assert use in REASONS
            return
        with use:
            with pytest.raises((ObjectInUse, ObjectHasSnapshot)):
                place.delete(location)
            assert place.read(location) == b"in use"
        place.delete(location)

    def test_deleting_what_is_not_ours(self, place: Place) -> None:
        """URLs that somebody made up never take anything away."""
        location = place.put(Bytes(b"stays"), 5)
        for url in place.backend.malformed:
            with suppress(MalformedLocation):
                place.driver.delete(url, place.context)
        assert place.read(location) == b"stays"

    def test_acls(self, place: Place, record_property: RecordProperty) -> None:
        """Only that they can be said; what they do is the driver's own test."""
        location = place.put(Bytes(b"shared"), 6)
        if not place.driver.traits.acls:
            record_property("reason", "no ACLs")
            with pytest.raises(AclsUnsupported):
                place.stores.set_acls(location, True, [], [], context=place.context)
            return
        for public, readers in ((False, []), (False, ["project-1", "project-2"]), (True, []), (False, [])):
            place.stores.set_acls(location, public, readers, [], context=place.context)
        assert place.read(location) == b"shared"


def assert_nothing_new(place: Place) -> None:
    """Nothing but what the test itself has put and not deleted, after a moment for servers that clean up later."""
    deadline = time.monotonic() + 10
    place.clear()
    while place.leftovers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert place.leftovers() == []
