"""What only the filesystem store has: folders, modes, holes, mounts, and disks that are full, hung or closed."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import (
    BadStoreConfiguration,
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreForbidden,
    StoreFull,
    StoreReadOnly,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.settings import StoreSettings, StoresSettings
from fanlight.stores import Stores, create_stores, get_from_backend, held, store_add_to_backend
from fanlight.stores.filesystem import Filesystem
from fanlight.stores.patience import Patience
from tests.stores import disks
from tests.stores.place import Bytes, Failing, new_id, pattern

MIB = 1 << 20
Act = Callable[[Filesystem, str], object]


def made(**options: Any) -> Filesystem:
    store = Filesystem("s", {f"filesystem_{name}": value for name, value in options.items()})
    store.configure()
    store.configure_add()
    return store


def path_of(url: str) -> Path:
    return Path(url.removeprefix("file://"))


def stores_over(folder: Path) -> Stores:
    """Beside a default store of another kind, so that this one may fail."""
    one = StoreSettings(id="s", type="file", options={"filesystem_store_datadir": str(folder)})
    stores = (StoreSettings(id="m", type="memory"), one)
    return create_stores(StoresSettings(stores=stores, default="m"))


# -- folders


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    made(store_datadir=str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()


def test_the_highest_priority_with_room_and_there_the_most_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["low", "high-small", "high-large", "top"]
    folders = {name: tmp_path / name for name in names}
    store = made(
        store_datadirs=[f"{folders[name]}:{number}" for name, number in zip(names, (-1, 5, 5, 9), strict=True)]
    )
    room = {"low": 100, "high-small": 40, "high-large": 60, "top": 10}
    # Disks of 100 bytes are rare.
    monkeypatch.setattr(store, "_free", lambda folder: room[Path(folder).name])
    for size, folder in ((5, "top"), (10, "top"), (11, "high-large"), (60, "high-large"), (61, "low"), (None, "top")):
        url = store.add(new_id(), Bytes(b"x" * (size or 1)), size).url
        assert path_of(url).parent == folders[folder], size
    with pytest.raises(StoreFull):
        store.add("a", Bytes(b"x" * 101), 101)


def test_an_object_in_any_folder_takes_the_name(tmp_path: Path) -> None:
    store = made(store_datadirs=[f"{tmp_path}/a", f"{tmp_path}/b:1"])
    (tmp_path / "a" / "x").write_bytes(b"old")
    with pytest.raises(StoreError, match="already has data"):
        store.add("x", Bytes(b"new"), 3)
    (tmp_path / "a" / ".x.0123456789abcdef0123456789abcdef.part").touch()
    (tmp_path / "b" / ".x.y.0123456789abcdef0123456789abcdef.part").touch()
    store.discard("x")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [
        ".x.y.0123456789abcdef0123456789abcdef.part"
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"store_datadirs": ["/a:1", "/a/:2"]}, "two priorities"),
        ({"store_datadirs": ["/a:x"]}, "path or path:priority"),
        ({"store_datadirs": ["/a:--5"]}, "path or path:priority"),
        ({"store_datadirs": ["/a:²"]}, "path or path:priority"),
        ({"store_datadirs": [":1"]}, "path or path:priority"),
        ({"store_datadirs": [""]}, "path or path:priority"),
        ({}, "not set"),
        ({"store_datadir": "/a", "store_file_perm": 689}, "no octal digits"),
        ({"store_datadir": "/a", "store_file_perm": 37}, "let the owner read"),
        ({"store_datadir": "/a", "store_metadata_file": "/nothing"}, "/nothing cannot be used"),
        ({"store_datadir": "/proc/nothing/a"}, "cannot be made"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadStoreConfiguration, match=told):
        made(**options)


def test_a_priority_that_is_left_out(tmp_path: Path) -> None:
    """As Glance reads it, with the colon and without."""
    store = made(store_datadirs=[f"{tmp_path}/a:", f"{tmp_path}/b", f"{tmp_path}/c: -1"])
    assert store._directories == {f"{tmp_path}/a": 0, f"{tmp_path}/b": 0, f"{tmp_path}/c": -1}


def test_a_folder_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made(store_datadirs=[f"{tmp_path}:1", f"{tmp_path}/:1"])
    assert "is there twice" in caplog.text


# -- modes, holes, mounts


@pytest.mark.parametrize(("digits", "mode", "folder"), [(640, 0o640, 0o010), (644, 0o644, 0o011), (600, 0o600, 0)])
def test_modes(tmp_path: Path, digits: int, mode: int, folder: int) -> None:
    images = tmp_path / "images"
    images.mkdir(mode=0o700)
    url = made(store_datadir=str(images), store_file_perm=digits).add("a", Bytes(b"x"), 1).url
    assert stat.S_IMODE(path_of(url).stat().st_mode) == mode
    assert stat.S_IMODE(images.stat().st_mode) == 0o700 | folder


def test_without_a_mode_the_umask_decides(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        url = made(store_datadir=str(tmp_path)).add("a", Bytes(b"x"), 1).url
    finally:
        os.umask(before)
    assert stat.S_IMODE(path_of(url).stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "data",
    [
        bytes(9 * MIB),
        b"x" * MIB + bytes(7 * MIB + 3) + b"y" + bytes(64 * 1024),
        pattern(MIB) + bytes(3 * MIB),
        bytes(100),
        b"",
        bytes(64 * 1024 - 1) + b"x" + bytes(5),
    ],
)
def test_holes(tmp_path: Path, data: bytes) -> None:
    store = made(store_datadir=str(tmp_path), store_thin_provisioning=False, thin_provisioning=True)
    added = store.add("a", Bytes(data), len(data))
    path = path_of(added.url)
    assert added.size == len(data)
    assert path.read_bytes() == data
    zeros = sum(
        not any(data[at : at + 65536]) and len(data[at : at + 65536]) == 65536 for at in range(0, len(data), 65536)
    )
    assert path.stat().st_blocks * 512 <= max(0, len(data) - zeros * 65536) + 2 * 65536


@pytest.mark.parametrize("several", [False, True])
def test_holes_need_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool) -> None:
    """A single folder takes data larger than its room; of several, one with room is looked for, as in Glance."""
    where: dict[str, Any] = {"store_datadirs": [f"{tmp_path}/a", f"{tmp_path}/b"]} if several else {}
    store = made(thin_provisioning=True, store_datadir=str(tmp_path / "a"), **where)
    monkeypatch.setattr(store, "_free", lambda folder: 100_000)
    if several:
        with pytest.raises(StoreFull):
            store.add("x", Bytes(bytes(MIB)), MIB)
    else:
        assert store.get_size(store.add("x", Bytes(bytes(MIB)), MIB).url) == MIB


def test_metadata_of_mounts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "metadata.json"
    entry = {"id": "nfs", "mountpoint": str(tmp_path / "img"), "share_location": "nfs://a/b"}
    file.write_text(json.dumps([{"id": "other", "mountpoint": "/other"}, entry]))
    store = made(store_datadirs=[f"{tmp_path}/img:1", f"{tmp_path}/img2"], store_metadata_file=str(file))
    first = store.add("a", Bytes(b"x"), 1).metadata
    assert first == entry
    dict(first)["store"] = "s"
    assert store.add("b", Bytes(b"x"), 1).metadata == entry
    # The mount /img is not the mount of /img2.
    store = made(store_datadir=str(tmp_path / "img2"), store_metadata_file=str(file))
    assert store.add("c", Bytes(b"x"), 1).metadata == {}
    assert "no mountpoint" in caplog.text


@pytest.mark.parametrize("text", ["", "{", "3", "[3]", "{}", '{"id": "a"}', '{"id": 1, "mountpoint": "/"}', '["a"]'])
def test_metadata_that_cannot_be(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(BadStoreConfiguration, match="metadata_file"):
        made(store_datadir=str(tmp_path), store_metadata_file=str(tmp_path / "m.json"))


@pytest.mark.parametrize("wrong", [{"store_metadata_file": "/nothing"}, {"store_file_perm": 37}])
def test_options_that_leave_it_readable(tmp_path: Path, wrong: dict[str, Any]) -> None:
    url = made(store_datadir=str(tmp_path)).add("a", Bytes(b"x"), 1).url
    store = Filesystem(
        "s", {f"filesystem_{name}": value for name, value in {"store_datadir": str(tmp_path), **wrong}.items()}
    )
    store.configure()
    with pytest.raises(BadStoreConfiguration):
        store.configure_add()
    assert store.get_size(url) == 1
    store.delete(url)


# -- files that are not ours


@pytest.mark.parametrize("below", ["../outside", "..%2foutside", "link", "folder/../../outside", "%2e%2e/outside"])
def test_nothing_outside_is_read_or_deleted(tmp_path: Path, below: str) -> None:
    store = made(store_datadir=str(tmp_path / "img"))
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "img" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "img2").mkdir()
    for url in (
        f"file://{tmp_path}/img/{below}",
        f"file://{tmp_path}/img2/x",
        "file:///etc/passwd",
        f"file://{tmp_path}/img",
    ):
        for act in (store.open, store.get_size, store.delete):
            with pytest.raises((StoreForbidden, ObjectNotFound)):
                act(url)
        assert not store.owns(url) or "%" in url
    assert (tmp_path / "outside").read_bytes() == b"secret"


def test_folders_of_old_rows(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "a b%41").write_bytes(b"from Glance")  # its URLs are not quoted
    store = made(store_datadir=str(tmp_path / "img"), store_also_read=[str(old)])
    url = f"file://{old}/a b%41"
    assert store.owns(url)
    opened = store.open(url)
    assert b"".join(map(bytes, opened.blocks)) == b"from Glance"
    opened.close()
    assert path_of(store.add("x", Bytes(b"x"), 1).url).parent == tmp_path / "img"
    store.delete(url)
    assert list(old.iterdir()) == []


def test_folders_and_pipes_are_no_images(tmp_path: Path) -> None:
    store = made(store_datadir=str(tmp_path))
    (tmp_path / "folder").mkdir()
    for name in ("folder",):
        url = f"file://{tmp_path}/{name}"
        with pytest.raises(ObjectNotFound):
            store.get_size(url)
        with pytest.raises(ObjectNotFound):
            store.open(url)
        with pytest.raises(StoreForbidden):
            store.delete(url)


# -- disks, which must be mounted: whoever may not sees these tests fail


@pytest.mark.services
def test_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with disks.ext4(folder, 64 * MIB):
        store = made(store_datadir=str(folder / "images"))
        read = []

        class Watched(Bytes):
            def read(self, size: int = -1, /) -> bytes:
                read.append(size)
                return super().read(size)

        with pytest.raises(StoreFull):
            store.add("a", Watched(pattern(80 * MIB)), 80 * MIB)
        assert read == []  # it was known before
        with pytest.raises(StoreFull):
            store.add("a", Bytes(pattern(80 * MIB)), None)
        assert list((folder / "images").iterdir()) == []
        url = store.add("a", Bytes(pattern(30 * MIB)), None).url
        assert path_of(url).read_bytes() == pattern(30 * MIB)
        with pytest.raises(StoreFull):
            store.add("b", Bytes(pattern(40 * MIB)), None)
        store.delete(url)
        store.add("b", Bytes(pattern(40 * MIB)), None)


@pytest.mark.services
def test_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with disks.ext4(folder, 64 * MIB):
        store = made(store_datadir=str(folder / "images"))
        url = store.add("a", Bytes(b"x"), 1).url
        disks.remount(folder, "ro")
        with pytest.raises(StoreDenied):
            store.add("b", Bytes(b"x"), 1)
        with pytest.raises(StoreForbidden):
            store.delete(url)
        assert store.get_size(url) == 1
        disks.remount(folder, "rw")
        store.add("b", Bytes(b"x"), 1)


def test_a_folder_that_cannot_be_written_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read-only, and not for ever."""
    monkeypatch.setattr(held, "PAUSE", 0.0)
    images = tmp_path / "place" / "images"
    images.parent.write_text("in the way")
    stores = stores_over(images)
    with pytest.raises(StoreReadOnly):
        store_add_to_backend(stores, "a", Bytes(b"x"), 1, backend="s")
    with pytest.raises(ObjectNotFound):
        get_from_backend(stores, f"file://{images}/a", backend="s")
    images.parent.unlink()
    store_add_to_backend(stores, "a", Bytes(b"x"), 1, backend="s")


