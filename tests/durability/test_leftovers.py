"""A store that goes away while a failed upload is being undone: what is left is owed, whatever the upload failed of.

The store is a package of the test's own, as a vendor's would be. As long as a file says so it can remove nothing.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bed.packages import install_store
from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.durability.wire import PROJECT, SlowUpload
from tests.edge.raw import eventually

MODULE = """
from pathlib import Path

from fanlight.errors import ObjectExists, ObjectNotFound, StoreTimeout, StoreUnreachable
from fanlight.stores.driver import Added, Opened, Option, Store, leave_to_discard


class Keeping(Store):
    schemes = ("keeping",)
    declares = (Option(name="keeping_folder"),)

    def _path(self, object_id):
        return Path(self.options["keeping_folder"]) / object_id

    def add(self, object_id, source, size, context=None):
        if self._path(object_id).exists():
            raise ObjectExists
        try:
            with self._path(object_id).open("wb", 0) as file:
                while len(block := source.read(65536)):
                    file.write(block)
                if self._path("slow").exists():
                    raise StoreTimeout
                return Added(f"keeping://{object_id}", file.tell())
        except BaseException as error:
            if self._path("locked").exists():
                leave_to_discard(error)
            self._path(object_id).unlink()
            raise

    def open(self, url, offset=0, length=None, context=None):
        data = self._path(url.removeprefix("keeping://")).read_bytes()[offset:]
        return Opened(len(data), iter([data]), lambda: None)

    def get_size(self, url, context=None):
        raise ObjectNotFound

    def delete(self, url, context=None):
        self.discard(url.removeprefix("keeping://"))

    def discard(self, object_id):
        if self._path("locked").exists():
            raise StoreUnreachable
        self._path(object_id).unlink(missing_ok=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder in which the store keeps its objects; `locked` in it is the file that says so."""
    found = tmp_path / "kept"
    found.mkdir()
    (found / "locked").touch()
    return found


@pytest.fixture
def one(server: StartServer, folder: Path) -> Server:
    config: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": "theirs:keeping", "image_size_cap": 1000},
        "glance_store": {"default_backend": "theirs"},
        "theirs": {"keeping_folder": str(folder)},
        "fanlight": {"lease_seconds": 3},
    }
    return server(config=config, environment={"PYTHONPATH": install_store(folder.with_name("site"), "keeping", MODULE)})


def gone(one: Server, image_id: str, folder: Path) -> None:
    with SlowUpload(one, image_id, 900) as upload:
        upload.send(b"a" * 500)
        eventually(lambda: (folder / image_id).exists() and (folder / image_id).stat().st_size)
        upload.cut("reset")


def too_large(one: Server, image_id: str, folder: Path) -> None:
    """Who sent the data is told what is wrong with it, not what is wrong with the store."""
    with SlowUpload(one, image_id, None) as upload:
        upload.send(b"a" * 500)
        upload.send(b"b" * 501)
        assert upload.end() == 413


@pytest.mark.parametrize("fail", [gone, too_large])
def test_what_cannot_be_removed_now_is_removed_later(
    one: Server, folder: Path, fail: Callable[[Server, str, Path], None]
) -> None:
    member = one.as_member(PROJECT)
    image_id = member.create()["id"]
    fail(one, image_id, folder)
    eventually(lambda: one.rows("SELECT kind FROM fanlight_leases") == [{"kind": "discard"}])
    assert member.show(image_id)["status"] == "queued"
    assert (folder / image_id).exists()
    assert member.upload(image_id, b"too early").status_code == 503
    (folder / "locked").unlink()
    eventually(lambda: one.rows("SELECT kind FROM fanlight_leases") == [], 20)
    assert not (folder / image_id).exists()
    assert member.upload(image_id, b"at last").status_code == 204
    assert member.get(f"/v2/images/{image_id}/file").content == b"at last"


def test_what_a_slow_store_keeps_after_all_is_removed(one: Server, folder: Path) -> None:
    """It took too long to answer, had nothing when it was asked to forget, and then stored what it had been sent."""
    member = one.as_member(PROJECT)
    image_id = member.create()["id"]
    (folder / "locked").unlink()
    (folder / "slow").touch()
    assert member.upload(image_id, b"data").status_code == 503
    assert not (folder / image_id).exists()
    (folder / image_id).write_bytes(b"data")
    (folder / "slow").unlink()
    eventually(lambda: one.rows("SELECT kind FROM fanlight_leases") == [], 20)
    assert not (folder / image_id).exists()
    assert member.upload(image_id, b"again").status_code == 204


def test_what_a_glance_has_left_in_saving(server: StartServer) -> None:
    """Nobody has written down where its bytes lie: they are looked for, and the image can be used again."""
    one = server(config={"fanlight": {"lease_seconds": 3}})
    member = one.as_member(PROJECT)
    left, young, whole = (member.create()["id"] for _ in range(3))
    assert member.upload(whole, b"data").status_code == 204
    one.stop()
    with contextlib.closing(sqlite3.connect(one.data_dir / "fanlight.db")) as database, database:
        database.execute("UPDATE images SET status = 'saving' WHERE id IN (?, ?)", (left, young))
        database.execute("UPDATE images SET updated_at = '2020-01-01 00:00:00.000000' WHERE id = ?", (left,))
    for image_id in (left, young):
        (one.data_dir / "images" / image_id).write_bytes(b"half")
    one.start()
    eventually(lambda: one.as_member(PROJECT).show(left)["status"] == "queued", 15)
    member = one.as_member(PROJECT)
    assert member.show(young)["status"] == "saving"
    assert set(one.files()) == {young, whole}
    eventually(lambda: one.rows("SELECT kind FROM fanlight_leases") == [])
    assert member.upload(left, b"data").status_code == 204
