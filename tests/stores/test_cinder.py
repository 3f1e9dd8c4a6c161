"""The Cinder store on a real Cinder: volumes on Ceph, and on an NFS share (its mount command is a stand-in, see
scripts/services/cinder.sh). What the suite asks, and what only this store has."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cinderclient import client as cinder
from cinderclient import exceptions
from cinderclient.v3.attachments import VolumeAttachmentManager
from keystoneauth1 import session
from keystoneauth1.identity import v3

from fanlight.errors import (
    BadStoreConfiguration,
    ObjectDamaged,
    ObjectExists,
    ObjectHasSnapshot,
    ObjectInUse,
    SettingsError,
    StoreDenied,
    StoreError,
    StoreUnreachable,
)
from fanlight.model import Caller
from fanlight.settings.drivers import defaults
from tests.bed.databases import needed
from tests.bed.keystone import Keystone
from tests.stores.ceph import administrator, rbd
from tests.stores.conformance import Backend, Conformance, Place, closed_port, silent_port
from tests.stores.leaving import Leaving
from tests.stores.place import MIB, STORE, Bytes, new_id, pattern
from tests.stores.reading import Reading
from tests.stores.relay import Forgetful, Relay
from tests.stores.writing import Writing

# os-brick imports modules that are on their way out; oslo.privsep leaves the log of its daemon to the collector.
pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PASSWORD = "cinder"
ELSEWHERE = {"ip": "127.0.0.1", "multipath": False, "mountpoint": "/dev/vdb", "mode": "ro"}
"""What Cinder is told of a machine that is not this one."""
GIB = 1 << 30


class Volumes(Backend):
    """Volumes of one type, in the project of the account."""

    type = "cinder"
    block = 4 << 20
    memory = 96 << 20
    """librbd, as os-brick opens it, has a cache of its own. Reading took 16 to 65 MiB, of 64 MiB as of 512."""
    malformed = ("cinder://a", "cinder://", "cinder://s/t/00000000-0000-0000-0000-000000000000", "cinder:///x")

    def __init__(self, kind: str, folder: Path, stack: ExitStack, **keys: str) -> None:
        self._kind, self._folder, self._stack = kind, folder, stack
        self.keystone = needed("FANLIGHT_TEST_KEYSTONE")
        needed("FANLIGHT_TEST_CINDER")
        self.client = self._client("cinder", PASSWORD, "service")
        # A type of one's own keeps tests that run at once apart.
        self.name = f"{kind}-{uuid.uuid4().hex[:8]}"
        admin = self._client("admin", "secret", "admin")
        [like] = [one for one in admin.volume_types.list() if one.name == kind]
        made = admin.volume_types.create(self.name)
        made.set_keys({**like.get_keys(), **keys})
        stack.callback(_removed, admin, made)

    def _client(self, user: str, password: str, project: str) -> Any:
        domains: dict[str, Any] = {"user_domain_id": "default", "project_domain_id": "default"}
        auth = v3.Password(self.keystone, username=user, password=password, project_name=project, **domains)
        # Cinder's server closes a connection that idled for two seconds, now and then as it is used again.
        kept = session.Session(auth=auth)
        return cinder.Client("3.54", session=kept, service_type="block-storage", connect_retries=3)

    def options(self) -> Mapping[str, Any]:
        return {
            **defaults("cinder"),
            "cinder_catalog_info": "block-storage::publicURL",
            "cinder_store_auth_address": self.keystone,
            "cinder_store_user_name": "cinder",
            "cinder_store_password": PASSWORD,
            "cinder_store_project_name": "service",
            "cinder_volume_type": self.name,
            "cinder_mount_point_base": str(self._folder),
        }

    def leftovers(self) -> Sequence[str]:
        volumes = [one.id for one in self.client.volumes.list() if one.volume_type == self.name]
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(self._folder) in line]
        return [*volumes, *mounts]

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        if fault == "down":
            return {**self.options(), "cinder_store_auth_address": f"http://127.0.0.1:{closed_port()}/v3"}
        if fault == "slow":
            port = self._stack.enter_context(silent_port())
            return {**self.options(), "cinder_store_auth_address": f"http://127.0.0.1:{port}/v3"}
        if fault == "denied":
            return {**self.options(), "cinder_store_user_name": "viewer", "cinder_store_password": "viewer"}
        return "shared"

    def absent(self) -> str:
        return "cinder://conformance/00000000-0000-0000-0000-000000000000"

    def spellings(self, url: str) -> Sequence[str]:
        return (f"cinder://{url.rpartition('/')[2]}", url.upper().replace("CONFORMANCE", "conformance"))

    def busy(self, url: str) -> AbstractContextManager[None] | str:
        return "one use" if self._kind == "nfs" else self.attached(url)

    @contextmanager
    def attached(self, url: str, host: str = "elsewhere") -> Iterator[None]:
        """The volume, attached as by a server somewhere else."""
        made = self.client.attachments.create(url.rpartition("/")[2], connector=None, instance_id=None, mode="ro")
        self.client.attachments.update(made["id"], {**ELSEWHERE, "host": host})
        self.client.attachments.complete(made["id"])
        yield
        self.client.attachments.delete(made["id"])


def _removed(admin: Any, kind: Any) -> None:
    """Cinder keeps a type for a moment after the last volume of it has gone."""
    for _ in range(60):
        try:
            admin.volume_types.delete(kind)
        except exceptions.BadRequest:
            time.sleep(0.5)
        else:
            return


@contextmanager
def volumes(kind: str, folder: Path, **keys: str) -> Iterator[Volumes]:
    """A type of its own like the bed's `kind`; `keys`: more of what its volumes must be."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", needed("FANLIGHT_TEST_CINDER_PATH") + os.pathsep + os.environ["PATH"])
        yield Volumes(kind, folder, stack, **keys)


