"""Many images at a time in one process. How many threads Ceph's library may have for it: rbd_cluster.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fanlight.stores.rbd import Address
from tests.stores.ceph import Pool, administrator, asked, rbd
from tests.stores.place import STORE, Bytes, new_id, open_one, pattern

pytestmark = pytest.mark.services
MIB = 1 << 20
OPEN = """
import sys, threading, time
from tests.stores.place import STORE, open_one
store = open_one("rbd", {options!r}).get(STORE)
end = time.monotonic() + 10
def ask():
    while time.monotonic() < end:
        assert store.get_size({url!r}) == 3
threads = [threading.Thread(target=ask) for _ in range(4)]
for each in threads:
    each.start()
for each in threads:
    each.join()
print("all")
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool.made(tmp_path_factory.mktemp("rbd")) as made:
        yield made


def test_images_opened_and_closed_by_many(pool: Pool) -> None:
    """In a process of its own: with two threads in Ceph's library it hung or crashed within seconds."""
    store = open_one("rbd", pool.options()).get(STORE)
    url = store.add(new_id(), Bytes(b"one"), 3).url
    program = OPEN.format(options=pool.options(), url=url)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("all\n", 0), done.stderr
    store.delete(url)


def test_images_added_read_and_deleted_by_many(pool: Pool) -> None:
    store = open_one("rbd", pool.options()).get(STORE)

    def live(number: int) -> None:
        data = pattern(number * 700_000)
        for _ in range(6):
            url = store.add(new_id(), Bytes(data), len(data) if number % 2 else None).url
            opened = store.open(url)
            assert b"".join(bytes(block) for block in opened.blocks) == data
            opened.close()
            store.delete(url)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(live, range(8)))
    assert pool.objects() == []


@pytest.mark.parametrize("form", [1, 2])
def test_clone_of_an_image_in_a_newer_pool(pool: Pool, tmp_path: Path, form: int) -> None:
    """Its parent is in a pool that the driver has not heard of: librbd asks for it while it opens the clone."""
    caps = ["mon", "profile rbd", "osd", "profile rbd"]
    asked("auth caps", entity=f"client.{pool.user}", caps=caps)
    store = open_one("rbd", pool.options()).get(STORE)
    store.check()
    data = pattern(5 * MIB)
    with Pool.made(tmp_path) as newer, newer.opened() as there, pool.opened() as here:
        rbd.RBD().create(there, "parent", len(data), old_format=False)
        with rbd.Image(there, "parent") as parent:
            parent.write(data, 0)
            parent.create_snap("snap")
            parent.protect_snap("snap")
        administrator().conf_set("rbd_default_clone_format", str(form))
        rbd.RBD().clone(there, "parent", "snap", here, "clone", features=rbd.RBD_FEATURE_LAYERING)
        with rbd.Image(here, "clone") as clone:
            clone.create_snap("snap")
            clone.protect_snap("snap")
        url = Address("clone", pool.name, administrator().get_fsid(), "snap").url
        assert store.get_size(url) == len(data)
        opened = store.open(url)
        assert b"".join(bytes(block) for block in opened.blocks) == data
        opened.close()
        store.delete(url)
        assert pool.images() == []
        newer.unprotect("parent")
        with rbd.Image(there, "parent") as parent:
            parent.remove_snap("snap")
        rbd.RBD().remove(there, "parent")


@pytest.mark.parametrize("features", [0, 1, 61, 125])
def test_features_of_new_images(pool: Pool, features: int) -> None:
    """Layering alone, Ceph's default, and with a journal, as for a mirrored pool: each ends things in other threads."""
    options = pool.options()
    conf = Path(options["rbd_store_ceph_conf"])
    conf.write_text(conf.read_text().replace("[global]", f"[global]\nrbd_default_features = {features}", 1))
    store = open_one("rbd", options).get(STORE)
    data = pattern(9 * MIB)
    for size in (len(data), None):
        url = store.add(new_id(), Bytes(data), size).url
        with pool.opened() as place, rbd.Image(place, Address.parse(url).image, read_only=True) as image:
            assert image.features() == (features or rbd.RBD_FEATURE_LAYERING)
        opened = store.open(url)
        assert b"".join(bytes(block) for block in opened.blocks) == data
        opened.close()
        store.delete(url)
    assert pool.objects() == []
