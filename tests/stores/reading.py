"""The half of the suite that every driver passes, writable or not."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fanlight.errors import (
    AclsUnsupported,
    MalformedLocation,
    ObjectNotFound,
    RangeNotSatisfiable,
    RangeUnsupported,
    StoreDeleteUnsupported,
    StoreReadOnly,
)
from fanlight.model import Location
from tests.stores.place import STORE, Backend, Bytes, Place, RecordProperty, new_id, pattern

SIZES = ("0", "1", "block-1", "block", "block+1", "3*block+7")


def bytes_of(size: str, backend: Backend) -> bytes:
    """Data of one of SIZES."""
    number = {
        "0": 0,
        "1": 1,
        "block-1": backend.block - 1,
        "block": backend.block,
        "block+1": backend.block + 1,
        "3*block+7": 3 * backend.block + 7,
    }[size]
    return pattern(number)


class Reading:
    """Needs a fixture `backend`."""

    @pytest.fixture
    def place(self, backend: Backend) -> Iterator[Place]:
        """The store with small parts. Afterwards there is nothing in its place that was not there before."""
        place = Place(backend, backend.small())
        yield place
        place.clear()
        assert place.leftovers() == []

    @pytest.mark.parametrize("size", SIZES)
    def test_reads_all(self, place: Place, size: str) -> None:
        data = bytes_of(size, place.backend)
        location = place.having(data)
        assert place.stores.size(location, context=place.context) == len(data)
        assert place.read(location) == data

    def test_reads_ranges(self, place: Place, record_property: RecordProperty) -> None:
        block = place.backend.block
        data = bytes_of("3*block+7", place.backend)
        end = len(data)
        location = place.having(data)
        if not place.driver.traits.ranges:
            record_property("reason", "no ranges")
            for offset, length in ((1, None), (0, 1), (1, 1)):
                with pytest.raises(RangeUnsupported):
                    place.read(location, offset, length)
            return
        for offset, length in (
            (0, 0),
            (0, 1),
            (0, end),
            (1, None),
            (1, block),
            (block - 1, 2),
            (block, block),
            (block + 1, block + 1),
            (end - 1, 1),
            (end - 1, None),
            (end, 0),
            (end, None),
        ):
            wanted = data[offset:] if length is None else data[offset : offset + length]
            assert place.read(location, offset, length) == wanted, (offset, length)

    @pytest.mark.parametrize(("offset", "length"), [(11, None), (0, 11), (10, 1), (-1, None), (0, -1)])
    def test_refuses_ranges_beyond_the_end(self, place: Place, offset: int, length: int | None) -> None:
        location = place.having(b"0123456789")
        with pytest.raises(RangeNotSatisfiable if place.driver.traits.ranges else RangeUnsupported):
            place.read(location, offset, length)

    def test_closing_early_gives_everything_back(self, place: Place) -> None:
        location = place.having(bytes_of("3*block+7", place.backend))
        for turn in range(12):
            if turn == 4:  # connections may be kept, and how many is known by now
                files, threads = _open_files(), threading.active_count()
            reader = place.stores.open(location, context=place.context)
            if turn % 2:
                assert len(next(iter(reader)))
            reader.close()
            reader.close()
        assert _open_files() <= files + 1
        assert threading.active_count() <= threads + 1

    def test_absent_objects(self, place: Place) -> None:
        location = place.absent()
        with pytest.raises(ObjectNotFound):
            place.read(location)
        with pytest.raises(ObjectNotFound):
            place.stores.size(location, context=place.context)
        with pytest.raises(ObjectNotFound if place.driver.traits.delete else StoreDeleteUnsupported):
            place.delete(location)

    def test_malformed_urls(self, place: Place) -> None:
        for url in (*place.backend.malformed, place.driver.schemes[0], place.driver.schemes[0] + "://"):
            location = Location(url=url, metadata={"store": STORE})
            with pytest.raises(MalformedLocation):
                place.read(location)
            with pytest.raises(MalformedLocation):
                place.stores.size(location, context=place.context)
            if place.driver.traits.delete:
                with pytest.raises(MalformedLocation):
                    place.delete(location)
            assert url not in repr(location)

    def test_addresses(self, place: Place) -> None:
        """What stands in the catalogue comes back from the parser, and shows no secret."""
        location = place.having(b"x")
        address = importlib.import_module(type(place.driver).__module__).Address
        for url in (location.url, *place.backend.spellings(location.url)):
            parsed = address.parse(url)
            assert address.parse(parsed.url) == parsed
            assert not [secret for secret in place.backend.secrets if secret in repr(parsed) or secret in str(parsed)]
        assert address.parse(location.url).url == location.url
        with pytest.raises(MalformedLocation):
            address.parse("no-url")

    def test_urls_as_glance_wrote_them(self, place: Place) -> None:
        location = place.having(b"same bytes")
        for url in (location.url, *place.backend.spellings(location.url)):
            other = Location(url=url, metadata={"store": STORE})
            assert place.read(other) == b"same bytes"
            assert place.driver.owns(url)
            assert place.read(Location(url=url)) == b"same bytes"
        assert not place.driver.owns("nobody://knows/this")

    def test_many_readers(self, place: Place) -> None:
        data = [pattern(place.backend.block + number) for number in range(3)]
        locations = [place.having(each) for each in data]

        def read(turn: int) -> bool:
            return place.read(locations[turn % 3]) == data[turn % 3]

        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(read, range(18)))

    def test_what_it_cannot_do(self, place: Place) -> None:
        traits = place.driver.traits
        location = place.having(b"x")
        if not traits.add:
            assert not place.stores.writable(STORE)
            with pytest.raises(StoreReadOnly):
                place.stores.put(STORE, new_id(), Bytes(b"x"), 1, algorithm="sha512", context=place.context)
        if not traits.delete:
            with pytest.raises(StoreDeleteUnsupported):
                place.delete(location)
        if not traits.acls:
            with pytest.raises(AclsUnsupported):
                place.stores.set_acls(location, True, ["one"], [], context=place.context)
        assert place.read(location) == b"x"

    def test_says_how_it_is(self, place: Place) -> None:
        line = place.driver.check()
        assert line
        assert "\n" not in line

    def test_shows_no_secret(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG", "fanlight")
        location = place.having(b"secret bytes")
        assert place.read(location) == b"secret bytes"
        texts = [repr(place.driver), str(place.driver), repr(location), place.driver.check(), caplog.text]
        for secret in place.backend.secrets:
            assert not [text for text in texts if secret in text]


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
