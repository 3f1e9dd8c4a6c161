"""What becomes of a lease whose holder died: called by the keeper, in any process, any number of times."""

from __future__ import annotations

import datetime
import logging

from fanlight.catalog import images, leases, retried
from fanlight.catalog.rows import now
from fanlight.errors import ImageNotFound, StoreDeleteUnsupported, StoreError
from fanlight.model import Lease
from fanlight.operations.data import abandon
from fanlight.operations.images import delete_object
from fanlight.operations.service import Service

LOG = logging.getLogger(__name__)


LEFT_SECONDS = 24 * 3600
"""How long an image must have been in `saving`, without a lease, to be taken for what a Glance has left there."""


def adopt(service: Service) -> None:
    """Write leases down for images that a Glance has left in `saving`, so that they become `queued` like our own.

    Where the bytes lie nobody has written down, so they are looked for in all stores. Raises CatalogError.
    """
    moment = now() - datetime.timedelta(seconds=LEFT_SECONDS)
    with service.catalog.read() as connection:
        left = images.stuck(connection, moment)
    for image_id in left:
        LOG.warning("image %s has been in saving for a day, and nobody is uploading: it will be queued", image_id)
        _adopt(service, image_id)


@retried
def _adopt(service: Service, image_id: str) -> None:
    stores, new = service.stores, service.keeper.new_lease
    others = [one for one in stores.ids() if one != stores.default and stores.writable(one)]
    with service.catalog.write() as connection:
        try:
            image = images.fetch_any(connection, image_id, lock=True)
        except ImageNotFound:
            return
        if image.status != "saving" or leases.exist(connection, image_id):
            return  # another worker was here
        # Nobody renews them, so the keeper takes them for those of somebody who died.
        for lease in (
            new("upload", image_id, stores.default, None),
            *(new("discard", image_id, one, None) for one in others),
        ):
            leases.open(connection, lease)


def recover(service: Service, lease: Lease) -> None:
    """Undo an upload (nothing of it stays, the image is `queued`), finish a delete, pay a debt.

    While the store cannot be reached, an image is `queued` all the same, and what must go is owed. Raises StoreError,
    CatalogError.
    """
    if lease.kind == "delete":
        delete_object(service, None, lease)
        _close(service, lease)
        return
    upload = lease.kind == "upload"
    try:
        service.stores.discard_partial(lease.store or "", lease.image_id)
    except StoreDeleteUnsupported:
        LOG.warning("what an upload to image %s left in store %s stays there", lease.image_id, lease.store)
    except StoreError:
        if upload:
            abandon(service, lease, owing=True)
        raise
    if upload:
        abandon(service, lease)
    else:
        _close(service, lease)


@retried
def _close(service: Service, lease: Lease) -> None:
    with service.catalog.write() as connection:
        leases.close(connection, lease.token, lease.holder)
