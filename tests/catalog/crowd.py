"""Catalogues with many images, written by bulk inserts: what is measured and explained is read only."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from sqlalchemy import insert

from fanlight.catalog import Catalog
from fanlight.catalog.tables import image_locations, image_members, image_properties, image_tags, images

FIRST = datetime.datetime(2025, 1, 1)
MIX = ("private", "private", "private", "private", "private", "private", "shared", "shared", "public", "community")
"""Visibility of image n is `MIX[n % 10]`: a private cloud with a small public catalogue."""
OWNERS = 100
MINE = 200
"""How many images the project `me` owns, and how many are shared with it, however large the catalogue is."""
BATCH = 1000


def image_id(number: int) -> str:
    """Spread like random ones, the same in every run."""
    return f"{number * 2654435761 % 2**32:08x}-0000-4000-8000-{number:012x}"


def fill(catalog: Catalog, count: int) -> None:
    """Add images 0 to `count` - 1, the last one the youngest. Whole hundreds of them, at least 1,000."""
    for table, make in MAKERS:
        rows: list[dict[str, Any]] = []
        for number in range(count):
            at = FIRST + datetime.timedelta(seconds=number)
            times = {"created_at": at, "updated_at": at, "deleted_at": None, "deleted": False}
            rows += [{**row, **times} for row in make(number, count)]
            if len(rows) >= BATCH or number == count - 1:
                with catalog.write() as connection:
                    if rows:
                        connection.execute(insert(table), rows)
                rows = []


def _of(number: int, count: int) -> bool:
    """`MINE` numbers, spread evenly."""
    return number % (count // MINE) == 0


def _image(number: int, count: int) -> Iterator[dict[str, Any]]:
    yield {
        "id": image_id(number),
        "name": f"image-{number * 7919 % count:06}",
        "disk_format": "qcow2",
        "container_format": "bare",
        "size": 2**26 + number,
        "virtual_size": None,
        "status": "active",
        "visibility": MIX[number % len(MIX)],
        "checksum": f"{number:032x}",
        "os_hash_algo": "sha512",
        "os_hash_value": f"{number:0128x}",
        "min_disk": 0,
        "min_ram": 0,
        "owner": "me" if _of(number, count) else f"project-{number % OWNERS}",
        "protected": False,
        "os_hidden": False,
    }


def _properties(number: int, count: int) -> Iterator[dict[str, Any]]:
    values = {"os_distro": "debian", "architecture": "x86_64", "serial": f"{number}"}
    for name, value in values.items():
        yield {"image_id": image_id(number), "name": name, "value": value}
    if number < 3:
        yield {"image_id": image_id(number), "name": "build", "value": "special"}


def _tags(number: int, count: int) -> Iterator[dict[str, Any]]:
    yield {"image_id": image_id(number), "value": "all"}
    if number < 3:
        yield {"image_id": image_id(number), "value": "rare"}


def _locations(number: int, count: int) -> Iterator[dict[str, Any]]:
    yield {
        "image_id": image_id(number),
        "value": f"file:///images/{image_id(number)}",
        "meta_data": '{"store": "local"}',
        "status": "active",
    }


def _members(number: int, count: int) -> Iterator[dict[str, Any]]:
    if MIX[number % len(MIX)] == "shared":
        wanted = "me" if _of(number - 6, count) else f"project-{number * 7 % OWNERS}"
        yield {"image_id": image_id(number), "member": wanted, "can_share": False, "status": "accepted"}


MAKERS = (
    (images, _image),
    (image_properties, _properties),
    (image_tags, _tags),
    (image_locations, _locations),
    (image_members, _members),
)