@pytest.fixture(scope="module")
def on_ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Volumes]:
    with volumes("ceph", tmp_path_factory.mktemp("ceph")) as made:
        yield made


@pytest.fixture(scope="module")
def on_nfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Volumes]:
    with volumes("nfs", tmp_path_factory.mktemp("nfs")) as made:
        yield made


@pytest.fixture(params=["on_ceph", "on_nfs"])
def backend(request: pytest.FixtureRequest) -> Volumes:
    found: Volumes = request.getfixturevalue(request.param)
    return found


class TestCinder(Leaving, Conformance):
    removal = "_discard"

    @pytest.fixture
    def backend(self, on_ceph: Volumes) -> Volumes:
        return on_ceph


class Mounted(Reading):
    """The part of the suite for every day: all that reads, and of the rest what the mounts matter to."""

    test_round_trip_with_normal_options = Writing.test_round_trip_with_normal_options
    test_many_writers = Writing.test_many_writers
    test_discard_after_a_killed_add = Writing.test_discard_after_a_killed_add


class TestCinderOnNfs(Conformance if os.environ.get("FANLIGHT_LARGE") else Mounted):  # type: ignore[misc]
    """Where a path is mounted and no library opened; `make stores` asks for the whole suite."""

    @pytest.fixture
    def backend(self, on_nfs: Volumes) -> Volumes:
        return on_nfs


def test_an_answer_that_is_lost(on_ceph: Volumes) -> None:
    """The volume is asked for once more, and the first one, of which we never heard, does not stay."""
    with Forgetful(needed("FANLIGHT_TEST_CINDER"), b"POST") as front:
        place = Place(on_ceph, {**on_ceph.options(), "cinder_endpoint_template": f"{front.url}/v3/%(tenant)s"})
        location = place.put(Bytes(b"asked for twice"), 15)
        assert place.read(location) == b"asked for twice"
        assert on_ceph.leftovers() == [location.url.rpartition("/")[2]]
        place.delete(location)
    assert on_ceph.leftovers() == []


def test_an_answer_that_is_lost_as_a_reader_comes(on_ceph: Volumes) -> None:
    """What it reserved belongs to nobody, and would keep the volume from all readers, and from being deleted."""
    location = Place(on_ceph, on_ceph.options()).put(Bytes(b"bytes"), 5)
    with Forgetful(needed("FANLIGHT_TEST_CINDER"), b"POST") as front:
        place = Place(on_ceph, {**on_ceph.options(), "cinder_endpoint_template": f"{front.url}/v3/%(tenant)s"})
        assert place.read(location) == b"bytes"
        place.delete(location)
    assert on_ceph.leftovers() == []


