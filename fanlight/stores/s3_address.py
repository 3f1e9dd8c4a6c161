"""URLs of objects in S3, as Glance writes them.

    s3://<host>/<bucket>/<key>                      over TLS s3+https://; s3+http:// is read, too
    s3://<access>:<secret>@<host>/<bucket>/<key>    of old releases; the secret may hold slashes

The host may have a port and a path.
"""

from __future__ import annotations

from msgspec import Struct

from fanlight.errors import MalformedLocation

SCHEMES = ("s3", "s3+http", "s3+https")


class Address(Struct, frozen=True):
    """Where an object is. The credentials that URLs of old releases carry are forgotten at once."""

    scheme: str
    host: str
    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL: the last part is the key, the one before the bucket. Raises MalformedLocation."""
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in SCHEMES:
            raise MalformedLocation
        credentials, at, place = rest.rpartition("@")
        # Secrets may hold slashes, so the credentials end at the last @.
        if at and not all(credentials.partition(":")):
            raise MalformedLocation
        host, slash, key = place.rpartition("/")
        host, another, bucket = host.rpartition("/")
        if not (slash and another and is_host(host) and all(map(is_name, (*host.split("/"), bucket, _blankless(key))))):
            raise MalformedLocation
        return cls(scheme, host, bucket, key)

    def within(self, host: str, bucket: str) -> Address:
        """The same to a store that has this bucket: behind its own host and bucket all is the key, slashes and all.

        An object that was there before it became an image may lie in a folder. Elsewhere nobody can tell where a
        longer key begins.
        """
        place, end = f"{self.host}/{self.bucket}/{self.key}", len(host)
        if place[:end].lower() != host.lower() or not place[end:].startswith(f"/{bucket}/"):
            return self
        return Address(self.scheme, host, bucket, place[end + len(bucket) + 2 :])

    @property
    def url(self) -> str:
        """The canonical form."""
        return f"{self.scheme}://{self.host}/{self.bucket}/{self.key}"


def _blankless(key: str) -> str:
    """A key without the blanks that it may hold, which Glance, too, takes as they stand."""
    return key.replace(" ", "") or key


def is_name(text: str) -> bool:
    """Whether it can be a bucket, or a part of a path."""
    return text not in ("", ".", "..") and text.isascii() and text.isprintable() and not set(text) & set(" ?#")


def is_host(text: str) -> bool:
    """Whether it can be a host, with port and path."""
    return is_name(text) and not text.startswith(":")
