"""A store that is full, gone or closed: a clear answer, nothing left behind, and the image takes its data later."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bed.servers import Server
from tests.durability.wire import PROJECT, assert_has, assert_waits_for_data
from tests.stores.disks import require_mounts

MIB = 1 << 20
ROOM = 4 * MIB
FOLDER_GONE = r"_explained|A directory of the store is gone"
"""An operator's accident: the log may tell it at length."""


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A file system of 4 MiB at `folder`. Raises AssertionError where this process may not mount."""
    require_mounts()
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(folder)], check=True, timeout=20)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


@contextmanager
def limited() -> Iterator[None]:
    """No file of the processes that are started now may grow beyond 4 MiB: what everybody can have, without mounts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=["mounted", "limited"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A service whose store has room for 4 MiB."""
    one = Server(tmp_path / "s")
    with mounted(one.data_dir / "images") if request.param == "mounted" else limited():
        one.start()
        yield one
        one.end()
    assert one.unexpected_tracebacks() == []


def drops(size: int) -> Iterator[bytes]:
    for start in range(0, size, 100_000):
        yield b"x" * min(100_000, size - start)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_full_store(small: Server, framing: str) -> None:
    member = small.as_member(PROJECT)
    image = member.create()
    for size in (ROOM + 1, 3 * ROOM):
        answer = member.upload(image["id"], b"x" * size if framing == "length" else drops(size))
        assert answer.status_code == 413, answer.text
        assert_waits_for_data(small, member, image["id"])
    assert member.upload(image["id"], b"y" * MIB).status_code == 204
    assert_has(small, member, image["id"], b"y" * MIB)


def test_room_that_is_given_back_can_be_used(small: Server) -> None:
    member = small.as_member(PROJECT)
    for turn in range(4):
        image = member.create()
        assert member.upload(image["id"], bytes([turn]) * (3 * MIB)).status_code == 204
        assert_has(small, member, image["id"], bytes([turn]) * (3 * MIB))
        assert member.delete(f"/v2/images/{image['id']}").status_code == 204
        assert small.files() == {}


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "s").start()
    yield made
    made.end()
    assert made.unexpected_tracebacks() == []


def assert_unusable_then_usable(server: Server, image_id: str, *, statuses: tuple[int, ...]) -> None:
    member = server.as_member(PROJECT)
    for _ in range(2):
        answer = member.upload(image_id, b"data")
        assert answer.status_code in statuses, answer.text
        assert str(server.folder) not in answer.text
        assert member.show(image_id)["status"] == "queued"


def test_the_folder_of_the_store_is_gone(one: Server) -> None:
    member = one.as_member(PROJECT)
    stored, image = member.create_active(b"was here"), member.create()
    one.allow_traceback(FOLDER_GONE)
    images = one.data_dir / "images"
    shutil.move(images, one.data_dir / "moved")
    assert_unusable_then_usable(one, image["id"], statuses=(500, 503))
    # No data where data should be is told, not invented.
    assert member.get(f"/v2/images/{stored['id']}/file").status_code in (204, 503)
    assert member.show(stored["id"])["status"] == "active"
    shutil.move(one.data_dir / "moved", images)
    assert_has(one, member, stored["id"], b"was here")
    assert member.upload(image["id"], b"data").status_code == 204
    assert_has(one, member, image["id"], b"data")


def test_the_folder_of_the_store_is_a_file(one: Server) -> None:
    image = one.as_member(PROJECT).create()
    one.allow_traceback(FOLDER_GONE)
    images = one.data_dir / "images"
    shutil.move(images, one.data_dir / "moved")
    images.write_text("not a folder")
    assert_unusable_then_usable(one, image["id"], statuses=(500, 503))
    images.unlink()
    shutil.move(one.data_dir / "moved", images)
    assert one.as_member(PROJECT).upload(image["id"], b"data").status_code == 204


def test_a_store_that_became_read_only(tmp_path: Path) -> None:
    one = Server(tmp_path / "s")
    images = one.data_dir / "images"
    with mounted(images):
        one.start()
        member = one.as_member(PROJECT)
        stored, image = member.create_active(b"safe"), member.create()
        subprocess.run(["mount", "-o", "remount,ro", str(images)], check=True, timeout=20)
        assert_unusable_then_usable(one, image["id"], statuses=(503,))
        assert_has(one, member, stored["id"], b"safe")
        # A delete that the store refuses takes nothing away.
        assert member.delete(f"/v2/images/{stored['id']}").status_code == 403
        assert_has(one, member, stored["id"], b"safe")
        subprocess.run(["mount", "-o", "remount,rw", str(images)], check=True, timeout=20)
        assert member.upload(image["id"], b"data").status_code == 204
        assert_has(one, member, image["id"], b"data")
        assert member.delete(f"/v2/images/{stored['id']}").status_code == 204
        assert list(one.files()) == [image["id"]]
        one.end()
    assert one.unexpected_tracebacks() == []


def test_data_that_is_gone_or_short(one: Server) -> None:
    """Never fewer bytes with a good face: the answer says so before the first byte."""
    member = one.as_member(PROJECT)
    gone, short = member.create_active(b"0123456789"), member.create_active(b"0123456789")
    (one.data_dir / "images" / gone["id"]).unlink()
    (one.data_dir / "images" / short["id"]).write_bytes(b"01234")
    assert member.get(f"/v2/images/{gone['id']}/file").status_code == 204
    answer = member.get(f"/v2/images/{short['id']}/file")
    assert answer.status_code == 503
    assert b"01234" not in answer.content
    assert member.delete(f"/v2/images/{gone['id']}").status_code == 204
    assert member.delete(f"/v2/images/{short['id']}").status_code == 204
    assert one.files() == {}