def test_a_reader_that_ends_while_cinder_is_away(on_ceph: Volumes) -> None:
    with Relay(needed("FANLIGHT_TEST_CINDER")) as front:
        options = {"cinder_endpoint_template": f"{front.url}/v3/%(tenant)s", "cinder_http_retries": 0}
        place = Place(on_ceph, {**on_ceph.options(), **options})
        location = place.put(Bytes(b"bytes"), 5)
        reader = place.stores.open(location)
        front.cut()
        assert b"".join(map(bytes, reader)) == b"bytes"
        reader.close()
        # Nor is any forgotten where Cinder is asked meanwhile. It knows nothing of the first of these two.
        driver: Any = place.driver
        [owed] = driver._attacher._owed.values()
        owed.insert(0, str(uuid.uuid4()))
        with pytest.raises(StoreUnreachable):
            place.delete(location)
        front.mend()
        assert place.read(location) == b"bytes"
        place.delete(location)
    assert on_ceph.leftovers() == []


def test_reading_and_deleting_what_is_attached_once(backend: Volumes) -> None:
    """A volume on NFS has one attachment at a time: a reader elsewhere waits, then is told; nothing is deleted."""
    place = Place(backend, {**backend.options(), "cinder_attachment_retry_attempts": 1})
    location = place.put(Bytes(b"in use"), 6)
    with backend.attached(location.url):
        with pytest.raises(ObjectInUse):
            place.delete(location)
        if backend.name.startswith("nfs"):
            with pytest.raises(StoreUnreachable):
                place.read(location)
    readers = [place.stores.open(location) for _ in range(3)]
    assert [b"".join(reader) for reader in readers] == [b"in use"] * 3
    for reader in readers:
        reader.close()
    place.delete(location)
    assert place.leftovers() == []


def test_volumes_of_the_caller(backend: Volumes, keystone: Keystone) -> None:
    """Without an account, the volume is made with the caller's token, at the endpoint of the caller's catalogue."""
    catalogue = [{"type": "block-storage", "endpoints": [{"publicURL": needed("FANLIGHT_TEST_CINDER")}]}]
    caller = Caller(
        project_id="x", token=keystone.token("cinder"), service_catalog=msgspec.json.encode(catalogue).decode()
    )
    place = Place(backend, {**backend.options(), "cinder_store_auth_address": None})
    place.context = caller
    location = place.put(Bytes(b"mine"), 4)
    assert backend.client.volumes.get(location.url.rpartition("/")[2]).metadata["image_owner"] == "x"
    assert place.read(location) == b"mine"
    place.delete(location)
    with pytest.raises(StoreDenied):
        place.stores.open(location)


def test_a_volume_as_glance_leaves_it(backend: Volumes) -> None:
    """Name, metadata and the read-only flag; a volume that says no size is read whole."""
    place = Place(backend, backend.options())
    data = pattern(5_000_000)
    location = place.put(Bytes(data), None)
    volume = backend.client.volumes.get(location.url.rpartition("/")[2])
    assert volume.name == f"image-{volume.metadata['glance_image_id']}"
    assert volume.metadata["image_size"] == "5000000"
    assert volume.metadata["readonly"] == "True"
    assert volume.size == 1
    backend.client.volumes.delete_metadata(volume.id, ["image_size"])
    assert place.stores.size(location) == GIB
    place.clear()


@pytest.mark.parametrize("name", ["tenant", "project_id"])
def test_endpoint_of_the_options(on_nfs: Volumes, name: str) -> None:
    """Glance's name for the project, and Keystone's; with an account, the project is the account's."""
    endpoint = needed("FANLIGHT_TEST_CINDER") + f"/%({name})s"
    place = Place(on_nfs, {**on_nfs.options(), "cinder_endpoint_template": endpoint})
    location = place.put(Bytes(b"there"), 5)
    assert place.read(location) == b"there"
    place.clear()


@pytest.mark.parametrize("template", ["http://cinder/%(nothing)s", "http://cinder/%s%s", "http://cinder/%(tenant)"])
def test_endpoint_that_cannot_be(on_nfs: Volumes, template: str) -> None:
    with pytest.raises(SettingsError, match="cinder_endpoint_template"):
        Place(on_nfs, {**on_nfs.options(), "cinder_endpoint_template": template})


def test_type_that_cinder_has_not(on_nfs: Volumes) -> None:
    """It is the store's configuration that is wrong, and no object that is missing."""
    place = Place(on_nfs, {**on_nfs.options(), "cinder_volume_type": "nobody-made-it"})
    with pytest.raises(BadStoreConfiguration, match="nobody-made-it"):
        place.put(Bytes(b"x"), 1)


