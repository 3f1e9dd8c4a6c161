"""What can be done with the record of an image: create, show, list, update, delete, activate again, tag.

Every function is one operation of the service, whatever API called it, and shows its transactions.
"""

from __future__ import annotations

import datetime
import logging
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from fanlight.catalog import images, leases, locations, retried
from fanlight.errors import (
    Forbidden,
    Invalid,
    InvalidTransition,
    LimitExceeded,
    ObjectHasSnapshot,
    ObjectInUse,
    ObjectNotFound,
    StoreDeleteUnsupported,
    StoreError,
    StoreForbidden,
    StoreTimeout,
    TagNotFound,
    UnknownScheme,
    UnknownStore,
)
from fanlight.model import INTERNAL_PREFIX, TRANSITIONS, Caller, Image, ImageQuery, Lease, Location
from fanlight.operations import acls
from fanlight.operations.access import require, require_change, require_writer, viewer
from fanlight.operations.changes import Operation, apply
from fanlight.operations.policy import ImageTarget
from fanlight.operations.service import Service

LOG = logging.getLogger(__name__)
PUBLISHING = {"public": "publicize_image", "community": "communitize_image"}
"""Which rule guards giving an image this visibility."""


class Page(Struct, frozen=True):
    """One page of a list. `next_marker` is the id to go on after, None at the end of the list."""

    images: list[Image]
    next_marker: str | None


@retried
def create(service: Service, caller: Caller, image: Image, asked: Collection[str] = ()) -> Image:
    """Add a record in status `queued`. `asked` names the fields that the caller gave, the rest are defaults.

    Raises Forbidden, PolicyDenied, LimitExceeded (tags, properties), Duplicate (the id is or was used).
    """
    require_writer(caller)
    if "owner" in asked and not caller.is_admin and image.owner != caller.project_id:
        raise Forbidden("You are not permitted to create images owned by another project.")
    # The rule is shown the visibility asked for, and `private` (not the default, shared) where none was.
    visibility = image.visibility if "visibility" in asked else "private"
    target = {"project_id": image.owner, "owner": image.owner, "visibility": visibility}
    service.policy.require("add_image", caller, target)
    if visibility in PUBLISHING:
        service.policy.require(PUBLISHING[visibility], caller, target)
    check_quotas(service, image)
    with service.catalog.write() as connection:
        return images.insert(connection, image)


@retried
def show(service: Service, caller: Caller, image_id: str) -> Image:
    """One image. Raises ImageNotFound also for what the caller may not see."""
    with service.catalog.read() as connection:
        image = images.fetch(connection, image_id, viewer(caller))
    require(service, caller, "get_image", image)
    return image


@retried
def list_page(service: Service, caller: Caller, query: ImageQuery) -> Page:
    """One page of what the caller may see. One row more than asked is read, so that `next_marker` is exact."""
    service.policy.require("get_images", caller, {"project_id": caller.project_id})
    if query.limit == 0:
        return Page([], None)
    with service.catalog.read() as connection:
        found = images.list_page(connection, replace(query, limit=query.limit + 1), viewer(caller))
    more = len(found) > query.limit
    page = found[: query.limit]
    check = service.policy.check("get_image", caller)
    shown = [image for image in page if check(ImageTarget(image, caller), caller)]
    return Page(shown, page[-1].id if more else None)


@retried
def update(service: Service, caller: Caller, image_id: str, operations: Sequence[Operation]) -> Image:
    """Read, apply `operations`, save what differs: one transaction under the row's lock, so that of two updates at once
    none is lost. No operations: nothing but a look at the image.

    Policy: `modify_image`, before anything is told of what the image has; and the publishing rule of a new visibility.
    Raises what `changes.apply` does, and LimitExceeded for quotas.
    """
    require_writer(caller)
    with service.catalog.write() as connection:
        before = images.fetch(connection, image_id, viewer(caller), lock=True)
        if not operations:
            require(service, caller, "get_image", before)
            return before
        require_change(service, caller, "modify_image", before)
        after = apply(before, operations, caller)
        require_publishing(service, caller, before, after)
        check_quotas(service, after, before)
        saved = images.save(connection, before, after)
    if after.visibility != before.visibility:
        acls.tell(service, caller, image_id)
    return saved


