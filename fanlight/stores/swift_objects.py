"""What objects of Swift are made of.

A dynamic large object is everything whose name begins as its manifest says, a static one has a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from fanlight.errors import ObjectNotFound, StoreError
from fanlight.stores.swift_wire import Link

PAGE = 10_000
"""Names in one listing: what a server gives at most, unless it is told to give less."""
HANDS = 4
"""Segments deleted at the same time."""


def manifest_of(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Container and prefix of the segments of a dynamic large object.

    None: it is no such object, or takes in a whole container, which is nobody's to delete.
    """
    container, _, prefix = unquote(headers.get("x-object-manifest", "")).lstrip("/").partition("/")
    return (container, prefix) if container and prefix else None


def listing(link: Link, container: str, prefix: str) -> Iterator[dict[str, Any]]:
    """All objects whose names begin so, in order. A container that is not there has none."""
    marker = ""
    while True:
        try:
            _, page = link.look("get_container", container, marker=marker, limit=PAGE, prefix=prefix)
        except ObjectNotFound:
            return
        if not page:
            return
        yield from page
        marker = page[-1]["name"]


def size_of(link: Link, headers: Mapping[str, str]) -> int:
    """Bytes of the whole object, from an answer to HEAD or GET of a part or of all."""
    _, slash, total = headers.get("content-range", "").partition("/")
    if slash and total.isdigit():
        return int(total)
    if not slash and "content-length" in headers:
        return int(headers["content-length"])
    # The server itself has not listed all segments of so large an object.
    manifest = manifest_of(headers)
    if manifest is None:
        raise StoreError("Swift does not tell how large the object is.")
    return sum(int(segment["bytes"]) for segment in listing(link, *manifest))


def delete_whole(link: Link, container: str, name: str) -> None:
    """Remove an object with all that it is made of. Raises ObjectNotFound, StoreError.

    The manifest goes last: when it fails before, it can be done again.
    """
    headers = link.look("head_object", container, name)
    if headers.get("x-static-large-object", "").lower() == "true":
        link.look("delete_object", container, name, query_string="multipart-manifest=delete")
        # The answer is 200 whatever was refused.
        with suppress(ObjectNotFound):
            link.look("head_object", container, name)
            raise StoreError("Swift could not delete all segments of the object.")
        return
    manifest = manifest_of(headers)
    if manifest is not None:
        delete_all(link, manifest[0], (segment["name"] for segment in listing(link, *manifest)))
    link.look("delete_object", container, name)


def delete_all(link: Link, container: str, names: Iterable[str]) -> int:
    """Remove objects, several at a time; how many. One that is gone already is fine. Raises StoreError."""

    def delete(name: str) -> None:
        with suppress(ObjectNotFound):
            link.look("delete_object", container, name)

    with ThreadPoolExecutor(HANDS, thread_name_prefix="swift-delete") as pool:
        return sum(1 for _ in pool.map(delete, names))


def parts_of(link: Link, container: str, object_id: str) -> list[str]:
    """Names of segments of an object that an upload has left. Others that only begin the same are not meant."""
    prefix = f"{object_id}-"
    names = (entry["name"] for entry in listing(link, container, prefix))
    return [name for name in names if len(name) >= len(prefix) + 5 and name[len(prefix) :].isdigit()]
