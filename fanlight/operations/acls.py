"""Who may read an image's data in the back end itself: told to stores that know access control lists.

Only Swift with images in their owners' accounts does. It is told whenever the answer may have changed: data has come,
the visibility or the members are others. After the commit, so that it is never told what did not come true; from what
the catalogue says then, so that of two changes at once the later is told. A store that fails does not undo the change:
the service asks its catalogue who may read, the list is for those who read past it.
"""

from __future__ import annotations

import logging

from fanlight.catalog import images, members
from fanlight.errors import AclsUnsupported, FanlightError, ImageNotFound
from fanlight.model import Caller, Location
from fanlight.operations.service import Service

LOG = logging.getLogger(__name__)
PUBLIC = frozenset({"public", "community"})


def tell(service: Service, caller: Caller, image_id: str) -> None:
    """Tell the stores of an image's locations who may read them. Failures are logged."""
    if not service.stores.knows_acls:
        return
    try:
        with service.catalog.read() as connection:
            image = images.fetch_any(connection, image_id)
            shared = image.visibility == "shared" and image.locations
            readers = [one.member_id for one in members.list_members(connection, image_id)] if shared else []
    except ImageNotFound:
        return
    except FanlightError as error:
        LOG.warning("the stores of image %s were not told who may read it: %s", image_id, error)
        return
    for location in image.locations:
        _tell(service, caller, location, image.visibility in PUBLIC, readers, image_id)


def _tell(
    service: Service, caller: Caller, location: Location, public: bool, readers: list[str], image_id: str
) -> None:
    try:
        service.stores.set_acls(location, public, readers, (), caller)
    except AclsUnsupported:
        return
    except FanlightError as error:
        store = location.metadata.get("store")
        LOG.warning("store %s was not told who may read image %s: %s", store, image_id, error)
