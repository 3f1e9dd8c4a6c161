"""The Cinder store with block devices: a real Cinder, and a stand-in of the connector (iscsi.py says why and how)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from os_brick.exception import BrickException

from fanlight.errors import SizeMismatch, StoreError, StoreFull, StoreTimeout, StoreUnreachable
from fanlight.stores import cinder_devices, cinder_volumes
from fanlight.stores.cinder import Address, Cinder
from tests.stores import disks
from tests.stores.child import ROOT
from tests.stores.iscsi import Iscsi, losetup
from tests.stores.place import MIB, Bytes, Place, new_id, pattern
from tests.stores.test_cinder import GIB, Volumes, volumes

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
NOBODY = 65534
MAY_READ = "+dac_read_search"
AS_NOBODY = (
    f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps={MAY_READ} --ambient-caps={MAY_READ} --"
)
"""May read everything, since Python may lie in a closed home, but can write only to what is nobody's."""


@pytest.fixture(scope="module")
def on_nfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Volumes]:
    with volumes("nfs", tmp_path_factory.mktemp("nfs")) as made:
        yield made


@pytest.fixture(scope="module")
def multiattach(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Volumes]:
    """Volumes that may be attached more than once at a time."""
    with volumes("ceph", tmp_path_factory.mktemp("ceph"), multiattach="<is> True") as made:
        yield made


@pytest.fixture
def iscsi(tmp_path: Path) -> Iterator[Iscsi]:
    made = Iscsi(tmp_path)
    with made.installed():
        yield made
        assert made.devices() == []


def test_bytes_go_to_the_device_and_come_back(on_nfs: Volumes, iscsi: Iscsi) -> None:
    place = Place(on_nfs, on_nfs.options())
    data = pattern(9 * MIB + 7)
    for size in (len(data), None):
        location = place.put(Bytes(data), size)
        assert iscsi.file(Address.parse(location.url).volume).read_bytes()[: len(data)] == data
        assert place.read(location) == data
        assert place.read(location, 4 * MIB - 1, 3) == data[4 * MIB - 1 : 4 * MIB + 2]
    place.clear()
    assert iscsi.events == ["connect", "disconnect"] * 6
    assert all(iscsi.forced)
    assert place.leftovers() == []


@pytest.mark.parametrize(("use", "enforce"), [(True, True), (True, False), (False, False)])
def test_multipath(on_nfs: Volumes, iscsi: Iscsi, monkeypatch: pytest.MonkeyPatch, use: bool, enforce: bool) -> None:
    """Both options reach os-brick when it describes the machine, Cinder with that, and the connector."""
    monkeypatch.setattr("os_brick.initiator.connector.get_connector_properties", _properties)
    options = {**on_nfs.options(), "cinder_use_multipath": use, "cinder_enforce_multipath": enforce}
    place = Place(on_nfs, options)
    place.delete(place.put(Bytes(b"x"), 1))
    [told] = iscsi.told
    assert (told["multipath"], told["enforce_multipath"], told["mode"]) == (use, enforce, "rw")
    assert told["mountpoint"] == "glance_store"
    assert [made["use_multipath"] for made in iscsi.factory] == [use]


def _properties(_helper: str, ip: str, multipath: bool, enforce: bool, host: str) -> dict[str, Any]:
    """What os-brick says where multipathd runs."""
    return {"ip": ip, "host": host, "multipath": multipath, "enforce_multipath": enforce, "initiator": "iqn.x"}


# -- failures: whatever fails, the device is given back, the volume detached and deleted


def failing(place: Place, error: type[Exception], data: bytes = b"bytes", size: int | None = None) -> None:
    with pytest.raises(error):
        place.put(Bytes(data), len(data) if size is None else size)
    assert place.leftovers() == []


def test_source_that_ends_early(on_nfs: Volumes, iscsi: Iscsi) -> None:
    failing(Place(on_nfs, on_nfs.options()), SizeMismatch, b"short", 6)
    assert iscsi.events == ["connect", "disconnect"]


def test_device_that_does_not_come(on_nfs: Volumes, iscsi: Iscsi) -> None:
    def refuse(device: str) -> None:
        losetup("-d", device)
        raise BrickException

    iscsi.connecting = refuse
    failing(Place(on_nfs, on_nfs.options()), StoreUnreachable)