def test_names_are_given_to_whole_files_only(tmp_path: Path) -> None:
    store = made(store_datadir=str(tmp_path))
    seen: list[list[str]] = []

    class Looking(Bytes):
        def read(self, size: int = -1, /) -> bytes:
            seen.append([path.name for path in tmp_path.iterdir()])
            return super().read(size)

    store.add("a", Looking(pattern(9 * MIB)), None)
    assert all(len(names) == 1 and names[0].startswith(".a.") for names in seen)
    with pytest.raises(ZeroDivisionError):
        store.add("b", Failing(b"x", ZeroDivisionError()), None)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# -- disks that hang


@pytest.fixture
def hung() -> Iterator[threading.Event]:
    """Set, those who hang go on."""
    event = threading.Event()
    yield event
    event.set()


def test_calls_that_hang(hung: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience("s", 0.5, 2, 50)
    assert patience.limit(int)("7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        patience.limit(int)("x")
    for _ in range(2):
        with pytest.raises(StoreTimeout, match=r"did not answer within 0\.5 seconds"):
            patience.limit(hung.wait)()
    assert "2 of 2 threads are busy" in caplog.text
    with pytest.raises(StoreTimeout, match="All 2 threads"):
        patience.limit(int)("7")
    hung.set()
    assert Patience("s", 10, 2, 50).limit(int)("8") == 8


def test_threads_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a limit of processes, say. Those calls do not count as running for ever."""
    patience = Patience("s", 0.2, 2, 100)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            with pytest.raises(StoreUnreachable, match="thread"):
                patience.limit(int)("7")
    assert patience.limit(int)("7") == 7


def test_calls_have_time_for_ever_by_default(hung: threading.Event) -> None:
    threading.Timer(0.1, hung.set).start()
    assert Patience("s", 0, 1, 0).limit(hung.wait)()


READING: tuple[Act, ...] = (lambda store, url: store.get_size(url), lambda store, url: store.open(url))
DELETING: tuple[Act, ...] = (lambda store, url: store.delete(url),)
ADDING: tuple[Act, ...] = (lambda store, url: store.add("b", Bytes(b"x"), 1),)
HANGING: dict[str, tuple[Act, ...]] = {
    # A path is followed link by link before anything else is asked.
    "lstat": READING + DELETING + ADDING,
    "stat": READING[:1],
    "open": READING[1:],
    "unlink": DELETING,
    "listdir": (lambda store, url: store.discard("b"),),
    "statvfs": (*ADDING, lambda store, url: store.check()),
}


@pytest.mark.parametrize(("call", "acts"), HANGING.items(), ids=HANGING)
def test_a_hung_file_system(
    tmp_path: Path, hung: threading.Event, monkeypatch: pytest.MonkeyPatch, call: str, acts: tuple[Act, ...]
) -> None:
    """One that really hangs needs a network: so its system calls wait here for an event instead."""
    hanging = threading.Event()

    def gated(real: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            if hanging.is_set():
                hung.wait(5)
            return real(*args, **more)  # what it gives is used: a made-up descriptor would be closed

        return call

    monkeypatch.setattr(f"fanlight.stores.filesystem.os.{call}", gated(getattr(os, call)))
    store = made(store_datadir=str(tmp_path), store_timeout=0.5)
    url = store.add("a", Bytes(b"x"), 1).url
    hanging.set()
    try:
        for act in acts:
            with pytest.raises(StoreTimeout):
                act(store, url)
    finally:
        hanging.clear()
    assert path_of(url).exists()


def test_a_file_that_is_opened_too_late_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = made(store_datadir=str(tmp_path), store_timeout=0.2)
    url = store.add("a", Bytes(b"x"), 1).url
    go_on, opened, real = threading.Event(), [], os.open

    def late(*args: Any, **more: Any) -> int:
        go_on.wait(5)
        opened.append(real(*args, **more))
        return opened[-1]

    monkeypatch.setattr("fanlight.stores.filesystem.os.open", late)
    with pytest.raises(StoreTimeout):
        store.open(url)
    monkeypatch.undo()
    go_on.set()
    for _ in range(100):
        if opened and not os.path.exists(f"/proc/self/fd/{opened[0]}"):
            break
        time.sleep(0.05)
    else:
        pytest.fail("it is still open")
