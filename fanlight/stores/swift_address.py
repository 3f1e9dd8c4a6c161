"""URLs of objects in Swift, as Glance writes them.

    swift+https://<user>:<key>@<host>/<path>/<container>/<object>   credentials, and the URL to log in at
    swift+https://<host>/<path>/<container>/<object>                no credentials: a storage URL of the caller's
    swift+config://<reference>/<container>/<object>                 an account of the configuration

`swift` means `swift+https`; `swift+http` is without TLS. User and key are percent-encoded; a user of Keystone is
`project:user`, so that the key is what follows the last colon.
"""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

from fanlight.errors import MalformedLocation

SCHEMES = ("swift+https", "swift", "swift+http", "swift+config")
_UNFIT = re.compile(r"[\x00-\x20\x7f?#]")
"""What no part of such a URL can hold as it is."""


class Address(Struct, frozen=True, kw_only=True):
    """Where an object is, and how to get there."""

    scheme: str
    place: str
    """Host, port and path of the URL to log in at, or of the storage; of `swift+config` the reference."""
    container: str
    name: str
    """The object's."""
    user: str = ""
    key: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises MalformedLocation. No message shows any of it."""
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        # Names may hold blanks: Glance, too, takes them as they stand.
        if scheme not in SCHEMES or not separator or "://" in rest or _UNFIT.search(rest.replace(" ", "")):
            raise MalformedLocation
        front, _, name = rest.rpartition("/")
        front, _, container = front.rpartition("/")
        # The last @ ends the credentials: Glance leaves a slash in a key as it is.
        credentials, at, place = front.rpartition("@")
        place = place.rstrip("/")
        if not place or place.startswith("/") or " " in place or not container or not name:
            raise MalformedLocation
        if scheme == "swift+config" and (at or "/" in place):
            raise MalformedLocation
        user = key = ""
        if at:
            user, _, key = (unquote(part) for part in credentials.rpartition(":"))
            if not user or not key:
                raise MalformedLocation
        if scheme != "swift+config":
            _require_host(place)
        return cls(scheme=scheme, place=place, container=container, name=name, user=user, key=key)

    @property
    def url(self) -> str:
        """The canonical form. Holds the credentials."""
        login = f"{quote(self.user, safe='')}:{quote(self.key, safe='')}@" if self.user else ""
        return f"{self.scheme}://{login}{self.place}/{self.container}/{self.name}"

    @property
    def endpoint(self) -> str:
        """The URL to log in at, or the storage URL."""
        return f"{'http' if self.scheme == 'swift+http' else 'https'}://{self.place}"

    def __repr__(self) -> str:
        return f"<Address {self.scheme} {self.container}/{self.name}>"


def scheme_and_place(endpoint: str) -> tuple[str, str]:
    """How an http or https URL stands in an address. Raises ValueError for any other."""
    scheme, separator, place = endpoint.partition("://")
    place = place.rstrip("/")
    if not separator or scheme.lower() not in ("http", "https") or not place or _UNFIT.search(place):
        raise ValueError(endpoint)
    return f"swift+{scheme.lower()}", place


def _require_host(place: str) -> None:
    try:
        parts = urlsplit(f"//{place}")
        fit = parts.hostname and parts.port != 0
    except ValueError:
        fit = False
    if not fit:
        raise MalformedLocation
