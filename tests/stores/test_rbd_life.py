"""RBD images as Ceph's other clients see them: clones, watchers, the trash, a full pool, Glance's own driver."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import (
    ObjectExists,
    ObjectInUse,
    ObjectNotFound,
    StoreError,
    StoreFull,
    StoreUnreachable,
)
from fanlight.stores.driver import Leftovers
from fanlight.stores.rbd import Address
from tests.conftest import StartServer
from tests.stores.ceph import Pool, administrator, cloned, rbd
from tests.stores.glances import glance_store
from tests.stores.place import STORE, Bytes, new_id, open_one, pattern

pytestmark = pytest.mark.services
MIB = 1 << 20


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool.made(tmp_path_factory.mktemp("rbd")) as made:
        yield made


class Kept:
    """A store over a pool, without the portable part."""

    def __init__(self, pool: Pool, **options: Any) -> None:
        self.driver = open_one("rbd", {**pool.options(), **options}).get(STORE)

    def put(self, data: bytes, size: int | None = None, object_id: str | None = None) -> str:
        return self.driver.add(object_id or new_id(), Bytes(data), size).url

    def read(self, url: str) -> bytes:
        opened = self.driver.open(url)
        try:
            return b"".join(bytes(block) for block in opened.blocks)
        finally:
            opened.close()


def name_of(url: str) -> str:
    return Address.parse(url).image


# -- what other clients rely on


def test_image_is_what_nova_clones_from(pool: Pool) -> None:
    store = Kept(pool)
    url = store.put(pattern(20 * MIB + 1), 20 * MIB + 1)
    address = Address.parse(url)
    assert (address.fsid, address.pool, address.snapshot) == (administrator().get_fsid(), pool.name, "snap")
    with pool.opened() as place, rbd.Image(place, address.image, read_only=True) as image:
        assert image.size() == 20 * MIB + 1
        assert image.stat()["order"] == 23
        assert image.features() & rbd.RBD_FEATURE_LAYERING
        assert image.is_protected_snap("snap")
    with cloned(pool, url), pool.opened() as place, rbd.Image(place, f"{address.image}-disk") as disk:
        assert disk.read(20 * MIB - 5, 6) == pattern(20 * MIB + 1)[-6:]
    store.driver.delete(url)
    assert pool.objects() == []


def test_image_grows_and_is_trimmed(pool: Pool) -> None:
    """Past two steps of growth, in pieces that fit nowhere."""
    store = Kept(pool)
    data = pattern(61 * MIB + 12_345)
    url = store.put(data)
    assert store.driver.get_size(url) == len(data)
    assert store.read(url) == data
    with pool.opened() as place, rbd.Image(place, name_of(url), read_only=True) as image:
        assert image.size() == len(data)
    store.driver.delete(url)
    assert pool.objects() == []


@pytest.mark.parametrize("known", [True, False])
def test_zeros_take_no_room(pool: Pool, known: bool) -> None:
    store = Kept(pool, rbd_thin_provisioning=True)
    data = pattern(8 * MIB) + bytes(24 * MIB) + pattern(4 * MIB) + bytes(5 * MIB)
    url = store.put(data, len(data) if known else None)
    assert store.read(url) == data
    assert sum(key.startswith("rbd_data") for key in pool.objects()) == 2
    store.driver.delete(url)


# -- deleting


@pytest.mark.parametrize("snapshot", [True, False])
def test_image_that_somebody_has_open_stays_whole(pool: Pool, snapshot: bool) -> None:
    store = Kept(pool)
    url = store.put(b"open")
    asked = url if snapshot else f"rbd://{name_of(url)}"
    with pool.opened() as place, rbd.Image(place, name_of(url)) as image:
        with pytest.raises(ObjectInUse):
            store.driver.delete(url)
        assert image.is_protected_snap("snap")
        assert store.read(asked) == b"open"
    store.driver.delete(url)


def test_clone_that_needs_no_protection_sends_the_image_to_the_trash(pool: Pool) -> None:
    store = Kept(pool)
    url = store.put(b"parent")
    with cloned(pool, url, form=2), pool.opened() as place:
        store.driver.delete(url)
        assert name_of(url) not in pool.images()
        trashed = [each for each in rbd.RBD().trash_list(place) if each["name"] == name_of(url)]
        with rbd.Image(place, f"{name_of(url)}-disk", read_only=True) as disk:
            assert disk.read(0, 6) == b"parent"
        with pytest.raises(ObjectNotFound):
            store.driver.get_size(url)
        with pytest.raises(ObjectNotFound):
            store.driver.delete(url)
    with pool.opened() as place:
        rbd.RBD().trash_remove(place, trashed[0]["id"])
    assert pool.objects() == []


def test_image_with_an_operators_snapshot_goes_to_the_trash(pool: Pool) -> None:
    store = Kept(pool)
    url = store.put(b"twice")
    with pool.opened() as place:
        with rbd.Image(place, name_of(url)) as image:
            image.create_snap("mine")
        store.driver.delete(url)
        [trashed] = list(rbd.RBD().trash_list(place))
        rbd.RBD().trash_restore(place, trashed["id"], trashed["name"])
        with rbd.Image(place, name_of(url)) as image:
            assert image.read(0, 5) == b"twice"
            image.remove_snap("mine")
    store.driver.delete(f"rbd://{name_of(url)}")
    assert pool.objects() == []


def test_snapshot_that_is_gone_or_unprotected_is_no_hindrance(pool: Pool) -> None:
    store = Kept(pool)
    for remove in (False, True):
        url = store.put(b"x")
        pool.unprotect(name_of(url))
        if remove:
            with pool.opened() as place, rbd.Image(place, name_of(url)) as image:
                image.remove_snap("snap")
        store.driver.delete(url)
    assert pool.objects() == []


def test_snapshot_that_another_unprotects_meanwhile(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Kept(pool)
    url = store.put(b"x")
    unprotect = store.driver._unprotect  # type: ignore[attr-defined]

    def late(*arguments: str) -> None:
        pool.unprotect(name_of(url))
        unprotect(*arguments)

    monkeypatch.setattr(store.driver, "_unprotect", late)
    store.driver.delete(url)
    assert pool.objects() == []


def test_download_of_an_image_that_is_deleted_meanwhile_does_not_end_well(pool: Pool) -> None:
    """A removed image reads as zeros: not one download may end as if those were its bytes."""
    store = Kept(pool)
    url = store.put(pattern(40 * MIB))
    opened = store.driver.open(url)
    first = next(opened.blocks)
    store.driver.delete(url)
    with pytest.raises(ObjectNotFound):
        sum(len(block) for block in opened.blocks)
    opened.close()
    assert bytes(first) == pattern(40 * MIB)[: len(first)]


# -- what a killed process leaves


def test_creation_that_was_cut_short(pool: Pool) -> None:
    """Only the first of the objects of an image is there."""
    store, object_id = Kept(pool), new_id()
    with pool.opened() as place:
        place.write_full(f"rbd_id.{object_id}", b"\x0c\0\0\0abcdef012345")
    with pytest.raises(ObjectExists):
        store.put(b"x", 1, object_id)
    store.driver.discard(object_id)
    assert pool.objects() == []
    store.driver.delete(store.put(b"x", 1, object_id))


def test_writer_that_only_seemed_dead_writes_no_more(pool: Pool) -> None:
    """It is shut out of the cluster, says so, leaves nothing, and can be used again."""
    slow, other, object_id = Kept(pool), Kept(pool), new_id()
    under_way, go_on = threading.Event(), threading.Event()

    class Halting(Bytes):
        def read(self, size: int = -1, /) -> bytes:
            block = super().read(size)
            if not block and not go_on.is_set():
                under_way.set()
                assert go_on.wait(60)
                return pattern(4 * MIB)
            return block

    failures: list[StoreError] = []

    def add() -> None:
        try:
            slow.driver.add(object_id, Halting(pattern(12 * MIB)), None)
        except StoreError as error:
            failures.append(error)

    thread = threading.Thread(target=add)
    thread.start()
    assert under_way.wait(60)
    other.driver.discard(object_id)
    assert pool.objects() == []
    go_on.set()
    thread.join(60)
    # It can see to nothing any more, so whatever it may have left is owed.
    assert [(type(each), type(each.__cause__)) for each in failures] == [(Leftovers, StoreUnreachable)]
    assert pool.objects() == []
    slow.driver.delete(slow.put(b"again"))


def test_image_with_a_clone_is_never_discarded(pool: Pool) -> None:
    store = Kept(pool)
    url = store.put(b"in use")
    with cloned(pool, url):
        with pytest.raises(ObjectInUse):
            store.driver.discard(name_of(url))
        assert store.read(url) == b"in use"
    store.driver.discard(name_of(url))
    assert pool.objects() == []


# -- a full pool


FILL = """
import sys
from tests.stores.place import STORE, Bytes, open_one, pattern
store = open_one("rbd", {options!r}).get(STORE)
store._cluster.room = lambda pool: None  # as where the user may not ask for it
try:
    store.add("much", Bytes(pattern(24 << 20)), None)
