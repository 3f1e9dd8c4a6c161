"""Where images lie: any list of locations becomes any other, in its order, and rows of others are not touched."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from fanlight.catalog import Catalog, Viewer, images, locations
from fanlight.model import Image, Location
from fanlight.operations.placing import LONGEST_METADATA

from .conftest import new_image

EVERYTHING = Viewer(None, is_admin=True)


def put(catalog: Catalog) -> Image:
    with catalog.write() as connection:
        return images.insert(connection, new_image())


def kept(catalog: Catalog, image: Image) -> tuple[Location, ...]:
    with catalog.read() as connection:
        return images.fetch(connection, image.id, EVERYTHING).locations


def plain(places: tuple[Location, ...] | list[Location]) -> list[tuple[str, object]]:
    return [(place.url, place.metadata) for place in places]


def test_any_list_becomes_any_other(catalog: Catalog) -> None:
    image, bystander = put(catalog), put(catalog)
    with catalog.write() as connection:
        locations.add(connection, bystander.id, Location(url="file:///other"))
    others = kept(catalog, bystander)
    chance = random.Random(20261130)
    for step in range(60):
        before = kept(catalog, image)
        wanted = [replace(one, metadata={"step": step}) if chance.random() < 0.3 else one for one in before]
        wanted = [one for one in wanted if chance.random() < 0.8]
        wanted += [Location(url=f"file:///{step}/{n}", metadata={"ü": n}) for n in range(chance.randrange(3))]
        chance.shuffle(wanted)
        with catalog.write() as connection:
            saved = locations.save(connection, image.id, before, wanted)
        assert plain(saved) == plain(wanted)
        assert kept(catalog, image) == saved
    assert kept(catalog, bystander) == others


def test_metadata_as_long_as_may_be(catalog: Catalog) -> None:
    image, metadata = put(catalog), {"a": "ü" * ((LONGEST_METADATA - 10) // 2), "store": "s" * 255}
    with catalog.write() as connection:
        (made,) = locations.save(connection, image.id, (), [Location(url="file:///x", metadata=metadata)])
        locations.save(connection, image.id, (made,), [replace(made, url="file:///y")])
    assert plain(kept(catalog, image)) == [("file:///y", metadata)]


def test_what_was_removed_can_be_restored(catalog: Catalog) -> None:
    image = put(catalog)
    with catalog.write() as connection:
        made = [locations.add(connection, image.id, Location(url=f"file:///{number}")) for number in range(3)]
        assert locations.remove(connection, image.id, made[1].id or 0)
    assert kept(catalog, image) == (made[0], made[2])
    with catalog.write() as connection:
        locations.restore(connection, image.id, made[1].id or 0)
    assert kept(catalog, image) == tuple(made)


@pytest.mark.parametrize("url", ["rbd://a/b/c/d", "swift://user:päss@host/c/o", "x" * 3000])
def test_who_holds_an_object(catalog: Catalog, url: str) -> None:
    """By every letter of its URL."""
    one, other = put(catalog), put(catalog)
    with catalog.write() as connection:
        held = [locations.add(connection, image.id, Location(url=url)) for image in (one, other)]
    for image, location in zip((one, other), held, strict=True):
        with catalog.write() as connection:
            assert locations.is_held(connection, url)
            assert not locations.is_held(connection, url.upper())
            assert not locations.is_held(connection, url[:-1])
            locations.remove(connection, image.id, location.id or 0)
    with catalog.read() as connection:
        assert not locations.is_held(connection, url)