def require_publishing(service: Service, caller: Caller, before: Image, after: Image) -> None:
    """Let `caller` pass the publishing rule of a new visibility, if it is one that has such a rule."""
    if after.visibility != before.visibility and after.visibility in PUBLISHING:
        require(service, caller, PUBLISHING[after.visibility], before)


def delete(service: Service, caller: Caller, image_id: str) -> None:
    """Delete the record, then its bytes. Works in any status; a running upload notices and cleans up.

    First transaction: the record goes, and a lease for every object says that it must go. Second: the leases
    are closed. A store that refuses (in use, snapshot, forbidden, time-out) brings the record back, with the data that
    is still there; a store that cannot be reached does not: its debt is kept and paid later.
    """
    require_writer(caller)
    image, debts, parts = _delete_record(service, caller, image_id)
    payment = pay(service, caller, debts)
    if payment.refusal is not None:
        _restore_record(service, image, parts, debts, payment.done)
        raise payment.refusal
    settle(service, payment.done)


class Payment(Struct, frozen=True):
    """What became of debts: those that are `done`, and what a store said that refused one; the rest is open."""

    done: list[Lease]
    refusal: StoreError | None


def pay(service: Service, caller: Caller, debts: list[Lease]) -> Payment:
    """Delete the objects that these leases of ours name. A store that refuses ends it; one that cannot be reached is
    left to the keeper, with its debt.
    """
    done: list[Lease] = []
    with ExitStack() as held:
        # All of them until the end: what a refusal brings back must not be removed by a keeper meanwhile.
        for debt in debts:
            held.enter_context(service.keeper.holding(debt, on_lost=lambda: None))
        for debt in debts:
            try:
                delete_object(service, caller, debt)
            except (ObjectInUse, ObjectHasSnapshot, StoreForbidden, StoreTimeout) as error:
                return Payment(done, error)
            except StoreError as error:
                LOG.warning("data of image %s in store %s is not deleted yet: %s", debt.image_id, debt.store, error)
            else:
                done.append(debt)
    return Payment(done, None)


@retried
def _delete_record(service: Service, caller: Caller, image_id: str) -> tuple[Image, list[Lease], images.Gone]:
    with service.catalog.write() as connection:
        image = images.fetch(connection, image_id, viewer(caller), lock=True)
        require_change(service, caller, "delete_image", image)
        if image.protected:
            raise Forbidden(f"Image {image_id} is protected and cannot be deleted.")
        if "deleted" not in TRANSITIONS[image.status]:
            raise Invalid(str(InvalidTransition(image.status, "deleted")))
        debts = [debt_of(service, image_id, location) for location in image.locations]
        for debt in debts:
            leases.open(connection, debt)
        return image, debts, images.soft_delete(connection, image_id)


def debt_of(service: Service, image_id: str, location: Location) -> Lease:
    """A lease that says that the object of a location must go."""
    return service.keeper.new_lease(
        "delete",
        image_id,
        location.metadata.get("store"),
        location.url,
        metadata=location.metadata,
        location_id=location.id,
    )


def delete_object(service: Service, caller: Caller | None, debt: Lease) -> None:
    """Remove the object a delete lease names. Absent already, or in no store of ours: nothing left to do.

    `caller`: in whose name; None: the service itself. Clients that set locations may have given one object to several
    images; then it stays until the last of them lets it go.
    """
    if service.settings.api.show_multiple_locations and _is_held(service, debt):
        LOG.info("the data of image %s in store %s stays: another location names it", debt.image_id, debt.store)
        return
    location = Location(url=debt.url or "", metadata=debt.metadata, id=debt.location_id)
    try:
        service.stores.delete(location, caller)
    except ObjectNotFound:
        LOG.info("the data of image %s was gone from store %s already", debt.image_id, debt.store)
    except (StoreDeleteUnsupported, UnknownScheme, UnknownStore) as error:
        LOG.warning("the data of image %s stays where it is: %s", debt.image_id, error)


