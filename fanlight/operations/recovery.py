"""What becomes of a lease whose holder died: called by the keeper, in any process, any number of times."""

from __future__ import annotations

import logging

from fanlight.catalog import leases, retried
from fanlight.errors import StoreDeleteUnsupported, StoreError
from fanlight.model import Lease
from fanlight.operations.data import abandon
from fanlight.operations.images import delete_object
from fanlight.operations.service import Service

LOG = logging.getLogger(__name__)


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
