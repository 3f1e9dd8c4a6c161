"""The Cinder store without an account of its own: volumes are their owners', and no server is needed to know that."""

from __future__ import annotations

import pytest

from fanlight.errors import StoreDeleteUnsupported
from fanlight.settings.drivers import defaults
from tests.stores.place import STORE, new_id, open_one

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # os-brick's imports


def test_nothing_is_owed_that_only_the_owner_could_remove() -> None:
    stores = open_one("cinder", defaults("cinder"))
    with pytest.raises(StoreDeleteUnsupported, match="owner"):
        stores.discard_partial(STORE, new_id())
