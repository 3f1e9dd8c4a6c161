"""The bytes of an image: upload and download.

Whatever brings bytes goes through the same three catalogue steps: `begin` (queued -> saving, with a lease),
`activate` (saving -> active, with the location), `abandon` (saving -> queued). `active` is written last, after
the bytes are durable; the lease tells a later process what to remove if this one dies in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from fanlight.catalog import images, leases, locations, retried
from fanlight.errors import (
    CatalogError,
    Conflict,
    FanlightError,
    Forbidden,
    Gone,
    ImageNotFound,
    Invalid,
    InvalidTransition,
    LimitExceeded,
    ObjectNotFound,
    StoreDeleteUnsupported,
    StoreError,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.model import Caller, Image, Lease, Location, Stored
from fanlight.operations import acls
from fanlight.operations.access import require, require_change, require_writer, viewer
from fanlight.operations.inspection import Inspector
from fanlight.operations.reading import Reading
from fanlight.operations.service import Service
from fanlight.settings.load import is_hash
from fanlight.stores.driver import Leftovers

LOG = logging.getLogger(__name__)


class Source(Protocol):
    """A body on its way in. `read` gives the next block, empty at the clean end; `close` makes a pending read end."""

    def read(self, size: int = -1, /) -> bytes | memoryview: ...

    def close(self) -> None: ...


class Upload(Struct, frozen=True):
    """An upload that has begun: its lease, and how many bytes it may bring."""

    image: Image
    lease: Lease
    cap: int


def upload(
    service: Service, caller: Caller, image_id: str, source: Source, size: int | None, store_id: str | None = None
) -> None:
    """Store `source` as the data of a queued image. `size`: bytes announced, None if unknown.

    Raises UnknownStore, ImageNotFound, PolicyDenied, Forbidden, Conflict (status), LimitExceeded (cap, quota),
    SizeMismatch, UnsupportedMedia (content is not the declared format), Gone (deleted meanwhile), StoreError,
    and what `source` raises. Whatever it raises, no byte stays behind and the image is `queued` again (or gone).
    """
    upload = begin(service, caller, image_id, size, store_id or service.stores.default)
    image, lease = upload.image, upload.lease
    inspector = Inspector(image.disk_format or "", image.container_format or "", service.settings.formats)
    stored: Stored | None = None
    with service.keeper.holding(lease, on_lost=source.close):
        try:
            stored = service.stores.put(
                lease.store or "",
                image_id,
                source,
                size,
                algorithm=image.os_hash_algo or service.settings.api.hashing_algorithm,
                cap=upload.cap,
                observers=(inspector,),
                context=caller,
            )
            if image.checksum or image.os_hash_value:
                _require_hashes(image, stored)
            activate(service, image, lease, stored, inspector.finish(stored.size))
        except BaseException as error:
            undo(service, caller, lease, stored, error)
            if isinstance(error, FanlightError) and _was_deleted(service, image_id):
                raise Gone from error
            if isinstance(error, Leftovers) and error.__cause__ is not None:
                raise error.__cause__ from None
            raise
    acls.tell(service, caller, image_id)


@retried
def begin(service: Service, caller: Caller, image_id: str, size: int | None, store_id: str) -> Upload:
    """queued -> saving, and write down that bytes are coming. One of two uploads at once wins, the other conflicts.

    Raises what `upload` raises before the first byte: UnknownStore to LimitExceeded, Gone, StoreUnreachable.
    """
    require_writer(caller)
    url = service.stores.planned_url(store_id, image_id)
    with service.catalog.write() as connection:
        image = images.fetch(connection, image_id, viewer(caller), lock=True)
        require_change(service, caller, "upload_image", image)
        if image.status != "queued":
            raise InvalidTransition(image.status, "saving")
        if image.locations:
            # Glance leaves such images after an upload or a location that it refused late. What is there could be taken
            # for what is sent now.
            raise Conflict("The image has a location already: remove that, or delete the image.")
        if image.os_hash_algo and not is_hash(image.os_hash_algo):
            # A Glance whose hashlib had it, or whoever wrote the row.
            raise Conflict("This service cannot compute the os_hash_algo that the image has.")
        if not image.disk_format or not image.container_format:
            raise MissingFormats
        cap = service.settings.api.image_size_cap
        quota = service.settings.api.user_storage_quota
        if quota:
            cap = min(cap, max(0, quota - images.usage(connection, image.owner)))
        if size is not None and size > cap:
            raise LimitExceeded(f"The data of {size} bytes is larger than the {cap} bytes allowed.")
        lease = service.keeper.new_lease("upload", image_id, store_id, url)
        if leases.owed(connection, image_id, store_id):
            # Whoever discards them finds them by the image's id, and would find this upload's bytes, too.
            raise StoreUnreachable("The remains of a failed upload are still in the store; try again later.")
        if not images.set_status(connection, image_id, ("queued",), "saving"):
            raise Gone
        leases.open(connection, lease)
    return Upload(image, lease, cap)


def _require_hashes(image: Image, stored: Stored) -> None:
    """What the record says of its data already must be true (V2 7.1; rows of a Glance may say it). Raises Invalid."""
    for name in ("checksum", "os_hash_value"):
        known = getattr(image, name)
        if known is not None and known.lower() != getattr(stored, name):
            raise Invalid(f"The data does not have the {name} that the image has.")


class MissingFormats(Invalid):
    """The image has no disk_format or container_format yet."""

    code = "missing-formats"
    message = "Properties disk_format and container_format must be set before the data is saved."


@retried
def activate(service: Service, image: Image, lease: Lease, stored: Stored, virtual_size: int | None) -> None:
    """saving -> active with location, size and hashes. Raises Gone if the lease or the status was taken meanwhile.

    The user's storage quota (bytes) is looked at once more (LimitExceeded): other uploads may have used it up.
    """
    quota = service.settings.api.user_storage_quota
    with service.catalog.write() as connection:
        if not leases.close(connection, lease.token, lease.holder):
            raise Gone
        if quota:
            images.hold_uploads(connection, image.owner)
            if images.usage(connection, image.owner) + stored.size > quota:
                raise LimitExceeded("The storage quota of the project is used up.")
        locations.add(connection, image.id, Location(url=stored.url, metadata=stored.metadata))
        active = images.set_status(
            connection,
            image.id,
            ("saving",),
            "active",
            size=stored.size,
            virtual_size=virtual_size,
            checksum=stored.checksum,
            os_hash_algo=stored.os_hash_algo,
            os_hash_value=stored.os_hash_value,
        )
        if not active:
            raise Gone


def undo(service: Service, caller: Caller, lease: Lease, stored: Stored | None, error: BaseException) -> None:
    """Remove what this upload stored, then give the image back. What cannot be removed now is owed: see `recovery`."""
    try:
        if not (_still_ours(service, lease) or _claim_again(service, lease, stored)):
            return
        try:
            if stored is not None:
                service.stores.delete(Location(url=stored.url, metadata=stored.metadata), caller)
            elif isinstance(error, StoreUnreachable | StoreTimeout):
                # The driver has cleaned up as far as it could, without the back end.
                service.stores.discard_partial(lease.store or "", lease.image_id)
                if isinstance(error, StoreTimeout):
                    # A server that is only slow may store it yet: then it goes when the lease has run out.
                    abandon(service, lease, owing=True)
                    return
        except (ObjectNotFound, StoreDeleteUnsupported):
            # A debt that nobody can pay (data in callers' accounts) would close the store to this image for ever.
            LOG.info("nothing more can be removed of the failed upload to image %s", lease.image_id)
        except StoreError as failure:
            LOG.warning("what the failed upload to image %s left is owed: %s", lease.image_id, failure)
            abandon(service, lease, owing=True)
            return
        abandon(service, lease)
    except CatalogError as failure:
        LOG.warning("the failed upload to image %s is left to the keeper: %s", lease.image_id, failure)


@retried
def _still_ours(service: Service, lease: Lease) -> bool:
    with service.catalog.write() as connection:
        return leases.renew(connection, lease.token, lease.holder, service.keeper.expiry())


@retried
def _claim_again(service: Service, lease: Lease, stored: Stored | None) -> bool:
    """After the lease was taken from us (we slept too long): may the object we stored be removed?

    By now another upload may have stored its own object under the same name, and that one must stay. So claim
    the image like a new upload does; where that fails because it is in use, the object is somebody else's.
    """
    if stored is None:
        return False
    with service.catalog.write() as connection:
        try:
            image = images.fetch_any(connection, lease.image_id, lock=True)
        except ImageNotFound:
            leases.open(connection, lease)
            return True
        if not images.set_status(connection, image.id, ("queued",), "saving"):
            return False
        leases.open(connection, lease)
        return True


@retried
def abandon(service: Service, lease: Lease, *, owing: bool = False) -> None:
    """saving -> queued, if the lease is still ours; the status of an image deleted meanwhile stays.

    `owing`: the lease stays as a debt, for the keeper of any process to pay when the store can be reached again.
    """
    with service.catalog.write() as connection:
        if owing:
            ours = leases.owe(connection, lease.token, lease.holder, service.keeper.expiry())
        else:
            ours = leases.close(connection, lease.token, lease.holder)
        if ours:
            images.set_status(connection, lease.image_id, ("saving",), "queued", size=None, virtual_size=None)


def _was_deleted(service: Service, image_id: str) -> bool:
    try:
        with service.catalog.read() as connection:
            images.fetch_any(connection, image_id)
    except ImageNotFound:
        return True
    except CatalogError as error:
        LOG.warning("image %s could not be looked at after its upload failed: %s", image_id, error)
    return False


class Found(Struct, frozen=True):
    """Data that may be downloaded: `length` bytes (None: to the end) from `offset`; locations in the order to try."""

    image: Image
    locations: list[Location]
    store: str
    """The store of the first one; empty where none is known."""
    offset: int
    length: int | None


def find_download(
    service: Service,
    caller: Caller,
    image_id: str,
    choose: Callable[[int | None], tuple[int, int | None]],
    preferred: Callable[[], tuple[str, ...]],
) -> Found | None:
    """Where the data of an image is; None when it has none. No store is asked.

    `choose(size)` tells offset and length wanted, `preferred()` the stores to begin with; what they raise is raised
    once the image may be read.

    Raises ImageNotFound, PolicyDenied, Forbidden (deactivated).
    """
    with service.catalog.read() as connection:
        image = images.fetch(connection, image_id, viewer(caller))
    require(service, caller, "download_image", image)
    if image.status == "deactivated" and not caller.is_admin:
        raise Forbidden("The image is deactivated.")
    prefer = preferred()
    if not image.locations:
        return None
    if prefer:
        require(service, caller, "download_from_store", image)
    offset, length = choose(image.size)
    locations = service.stores.order(image.locations, prefer)
    store = service.stores.placed(locations[0]).metadata.get("store", "")
    return Found(image, locations, store, offset, length)


class Download(Struct, frozen=True):
    """An open download: `length` bytes from `offset` of `image`, read from `reader` (which must be closed)."""

    image: Image
    reader: Reading
    offset: int
    length: int


def open_download(service: Service, caller: Caller, found: Found) -> Download | None:
    """Open the data; None when nothing is there.

    Locations are tried in order: preferred stores first, then by weight. One that fails on the way is followed by the
    next (reading.py). Raises StoreError.
    """
    try:
        reader = Reading(service.stores, found.image, found.locations, found.offset, found.length, caller)
    except ObjectNotFound:
        return None
    return Download(found.image, reader, found.offset, reader.size)
