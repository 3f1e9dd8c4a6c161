"""The connection to Ceph that os-brick makes for a volume: it ends in time, and has one thread (rbd_cluster.py)."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pytest
from os_brick.initiator.linuxrbd import RBDVolumeIOWrapper

from fanlight.errors import StoreUnreachable
from fanlight.stores.cinder_account import explained
from fanlight.stores.rbd_cluster import PATIENCE
from tests.stores.conformance import silent_port
from tests.stores.place import MIB, Bytes, Place, pattern
from tests.stores.test_cinder import Volumes, volumes

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def on_ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Volumes]:
    with volumes("ceph", tmp_path_factory.mktemp("ceph")) as made:
        yield made


def files() -> list[RBDVolumeIOWrapper]:
    return [one for one in gc.get_objects() if isinstance(one, RBDVolumeIOWrapper)]


def test_connection_has_our_limits(on_ceph: Volumes) -> None:
    place = Place(on_ceph, on_ceph.options())
    location = place.put(Bytes(pattern(9 * MIB)), 9 * MIB)
    before = files()
    reader = place.stores.open(location)
    try:
        [file] = [one for one in files() if one not in before]
        cluster = file.rbd_image.client.client
        assert {name: cluster.conf_get(name) for name in PATIENCE} == {
            name: ours for name, (_, ours) in PATIENCE.items()
        }
        assert cluster.conf_get("librados_thread_count") == "1"
        assert b"".join(bytes(block) for block in reader) == pattern(9 * MIB)
    finally:
        reader.close()
    place.delete(location)
    assert on_ceph.leftovers() == []


def test_cluster_that_does_not_answer(on_ceph: Volumes) -> None:
    """Ceph itself waits for 300 seconds; for as long others of the node could not attach volumes either."""
    attacher = Place(on_ceph, on_ceph.options()).driver._attacher  # type: ignore[attr-defined]
    with silent_port() as port:
        connection = {
            "driver_volume_type": "rbd",
            "auth_username": "nobody",
            "name": "pool/volume",
            "cluster_name": "ceph",
            "hosts": ["127.0.0.1"],
            "ports": [str(port)],
            "keyring": "[client.nobody]\n\tkey = AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==\n",
        }
        began = time.monotonic()
        with pytest.raises(StoreUnreachable), explained():
            attacher._brick(connection).connect_volume(connection)
        assert time.monotonic() - began < 60
