"""A filesystem store whose disk fails at bad moments: what an upload has written goes, or is told to be left; and how
its URLs are written.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import ClientGone, ObjectExists, StoreError, StoreFull
from fanlight.stores.driver import Leftovers
from fanlight.stores.filesystem import NO_LINKS, Address, Filesystem
from tests.stores.place import Bytes, Failing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture
def store(folder: Path) -> Filesystem:
    return made(folder)


def made(folder: Path) -> Filesystem:
    store = Filesystem("s", {"filesystem_store_datadir": str(folder)})
    store.configure()
    store.configure_add()
    return store


def read_only(*_args: Any, **_more: Any) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Breaking(Failing):
    """Does something before it fails."""

    def __init__(self, data: bytes, error: BaseException, act: Any) -> None:
        super().__init__(data, error)
        self._act = act

    def read(self, size: int = -1, /) -> bytes:
        if self._at == len(self.data):
            self._act()
        return super().read(size)


def test_what_cannot_be_removed_is_told(store: Filesystem, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that became read-only: the reason of the failure stays known, and a discard finds the rest later."""
    gone = ClientGone()
    with pytest.raises(Leftovers) as raised:
        store.add("a", Breaking(b"x", gone, lambda: monkeypatch.setattr("os.unlink", read_only)), None)
    assert raised.value.__cause__ is gone
    monkeypatch.undo()
    assert len(names(folder)) == 1
    store.discard("a")
    assert names(folder) == []


def test_what_is_somebody_elses_is_not_to_be_discarded(
    store: Filesystem, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Meanwhile(Bytes):
        def read(self, size: int = -1, /) -> bytes:
            (folder / "a").write_bytes(b"theirs")
            monkeypatch.setattr("os.unlink", read_only)
            return super().read(size)

    with pytest.raises(ObjectExists):
        store.add("a", Meanwhile(b"x"), None)
    assert (folder / "a").read_bytes() == b"theirs"


def test_a_folder_that_cannot_be_synced(store: Filesystem, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not durable must not stay under its name, where it would be in the way of the next upload."""
    monkeypatch.setattr("fanlight.stores.filesystem._sync_directory", read_only)
    with pytest.raises(StoreError):
        store.add("a", Bytes(b"x"), 1)
    monkeypatch.undo()
    assert names(folder) == []
    assert store.add("a", Bytes(b"x"), 1).size == 1


def test_a_quota_that_is_told_at_the_end(store: Filesystem, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file is closed, as NFS does."""
    real = os.close

    def over(file: int) -> None:
        monkeypatch.setattr("os.close", real)
        real(file)
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    class Armed(Bytes):
        def read(self, size: int = -1, /) -> bytes:
            if self._at == len(self.data):
                monkeypatch.setattr("os.close", over)
            return super().read(size)

    with pytest.raises(StoreFull):
        store.add("a", Armed(b"x"), 1)
    assert names(folder) == []


def test_a_name_whose_answer_was_lost(store: Filesystem, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of NFS asks again, and is told that the name is taken: by itself."""
    real = os.link

    def twice(*args: Any) -> None:
        real(*args)
        real(*args)

    monkeypatch.setattr("os.link", twice)
    assert store.add("a", Bytes(b"ours"), 4).size == 4
    assert (folder / "a").read_bytes() == b"ours"
    assert names(folder) == ["a"]


@pytest.mark.parametrize("number", sorted(NO_LINKS))
def test_a_file_system_without_hard_links(
    store: Filesystem, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_args: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.link", refuse)
    store.add("a", Bytes(b"first"), 5)
    with pytest.raises(ObjectExists):
        store.add("a", Bytes(b"again"), 5)

    class Late(Bytes):
        """A neighbour takes the name after it was looked for."""

        def read(self, size: int = -1, /) -> bytes:
            (folder / "b").write_bytes(b"theirs")
            return super().read(size)

    with pytest.raises(ObjectExists):
        store.add("b", Late(b"mine"), 4)
    assert [(folder / name).read_bytes() for name in names(folder)] == [b"first", b"theirs"]
    monkeypatch.setattr("os.rename", refuse)
    with pytest.raises(StoreError):
        store.add("c", Bytes(b"never"), 5)
    assert names(folder) == ["a", "b"]


@pytest.mark.parametrize("name", ["plain", "with blank", "a@b:c,d=e+f", "ümläut", "100%", "%4", "~;&"])
def test_urls_are_written_as_glance_reads_them(tmp_path: Path, name: str) -> None:
    """Which takes them as they stand, so that it can have its database back."""
    store = made(tmp_path / name)
    url = store.add("x", Bytes(b"x"), 1).url
    assert url == store.planned_url("x") == f"file://{tmp_path}/{name}/x"
    assert Address.parse(url).url == url
    assert store.get_size(url) == 1
    assert store.owns(url)
    store.delete(url)


@pytest.mark.parametrize("name", ["100%25", "a?b", "a#b", "line\nfeed"])
def test_urls_that_would_be_read_as_another_path_are_quoted(tmp_path: Path, name: str) -> None:
    store = made(tmp_path / name)
    url = store.add("x", Bytes(b"x"), 1).url
    assert set(url.removeprefix(f"file://{tmp_path}")).isdisjoint("?#\n")
    assert store.get_size(url) == 1
    store.delete(url)
    assert names(tmp_path / name) == []