def test_device_that_cannot_be_opened(on_nfs: Volumes, iscsi: Iscsi) -> None:
    iscsi.given = "/dev/fanlight-has-no-such-device"
    failing(Place(on_nfs, on_nfs.options()), StoreError)
    assert iscsi.events == ["connect", "disconnect"]


def test_device_that_shows_its_size_late(on_nfs: Volumes, iscsi: Iscsi, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has grown is not written to before it has its new end; one that never has it is given back."""
    growing: list[threading.Timer] = []

    def shrink(device: str) -> None:
        os.truncate(losetup("-l", "-n", "-O", "BACK-FILE", device), GIB - MIB)
        losetup("-c", device)

    def grow(device: str) -> None:
        os.truncate(losetup("-l", "-n", "-O", "BACK-FILE", device), GIB)
        losetup("-c", device)

    def shrink_and_grow(device: str) -> None:
        shrink(device)
        growing.append(threading.Timer(0.5, grow, [device]))
        growing[0].start()

    place = Place(on_nfs, on_nfs.options())
    iscsi.connecting = shrink_and_grow
    location = place.put(Bytes(b"bytes"), None)
    growing[0].join()
    iscsi.connecting = lambda _: None
    assert place.read(location) == b"bytes"
    place.clear()
    monkeypatch.setattr(cinder_devices, "GROWN_SECONDS", 0.5)
    iscsi.connecting = shrink
    failing(place, StoreTimeout)


def test_device_that_loses_what_was_written(on_nfs: Volumes, iscsi: Iscsi, tmp_path: Path) -> None:
    """The kernel takes the bytes, and tells only at the end that there is no room for them on the disk below."""
    small = tmp_path / "small"
    with disks.small(small, 16 * MIB):
        iscsi.folder = small
        place = Place(on_nfs, on_nfs.options())
        iscsi.file = lambda volume: small / f"volume-{volume}"  # type: ignore[method-assign]
        failing(place, StoreError, pattern(32 * MIB))
        for file in small.iterdir():
            file.unlink()


def test_file_that_takes_only_a_part(on_nfs: Volumes, iscsi: Iscsi, tmp_path: Path) -> None:
    """A full disk takes what still fits and calls it a success: the rest of the last block must not be lost."""
    small = tmp_path / "small"
    with disks.small(small, 5 * MIB):
        (small / "file").touch()
        iscsi.given = str(small / "file")
        failing(Place(on_nfs, on_nfs.options()), StoreFull, pattern(6 * MIB))


# -- sharing


def attachments(backend: Volumes, url: str) -> list[Any]:
    found: list[Any] = backend.client.attachments.list(search_opts={"volume_id": Address.parse(url).volume})
    return found


def test_readers_of_one_process_share(on_nfs: Volumes, iscsi: Iscsi) -> None:
    """A volume that can be attached once: one attachment for all, and the device stays until the last has done."""
    place = Place(on_nfs, on_nfs.options())
    data = pattern(9 * MIB)
    location = place.put(Bytes(data), len(data))
    readers = [place.stores.open(location) for _ in range(3)]
    assert len(attachments(on_nfs, location.url)) == 1
    readers.pop().close()
    assert [b"".join(reader) == data for reader in readers] == [True, True]
    assert iscsi.events[2:] == ["connect"] * 3
    for reader in readers:
        reader.close()
    assert iscsi.events[5:] == ["disconnect"]
    place.clear()


@pytest.mark.parametrize("here", [True, False])
def test_device_that_others_use(multiattach: Volumes, iscsi: Iscsi, here: bool) -> None:
    """It is disconnected from this machine when nobody else here has it, wherever else it is used."""
    place = Place(multiattach, multiattach.options())
    location = place.put(Bytes(b"shared"), 6)
    with multiattach.attached(location.url, socket.gethostname() if here else "elsewhere"):
        assert place.read(location) == b"shared"
    assert iscsi.events == ["connect", "disconnect", "connect"] + ["disconnect"] * (not here)
    for device in iscsi.devices():
        losetup("-d", device)
    place.clear()


def test_device_is_taken_away_though_nobody_can_say_who_uses_it(
    multiattach: Volumes, iscsi: Iscsi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller's token may have expired in a long download."""
    place = Place(multiattach, multiattach.options())
    location = place.put(Bytes(b"x"), 1)
    reader = place.stores.open(location)
    monkeypatch.setattr(cinder_volumes, "explained", _expired)
    reader.close()
    monkeypatch.undo()
    assert iscsi.events == ["connect", "disconnect"] * 2
    for one in attachments(multiattach, location.url):
        multiattach.client.attachments.delete(one.id)
    place.clear()


@contextmanager
def _expired(**_more: bool) -> Iterator[None]:
    yield
    raise StoreUnreachable


def test_nobody_comes_while_a_device_is_taken_away(
    multiattach: Volumes, iscsi: Iscsi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process looks who else has the device, and another connects it before it is disconnected: it must wait."""
    first, second = (Place(multiattach, multiattach.options()) for _ in range(2))
    location = first.put(Bytes(b"shared"), 6)
    reader = first.stores.open(location)
    iscsi.events.clear()
    looking = threading.Event()

    def look(use: Any) -> bool:
        looking.set()
        time.sleep(2)
        return False

    monkeypatch.setattr(cinder_volumes, "_used_elsewhere", look)
    leaving = threading.Thread(target=reader.close)
    leaving.start()
    assert looking.wait(20)
    assert second.read(location) == b"shared"
    leaving.join()
    assert iscsi.events == ["disconnect", "connect", "disconnect"]
    first.clear()


def test_devices_of_a_dead_process_are_taken_away(multiattach: Volumes, iscsi: Iscsi) -> None:
    """One that was killed in an upload left the device connected: the next volume with its number would show there."""
    place = Place(multiattach, multiattach.options())
    object_id = new_id()
    dead: Any = place.stores.get("conformance")
    assert isinstance(dead, Cinder)
    client = multiattach.client
    volume = client.volumes.create(1, name=f"image-{object_id}", volume_type=multiattach.name)
    while client.volumes.get(volume.id).status != "available":
        time.sleep(0.2)
    attached = dead._attacher.attached(dead._account.client(None), volume.id, "rw", GIB)
    attached.__enter__().close()
    assert len(iscsi.devices()) == 1
    Place(multiattach, multiattach.options()).stores.discard_partial("conformance", object_id)
    assert iscsi.devices() == []
    assert place.leftovers() == []


# -- a service that is not root


def run_as_nobody(backend: Volumes, rule: str) -> list[str]:
    """What the program not_root.py says, where sudo makes everything root that the line `rule` lets through."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    sudo, setpriv = folder / "sudo", folder / "setpriv"
    shutil.copy("/usr/bin/setpriv", setpriv)
    setpriv.chmod(0o4755)
    sudo.write_text(f'#!/bin/sh\n{rule}\nexec {setpriv} --reuid=0 --regid=0 --clear-groups "$@"\n')
    sudo.chmod(0o755)
    options = {**backend.options(), "cinder_mount_point_base": str(folder / "mnt")}
    try:
        done = subprocess.run(
            [*AS_NOBODY.split(), sys.executable, "-W", "ignore", "-m", "tests.stores.not_root"],
            cwd=ROOT,
            env={**os.environ, "PATH": f"{folder}:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(folder)},
            input=json.dumps([options, str(folder)]),
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr
    assert backend.leftovers() == []
    return done.stdout.splitlines()


def test_device_is_made_ours_and_given_back(on_nfs: Volumes) -> None:
    """As nobody, with sudo: a device that it may not open is the service's while it is used, and root's again after."""
    owners, digest, devices = run_as_nobody(on_nfs, ":")
    assert owners == f"{NOBODY} {NOBODY} 0"
    assert digest == sha256(pattern(5_000_000)).hexdigest()
    assert [os.stat(device).st_uid for device in json.loads(devices)] == [0, 0, 0]


def test_nobody_without_a_rule_for_the_helper(on_nfs: Volumes) -> None:
    """It is the store's configuration that lacks something, and the answer says what; nothing stays."""
    [line] = run_as_nobody(on_nfs, 'case "$*" in *privsep-helper*) exit 1 ;; esac')
    assert line.startswith("BadStoreConfiguration privsep-helper")
