"""Records to documents: what a client of the Image API V2 reads of images, members and lists.

Last step of a request's way, on the hottest path: plain dictionaries in a fixed order, encoded by msgspec.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from fanlight.http.v2.query import decode
from fanlight.model import HIDDEN_PROPERTIES, Caller, Image, Location, Member

Document = dict[str, Any]

_NEVER_CUSTOM = frozenset({"direct_url", "locations", "stores", *HIDDEN_PROPERTIES})
"""Custom properties of these names (from old rows) would pose as something else, or are internal: never shown."""


class DocumentOptions(Struct, frozen=True, kw_only=True):
    """What an image document shows besides the fields that it always has; from the settings, built once."""

    show_image_direct_url: bool = False
    show_multiple_locations: bool = False
    multi_store: bool = True
    """Whether `stores` is shown."""
    weights: Mapping[str, int] = {}
    """Store id -> weight: locations appear heaviest first."""
    declared: Collection[str] = ()
    """Custom properties that the operator declared: they may be null, others are empty then."""
    placed: Callable[[Location], Location] = lambda location: location
    """A location with its store, which its record may not name (`Stores.placed`)."""
    shown: Callable[[Location], Location] = lambda location: location
    """A location as clients read it; its record may hold it encrypted (`Stores.shown`)."""


def image_document(image: Image, options: DocumentOptions, caller: Caller) -> Document:
    """One image as `caller` sees it (Image API V2, "Show image"). Every base field is there, null when unset."""
    path = "/v2/images/" + image.id
    document: Document = {
        "name": image.name,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "visibility": image.visibility,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "status": image.status,
        "checksum": image.checksum,
        "protected": image.protected,
        "min_ram": image.min_ram,
        "min_disk": image.min_disk,
        "owner": image.owner,
        "os_hidden": image.os_hidden,
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
        "id": image.id,
        "created_at": image.created_at.isoformat("T", "seconds") + "Z",
        "updated_at": image.updated_at.isoformat("T", "seconds") + "Z",
        "tags": image.tags,
        "self": path,
        "file": path + "/file",
        "schema": "/v2/schemas/image",
    }
    for name, value in image.properties.items():
        if name not in document and name not in _NEVER_CUSTOM:
            document[name] = "" if value is None and name not in options.declared else value
    if image.locations or options.show_multiple_locations:
        _add_locations(document, image, options, caller)
    return document


def _add_locations(document: Document, image: Image, options: DocumentOptions, caller: Caller) -> None:
    """`stores`, `direct_url` and `locations`, as far as configured. A deactivated image hides them from non-admins."""
    locations: Sequence[Location] = image.locations
    if image.status == "deactivated" and not caller.is_admin:
        locations = ()
    weights = options.weights
    for location in locations:
        if location.metadata.get("store") not in weights:
            locations = [options.placed(each) for each in locations]
            break
    if len(locations) > 1 and weights:
        locations = sorted(locations, key=lambda location: -weights.get(location.metadata.get("store", ""), 0))
    if options.multi_store:
        stores = [str(location.metadata["store"]) for location in locations if location.metadata.get("store")]
        if stores:
            document["stores"] = ",".join(stores)
    if options.show_image_direct_url and locations:
        document["direct_url"] = options.shown(locations[0]).url
    if options.show_multiple_locations:
        shown = [options.shown(location) for location in locations]
        document["locations"] = [{"url": one.url, "metadata": _metadata(one, options)} for one in shown]


def _metadata(location: Location, options: DocumentOptions) -> dict[str, Any]:
    """What a client reads of a location; which store it is in says something only where stores have names."""
    if options.multi_store or "store" not in location.metadata:
        return location.metadata
    return {name: value for name, value in location.metadata.items() if name != "store"}


def images_document(
    images: Iterable[Image],
    options: DocumentOptions,
    caller: Caller,
    query_string: str = "",
    next_marker: str | None = None,
) -> Document:
    """One page of a list. Its links repeat all parameters of `query_string` (as it came, checked) but the marker.

    `next_marker`: id of the last image of the page when more may follow, else None.
    """
    documents = [image_document(image, options, caller) for image in images]
    return {"images": documents, **_page_links("/v2/images", query_string, next_marker), "schema": "/v2/schemas/images"}


def _page_links(path: str, query_string: str, next_marker: str | None) -> dict[str, str]:
    kept = [pair for pair in decode(query_string) if pair[0] != "marker"]
    query = urlencode(kept)
    links = {"first": f"{path}?{query}" if query else path}
    if next_marker is not None:
        links["next"] = f"{path}?{urlencode([*kept, ('marker', next_marker)])}"
    return links


def member_document(member: Member) -> Document:
    """One project that an image is shared with."""
    return {
        "member_id": member.member_id,
        "image_id": member.image_id,
        "status": member.status,
        "created_at": timestamp(member.created_at),
        "updated_at": timestamp(member.updated_at),
        "schema": "/v2/schemas/member",
    }


def members_document(members: Iterable[Member]) -> Document:
    """All members of an image that the caller may see; this list has no pages."""
    return {"members": [member_document(member) for member in members], "schema": "/v2/schemas/members"}


def timestamp(moment: datetime.datetime) -> str:
    """A naive UTC time as the API writes it: `YYYY-MM-DDTHH:MM:SSZ`, without fraction."""
    return moment.isoformat("T", "seconds") + "Z"