except Exception as error:
    print(type(error).__name__)
else:
    print("added")
"""


@pytest.mark.slow
def test_pool_that_became_full(tmp_path: Path) -> None:
    """Ceph lets writers wait. In a process of its own, because librados may crash at the end of one that had to."""
    with Pool.made(tmp_path, quota=MIB) as small:
        with small.opened() as place:
            place.write_full("much", bytes(4 * MIB))
        small.wait_until_full()
        # Known beforehand: refused at once.
        with pytest.raises(StoreFull):
            Kept(small).put(pattern(2 * MIB), 2 * MIB)
        options = {**small.options(), "rados_connect_timeout": 3}
        done = subprocess.run(
            [sys.executable, "-c", FILL.format(options=options)], capture_output=True, text=True, timeout=100
        )
        assert done.stdout == "StoreFull\n", done.stderr
        small.limit(0)


# -- Glance's own driver


def test_glance_reads_what_we_write(pool: Pool) -> None:
    store, data = Kept(pool), pattern(9 * MIB + 5)
    url = store.put(data)
    assert glance_store("rbd", pool.options(), ["read", url]) == [hashlib.sha512(data).hexdigest()]
    store.driver.delete(url)


@pytest.mark.parametrize("known", [True, False])
def test_we_read_and_delete_what_glance_writes(pool: Pool, known: bool) -> None:
    store, data = Kept(pool), pattern(9 * MIB + 5)
    [url] = glance_store("rbd", pool.options(), ["add", new_id(), data, len(data) if known else None])
    assert store.driver.owns(url)
    assert store.driver.get_size(url) == len(data)
    assert store.read(url) == data
    store.driver.delete(url)
    assert pool.objects() == []


def test_a_snapshot_that_nova_made_in_the_pool(pool: Pool, server: StartServer) -> None:
    """The image comes to the service as a location; it is read from there, stays while it is used, and goes."""
    options = {name: value for name, value in pool.options().items() if value is not None}
    config = {
        "DEFAULT": {"enabled_backends": "blocks:rbd", "show_multiple_locations": True},
        "glance_store": {"default_backend": "blocks"},
        "blocks": options,
    }
    member = server(config=config).as_member("p")
    image = member.create()
    data = pattern(3 * MIB)
    with pool.opened() as place:
        rbd.RBD().create(place, "of-nova", len(data), old_format=False)
        with rbd.Image(place, "of-nova") as disk:
            disk.write(data, 0)
            disk.create_snap("snap")
            disk.protect_snap("snap")
    url = f"rbd://{administrator().get_fsid()}/{pool.name}/of-nova/snap"
    wrong = {"url": url.replace("of-nova", "of-nobody"), "metadata": {}}
    assert member.change(image["id"], {"op": "add", "path": "/locations/-", "value": wrong}).status_code == 400
    answer = member.change(image["id"], {"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["size"], answer.json()["stores"]) == ("active", 3 * MIB, "blocks")
    assert member.get(f"/v2/images/{image['id']}/file").content == data
    with cloned(pool, url):
        assert member.delete(f"/v2/images/{image['id']}").status_code == 409
        assert member.get(f"/v2/images/{image['id']}/file").content == data
    assert member.delete(f"/v2/images/{image['id']}").status_code == 204
    with pool.opened() as place:
        assert "of-nova" not in rbd.RBD().list(place)