@retried
def _is_held(service: Service, debt: Lease) -> bool:
    with service.catalog.read() as connection:
        return locations.is_held(connection, debt.url or "")


@retried
def _restore_record(service: Service, image: Image, parts: images.Gone, debts: list[Lease], done: list[Lease]) -> None:
    with service.catalog.write() as connection:
        images.restore(connection, image.id, image.status, parts)
        for debt in done:
            locations.remove(connection, image.id, debt.location_id or 0)
        for debt in debts:
            leases.close(connection, debt.token, debt.holder)


@retried
def settle(service: Service, debts: list[Lease]) -> None:
    """Close the leases of debts that are paid."""
    if not debts:
        return
    with service.catalog.write() as connection:
        for debt in debts:
            leases.close(connection, debt.token, debt.holder)


def deactivate(service: Service, caller: Caller, image_id: str) -> None:
    """Stop downloads of an active image for everyone but administrators. Again on a deactivated one: no effect."""
    _switch(service, caller, image_id, "deactivate", "active", "deactivated")


def reactivate(service: Service, caller: Caller, image_id: str) -> None:
    """Undo `deactivate`. On an active image: no effect."""
    _switch(service, caller, image_id, "reactivate", "deactivated", "active")


@retried
def _switch(service: Service, caller: Caller, image_id: str, rule: str, current: str, wanted: str) -> None:
    require_writer(caller)
    with service.catalog.write() as connection:
        image = images.fetch(connection, image_id, viewer(caller), lock=True)
        require_change(service, caller, rule, image)
        if image.status == wanted:
            return
        if image.status != current or not images.set_status(connection, image_id, (current,), wanted):
            raise Forbidden(str(InvalidTransition(image.status, wanted)))


def add_tag(service: Service, caller: Caller, image_id: str, tag: str) -> None:
    """Add one tag (≤ 255 characters); a second time has no effect. Raises LimitExceeded over `image_tag_quota`."""
    # Glance, too, tells that before it looks for the image.
    if len(tag) > 255:
        raise Invalid("A tag has at most 255 characters.")

    def change(image: Image) -> Image:
        return image if tag in image.tags else replace(image, tags=(*image.tags, tag))

    _update_tags(service, caller, image_id, change)


def remove_tag(service: Service, caller: Caller, image_id: str, tag: str) -> None:
    """Remove one tag. Raises TagNotFound."""

    def change(image: Image) -> Image:
        if tag not in image.tags:
            raise TagNotFound("The image has no such tag.")
        return replace(image, tags=tuple(other for other in image.tags if other != tag))

    _update_tags(service, caller, image_id, change)


@retried
def _update_tags(service: Service, caller: Caller, image_id: str, change: Callable[[Image], Image]) -> None:
    require_writer(caller)
    with service.catalog.write() as connection:
        before = images.fetch(connection, image_id, viewer(caller), lock=True)
        require_change(service, caller, "modify_image", before)
        after = change(before)
        if after is not before:
            check_quotas(service, after, before)
            images.save(connection, before, after)


def check_quotas(service: Service, after: Image, before: Image | None = None) -> None:
    """Tags and custom properties within `image_tag_quota` and `image_property_quota` (negative: unlimited).

    An image that already is over a limit (it was lowered, or an adopted row) may be changed, but not grow further.
    Raises LimitExceeded.
    """
    api = service.settings.api
    counts = (
        ("tags", len(set(after.tags)), len(before.tags) if before else 0, api.image_tag_quota),
        ("custom properties", _own(after), _own(before) if before else 0, api.image_property_quota),
    )
    for what, count, had, limit in counts:
        if 0 <= limit < count and count > had:
            raise LimitExceeded(f"The limit of {limit} {what} for one image is exceeded: {count} were asked for.")


def _own(image: Image) -> int:
    return sum(not name.startswith(INTERNAL_PREFIX) for name in image.properties)


def new_image(fields: Mapping[str, Any]) -> Image:
    """A record in status `queued`, created now, with `fields` as asked for and a new id unless one is among them."""
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    return Image(**{"id": str(uuid.uuid4()), **fields, "status": "queued", "created_at": now, "updated_at": now})
