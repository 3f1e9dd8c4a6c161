"""What changes of locations make of a record: the part of `changes.py` that is about `locations`.

Pure, as that is: nothing is read, written or asked here. Where an image lies decides more than its list of locations:
the first one makes it active, and may bring hashes. Rules: Image API V2, "Update an image", and Glance 33.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import replace

from fanlight.errors import Conflict, Forbidden, Invalid, LimitExceeded
from fanlight.model import Image, Location

LONGEST_METADATA = 65_000
DEEPEST_METADATA = 64
"""Bytes of a location's metadata as JSON: MariaDB's column holds 65,535, with the name of the store."""
HASHES = ("checksum", "os_hash_algo", "os_hash_value")
_OPEN = {"add": ("queued", "active"), "replace": ("queued", "active"), "remove": ("active",)}
"""What may be done to the locations -> in which statuses."""


class PlaceRules(Struct, frozen=True):
    """What holds for locations that clients set."""

    schemes: Collection[str]
    """Schemes of URLs that some store serves, and that a client may name."""
    most: int
    """Locations of one image; negative: no limit."""
    algorithm: str
    """`hashing_algorithm`, the only one that `os_hash_algo` may be."""


class Places:
    """The locations of one image while changes are applied to them. The URLs of `image` are plain ones, not sealed.

    A location that is new has no id, and its metadata names no store: which one it is, is not the client's to say.
    """

    def __init__(self, image: Image, rules: PlaceRules) -> None:
        self.status = image.status
        self.locations = list(image.locations)
        self.hashes: dict[str, str | None] = {name: getattr(image, name) for name in HASHES}
        self._rules = rules

    def change(self, op: str, place: str, value: Any) -> None:
        """`op` is add or remove at `place` (a number from 0, or `-` for the end), or replace of all.

        Raises Conflict (status, hashes), Forbidden (none would be left), Invalid, LimitExceeded.
        """
        if op == "replace" and not value:
            raise Forbidden("Cannot set locations to empty list.")
        if self.status not in _OPEN[op]:
            raise Conflict(f"The locations of an image in status {self.status} cannot be changed by {op}.")
        if op == "remove":
            self._remove(place)
            return
        values = [value] if op == "add" else value
        for one in values:
            self._take_hashes(one.get("validation_data") or {})
        if op == "add":
            self._add(_position(place, len(self.locations)), value)
        elif self.locations:
            self._rewrite(values)
        else:
            for one in values:
                self._add(len(self.locations), one)

    def _add(self, position: int, value: Mapping[str, Any]) -> None:
        url = value["url"]
        scheme, colon, _ = url.partition("://")
        if not colon or scheme not in self._rules.schemes:
            raise Invalid("Invalid location: no store takes a URL of this form from a client.")
        new = Location(url=url, metadata=_storable(value["metadata"]))
        if any(one.url == url and _own(one.metadata) == new.metadata for one in self.locations):
            raise Invalid("Invalid location: the image has this location already.")
        if 0 <= self._rules.most <= len(self.locations):
            raise LimitExceeded(f"The limit of {self._rules.most} locations for one image is exceeded.")
        self.locations.insert(position, new)
        self.status = "active"

    def _remove(self, place: str) -> None:
        if len(self.locations) == 1:
            raise Forbidden("Cannot remove last location in the image.")
        position = len(self.locations) - 1 if place == "-" else _position(place, len(self.locations))
        if position >= len(self.locations):
            raise Invalid("Invalid position for removing a location.")
        del self.locations[position]

    def _rewrite(self, values: Collection[Mapping[str, Any]]) -> None:
        """Other metadata, another order; the same places."""
        left = list(self.locations)
        found: list[Location] = []
        for value in values:
            one = next((one for one in left if one.url == value["url"]), None)
            if one is None:
                break
            left.remove(one)
            store = {"store": one.metadata["store"]} if "store" in one.metadata else {}
            found.append(replace(one, metadata=_storable(value["metadata"]) | store))
        if left or len(found) != len(values):
            raise Invalid("The locations of an image that has some can be replaced by the same URLs only.")
        if any(one.url == other.url and one.metadata == other.metadata for one, other in _pairs(found)):
            raise Invalid("Invalid location: the same location is given twice.")
        self.locations = found

    def _take_hashes(self, given: Mapping[str, str]) -> None:
        """Believe what a client says the data is: while nothing is known of it, and never twice differently."""
        if not given:
            return
        _require_hashes(given, self._rules.algorithm)
        for name, value in given.items():
            known = self.hashes[name]
            if known is not None and known.lower() != value.lower():
                raise Conflict(f"{name} is already set with a different value.")
            if known is None and self.status != "queued":
                raise Conflict(f"A new value of {name} may be given only while the image is queued.")
            self.hashes[name] = value.lower()


def _require_hashes(given: Mapping[str, str], algorithm: str) -> None:
    if given["os_hash_algo"] != algorithm:
        raise Conflict(f"os_hash_algo must be {algorithm}.")
    lengths = {"checksum": "md5", "os_hash_value": algorithm}
    for name, kind in lengths.items():
        try:
            digest = bytes.fromhex(given.get(name, ""))
        except ValueError:
            raise Conflict(f"{name} is not a hexadecimal value.") from None
        if name in given and len(digest) != (length := hashlib.new(kind, usedforsecurity=False).digest_size):
            raise Conflict(f"{name} does not have the {length} bytes of its hash.")


def _own(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What is a client's own of a location's metadata."""
    return {name: value for name, value in metadata.items() if name != "store"}


def _is_flat(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_flat(one, levels - 1) for one in inner)


def _storable(metadata: Mapping[str, Any]) -> dict[str, Any]:
    own = _own(metadata)
    if not _is_flat(own, DEEPEST_METADATA):
        raise Invalid(f"The metadata of a location is nested more than {DEEPEST_METADATA} levels deep.")
    if len(encode(own)) > LONGEST_METADATA:
        raise Invalid(f"The metadata of a location is longer than {LONGEST_METADATA} bytes.")
    return own


def _position(place: str, end: int) -> int:
    if place == "-":
        return end
    if not (place.isascii() and place.isdecimal()) or len(place) > 9:
        raise Invalid("The position of a location is a number from 0, or '-' for the end.")
    return int(place)


def _pairs(locations: list[Location]) -> list[tuple[Location, Location]]:
    return [(one, other) for number, one in enumerate(locations) for other in locations[:number]]