@pytest.mark.parametrize("by", ["name", "id"])
def test_two_stores_of_one_account(on_ceph: Volumes, on_nfs: Volumes, by: str) -> None:
    """One image may be in both, in volumes of the same name: neither store takes the other's for its own."""
    [kind] = [one for one in on_nfs.client.volume_types.list() if one.name == on_nfs.name]
    first = Place(on_ceph, on_ceph.options())
    second = Place(on_nfs, {**on_nfs.options(), "cinder_volume_type": getattr(kind, by)})
    object_id = new_id()
    locations = [place.put(Bytes(b"the same"), 8, object_id) for place in (first, second)]
    with pytest.raises(ObjectExists):
        second.put(Bytes(b"again"), 5, object_id)
    second.stores.discard_partial(STORE, object_id)
    assert second.leftovers() == []
    assert first.read(locations[0]) == b"the same"
    first.clear()


# -- volumes on a share that are not their bytes


def test_snapshot_makes_a_volume_on_nfs_unreadable(on_nfs: Volumes) -> None:
    """Cinder puts a qcow2 file over the volume's own: its bytes are no image's. Without the snapshot all is well."""
    place = Place(on_nfs, on_nfs.options())
    data = pattern(5_000_000)
    location = place.put(Bytes(data), len(data))
    volume = location.url.rpartition("/")[2]
    snapshot = on_nfs.client.volume_snapshots.create(volume, name="mine")
    settled(lambda: on_nfs.client.volume_snapshots.get(snapshot.id).status == "available")
    with pytest.raises(ObjectDamaged, match="qcow2"):
        place.read(location)
    with pytest.raises(ObjectHasSnapshot):
        place.delete(location)
    on_nfs.client.volume_snapshots.delete(snapshot.id)
    settled(lambda: not on_nfs.client.volume_snapshots.list(search_opts={"volume_id": volume}))
    assert place.read(location) == data
    place.clear()
    assert place.leftovers() == []


@pytest.mark.parametrize("told", [{"format": "qcow2"}, {"encrypted": True}], ids=str)
def test_nothing_is_written_to_such_a_volume(
    on_nfs: Volumes, monkeypatch: pytest.MonkeyPatch, told: dict[str, object]
) -> None:
    """As where Cinder makes all its volumes so (`nfs_qcow2_volumes`, an encrypted type)."""
    update = VolumeAttachmentManager.update

    def updated(*words: Any) -> Any:
        answer = update(*words)
        answer.connection_info.update(told)
        return answer

    monkeypatch.setattr(VolumeAttachmentManager, "update", updated)
    place = Place(on_nfs, on_nfs.options())
    with pytest.raises(BadStoreConfiguration, match=r"qcow2|Encrypted"):
        place.put(Bytes(b"bytes"), 5)
    assert place.leftovers() == []


def settled(done: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not done():
        assert time.monotonic() < limit
        time.sleep(0.2)


def test_errors_of_librbd_leave_as_ours(on_ceph: Volumes) -> None:
    """Somebody makes the volume smaller while it is written."""

    class Shrinking(Bytes):
        reads = 0

        def read(self, size: int = -1, /) -> bytes:
            self.reads += 1
            if self.reads == 2:
                [volume] = on_ceph.leftovers()
                with administrator().open_ioctx("volumes") as pool, rbd.Image(pool, f"volume-{volume}") as image:
                    image.resize(MIB)
            return super().read(size)

    place = Place(on_ceph, on_ceph.options())
    with pytest.raises(StoreError, match="Ceph failed"):
        place.put(Shrinking(pattern(12 * MIB)), 12 * MIB)
    assert place.leftovers() == []


@pytest.mark.slow
def test_a_volume_that_grows(backend: Volumes) -> None:
    """More than fits into the first GiB, of unknown size: it is extended and attached again."""
    place = Place(backend, backend.options())
    location = place.put(Zeros(GIB + 5_000_000), None)
    assert backend.client.volumes.get(location.url.rpartition("/")[2]).size == 2
    assert place.stores.size(location) == GIB + 5_000_000
    assert place.read(location, GIB - 3, 9) == bytes(9)
    place.clear()


class Zeros:
    """A source of that many zeros."""

    def __init__(self, size: int) -> None:
        self._rest = size

    def read(self, size: int = -1, /) -> bytes:
        block = bytes(min(self._rest, size if size >= 0 else self._rest))
        self._rest -= len(block)
        return block
