"""Locations that clients change themselves: PATCH of `locations`, where `show_multiple_locations` lets them.

Three steps. Look: who may do it, and what would come out, by the record as it is. Ask: the stores, how large the
objects at new places are; outside of any transaction, since they may take long. Save: in one transaction, under the
row's lock, look once more at the record as it is by then. What was removed is deleted last, like a deleted image's
data (images.py): its debt was written down by the same transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from fanlight.catalog import images, leases, locations, retried
from fanlight.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LimitExceeded,
    StoreError,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.model import Caller, Image, Lease, Location
from fanlight.operations import acls
from fanlight.operations.access import require_change, require_writer, viewer
from fanlight.operations.changes import Operation, apply
from fanlight.operations.data import MissingFormats
from fanlight.operations.images import check_quotas, debt_of, pay, require_publishing, settle
from fanlight.operations.placing import HASHES, PlaceRules
from fanlight.operations.service import Service

LOG = logging.getLogger(__name__)
REFUSED_SCHEMES = frozenset({"file", "filesystem", "swift+config"})
"""What no client may name: files of the host (OSSA-2014-041, OSSA-2015-002), accounts of the configuration."""
WEB_SCHEMES = ("http://", "https://")

Found = Mapping[str, tuple[Location, int]]
"""URL -> the location that it is, with its store, and the size of the object there in bytes."""


def update(service: Service, caller: Caller, image_id: str, operations: Sequence[Operation]) -> Image:
    """Apply changes of which some are about locations. All of them come true, or none.

    Policy: `set_image_location` or `delete_image_location`, and for other changes as `images.update`. Raises what
    `changes.apply` does; Invalid (nothing can be read there, the sizes differ, formats are missing), LimitExceeded,
    Conflict (another image's data is being written or removed there), and for removed data what the store does.
    """
    require_writer(caller)
    found = _ask(service, caller, _look(service, caller, image_id, operations))
    before, saved, debts = _save(service, caller, image_id, operations, found)
    payment = pay(service, caller, debts)
    if payment.refusal is not None:
        _revert(service, before, saved, debts, payment.done)
        raise payment.refusal
    settle(service, payment.done)
    acls.tell(service, caller, image_id)
    return saved


@retried
def _look(service: Service, caller: Caller, image_id: str, operations: Sequence[Operation]) -> list[str]:
    """The URLs of new locations, if everything else is right."""
    with service.catalog.read() as connection:
        image = images.fetch(connection, image_id, viewer(caller))
    after = _change(service, caller, image, operations)
    return [location.url for location in after.locations if location.id is None]


def _change(service: Service, caller: Caller, image: Image, operations: Sequence[Operation]) -> Image:
    """What comes out, if the caller may do it: the URLs of locations are plain ones, those of new ones unasked."""
    api, stores = service.settings.api, service.stores
    if not api.show_multiple_locations:
        raise Forbidden("The locations of an image cannot be changed while they are invisible.")
    for rule in sorted({_rule(operation) for operation in operations}):
        require_change(service, caller, rule, image)
    plain = tuple(stores.shown(location) for location in image.locations)
    rules = PlaceRules(stores.schemes - REFUSED_SCHEMES, api.image_location_quota, api.hashing_algorithm)
    after = apply(replace(image, locations=plain), operations, caller, rules)
    require_publishing(service, caller, image, after)
    check_quotas(service, after, image)
    if image.status == "queued" and after.status == "active" and not (after.disk_format and after.container_format):
        raise MissingFormats
    return after


def _rule(operation: Operation) -> str:
    if operation.path[0] != "locations":
        return "modify_image"
    return "delete_image_location" if operation.op == "remove" else "set_image_location"


def _ask(service: Service, caller: Caller, urls: Sequence[str]) -> Found:
    """What lies at these URLs. Raises Invalid, StoreUnreachable and StoreTimeout (of back ends of our own)."""
    for url in urls:
        if url.startswith(WEB_SCHEMES):
            service.url_filter.require(url)
    found = {}
    for url in urls:
        try:
            found[url] = service.stores.place(url, caller)
        except StoreError as error:
            if isinstance(error, StoreUnreachable | StoreTimeout) and not url.startswith(WEB_SCHEMES):
                raise
            # Of servers of others one text tells nothing: not whether there is a host, a port or a page.
            LOG.info("a location that a client named cannot be read: %s", error)
            raise Invalid("Invalid location: no data can be read there.") from error
        if found[url][1] <= 0:
            raise Invalid("Invalid location: no data can be read there.")
    return found


@retried
def _save(
    service: Service, caller: Caller, image_id: str, operations: Sequence[Operation], found: Found
) -> tuple[Image, Image, list[Lease]]:
    """The record before and after, and what is to be deleted."""
    with service.catalog.write() as connection:
        before = images.fetch(connection, image_id, viewer(caller), lock=True)
        after = _placed(before, _change(service, caller, before, operations), found)
        new = [location for location in after.locations if location.id is None]
        for location in new:
            if leases.named(connection, location.url):
                raise Conflict("Data is being written or removed at this location; try again later.")
            if leases.owed(connection, image_id, location.metadata["store"]):
                raise StoreUnreachable("Data of the image must still go from the store; try again later.")
        debts = [debt_of(service, image_id, one) for one in _removed(service, before, after)]
        for debt in debts:
            leases.open(connection, debt)
        if after.status != before.status:
            known = {name: getattr(after, name) for name in ("size", *HASHES)}
            images.set_status(connection, image_id, (before.status,), after.status, **known)
        saved = images.save(connection, before, after)
        places = locations.save(connection, image_id, before.locations, after.locations)
        quota = service.settings.api.user_storage_quota
        if quota and new:
            images.hold_uploads(connection, after.owner)
        if quota and new and images.usage(connection, after.owner) > quota:
            raise LimitExceeded("The storage quota of the project is used up.")
    return before, replace(saved, locations=places), debts


def _placed(before: Image, after: Image, found: Found) -> Image:
    """`after` with its locations as the catalogue keeps them, and with its size."""
    kept = {location.id: location.url for location in before.locations}
    size = None if before.status == "queued" else before.size
    places = []
    for location in after.locations:
        if location.id is not None:
            places.append(replace(location, url=kept[location.id]))
            continue
        if location.url not in found:
            raise Conflict("Somebody else has changed the locations of the image; try again.")
        place, there = found[location.url]
        if size not in (None, there):
            raise Invalid(f"Invalid location: {there} bytes are there, and the image has {size}.")
        size = there
        places.append(replace(place, metadata={**location.metadata, **place.metadata}))
    return replace(after, locations=tuple(places), size=size)


def _removed(service: Service, before: Image, after: Image) -> list[Location]:
    """The locations that are no longer there and whose data no other one of the image names."""
    shown = service.stores.shown
    ids = {location.id for location in after.locations}
    urls = {shown(location).url for location in after.locations}
    return [one for one in before.locations if one.id not in ids and shown(one).url not in urls]


@retried
def _revert(service: Service, before: Image, saved: Image, debts: Sequence[Lease], done: Sequence[Lease]) -> None:
    """After a store refused to delete: the removed locations whose data is still there come back, and all else is as it
    was, unless somebody has changed the image since.
    """
    gone = {debt.location_id for debt in done}
    with service.catalog.write() as connection:
        present = images.fetch_any(connection, before.id, lock=True)
        untouched = present == replace(saved, updated_at=present.updated_at, member=None)
        for debt in debts:
            leases.close(connection, debt.token, debt.holder)
            if debt.location_id not in gone:
                locations.restore(connection, before.id, debt.location_id or 0)
        if untouched:
            restored = images.fetch_any(connection, before.id)
            places = [location for location in before.locations if location.id not in gone]
            locations.save(connection, before.id, restored.locations, places)
            images.save(connection, present, before)
