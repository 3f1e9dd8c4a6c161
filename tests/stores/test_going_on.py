"""Images with several locations: one that fails is followed by the next, before the first byte and in the middle."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from fanlight.errors import ObjectNotFound, StoreError, StoreTimeout
from fanlight.model import Caller, Image, Location
from fanlight.operations.reading import Reading
from fanlight.settings import StoreSettings, StoresSettings
from fanlight.stores import Stores, create_stores, store_add_to_backend
from fanlight.stores.driver import Context, Opened
from fanlight.stores.finding import BUILT_IN
from fanlight.stores.memory import Memory
from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.stores.place import Bytes, pattern

MIB = 1 << 20
DATA = pattern(4 * MIB + 5)


class Breaking(Memory):
    """Reads break after so many bytes; whoever opens is written down."""

    after: ClassVar[dict[str, int]] = {}
    opened: ClassVar[list[tuple[str, int, Context | None]]] = []
    closed: ClassVar[list[str]] = []

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        found = super().open(url, offset, length, context)
        self.opened.append((self.id, offset, context))
        return Opened(found.size, self._breaking(found.blocks), lambda: self.closed.append(self.id))

    def _breaking(self, blocks: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        left = self.after.get(self.id)
        for block in blocks:
            if left is not None and len(block) > left:
                raise StoreTimeout
            left = left if left is None else left - len(block)
            yield block


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.setitem(BUILT_IN, "breaking", f"{__name__}:Breaking")
    for kept in (Breaking.opened, Breaking.closed, Breaking.after):
        kept.clear()
    made = tuple(StoreSettings(id=name, type="breaking") for name in "abc")
    stores = create_stores(StoresSettings(stores=made, default="a"))
    for name in "abc":
        store_add_to_backend(stores, "x", Bytes(DATA), 0, backend=name)
    return stores


def reading(stores: Stores, order: str, offset: int = 0, length: int | None = None) -> Reading:
    moment = datetime.datetime(2026, 1, 1)
    image = Image(id="x", status="active", created_at=moment, updated_at=moment)
    locations = [Location(url="memory://x", metadata={"store": name}) for name in order]
    return Reading(stores, image, locations, offset, length, Caller(project_id="p"))


def whole(one: Reading) -> bytes:
    data = b"".join(map(bytes, one))
    one.close()
    return data


def test_before_the_first_byte(stores: Stores) -> None:
    Breaking.after["a"] = 0
    assert whole(reading(stores, "ab")) == DATA
    assert [(name, offset) for name, offset, _ in Breaking.opened] == [("a", 0), ("b", 0)]
    assert Breaking.closed == ["a", "b"]
    assert {context.project_id for _, _, context in Breaking.opened if context} == {"p"}


@pytest.mark.parametrize(("offset", "length"), [(0, None), (1, None), (7, 3 * MIB), (MIB, 3 * MIB + 5)])
def test_in_the_middle(stores: Stores, offset: int, length: int | None) -> None:
    Breaking.after.update(a=MIB, b=MIB)
    one = reading(stores, "abc", offset, length)
    assert one.size == len(DATA) - offset if length is None else length
    assert whole(one) == DATA[offset : offset + one.size]
    assert [name for name, _, _ in Breaking.opened] == ["a", "b", "c"]
    assert Breaking.closed == ["a", "b", "c"]


def test_one_that_ends_early_without_a_word(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    def ending(store: Breaking, blocks: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        return iter(list(blocks)[: Breaking.after.get(store.id)])

    monkeypatch.setattr(Breaking, "_breaking", ending)
    Breaking.after.update(a=1, b=0)
    assert whole(reading(stores, "abc", 3)) == DATA[3:]
    with pytest.raises(StoreError):
        whole(reading(stores, "ab"))


def test_when_none_is_left(stores: Stores) -> None:
    Breaking.after.update(a=MIB, b=0)
    one = reading(stores, "ab")
    blocks = iter(one)
    assert bytes(next(blocks)) == DATA[:MIB]
    with pytest.raises(StoreTimeout):
        next(blocks)
    one.close()
    with pytest.raises(StoreTimeout):
        reading(stores, "bb")
    with pytest.raises(ObjectNotFound):
        reading(stores, "")


def test_a_store_that_gives_other_ranges_is_passed_by(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """More or fewer bytes than were asked for are not those that were."""
    real = Memory.open

    def other(store: Memory, url: str, offset: int, length: int | None, context: Context | None) -> Opened:
        wrong = {"a": 1, "b": -1}.get(store.id, 0)
        return real(store, url, offset, None if length is None else length + wrong, context)

    monkeypatch.setattr(Memory, "open", other)
    assert whole(reading(stores, "abc", 5, 100)) == DATA[5:105]
    assert [name for name, _, _ in Breaking.opened] == ["a", "b", "c"]
    assert Breaking.closed == ["a", "b", "c"]


def test_a_store_that_does_not_exist_is_passed_by(stores: Stores) -> None:
    moment = datetime.datetime(2026, 1, 1)
    image = Image(id="x", status="active", created_at=moment, updated_at=moment)
    elsewhere = Location(url="rbd://a/b/c/d", metadata={"store": "elsewhere"})
    here = Location(url="memory://x", metadata={"store": "b"})
    assert whole(Reading(stores, image, [elsewhere, here], 0, None, Caller())) == DATA


# -- in the service

CONFIG = {
    "DEFAULT": {"enabled_backends": "light:file, heavy:file, web:http"},
    "glance_store": {"default_backend": "light"},
}


@pytest.fixture
def two(server: StartServer, tmp_path: Path) -> Server:
    light, heavy = ({"filesystem_store_datadir": tmp_path / name} for name in ("light", "heavy"))
    return server(config={**CONFIG, "light": light, "heavy": {**heavy, "weight": 10}})


def copied(two: Server, tmp_path: Path, data: bytes) -> str:
    """An image in the light store, and once more in the heavy one."""
    image_id: str = two.as_member("p").create_active(data)["id"]
    shutil.copy(tmp_path / "light" / image_id, tmp_path / "heavy" / image_id)
    two.rows(
        "INSERT INTO image_locations (image_id, value, meta_data, status, created_at, deleted) "
        "SELECT image_id, replace(value, '/light/', '/heavy/'), '{\"store\": \"heavy\"}', status, created_at, deleted "
        "FROM image_locations WHERE image_id = :id",
        id=image_id,
    )
    return image_id


def test_the_heavier_store_is_read_first_and_its_loss_is_not_seen(two: Server, tmp_path: Path) -> None:
    image_id = copied(two, tmp_path, b"same")
    member = two.as_member("p")
    assert member.show(image_id)["stores"] == "heavy,light"
    path = f"/v2/images/{image_id}/file"
    (tmp_path / "heavy" / image_id).write_bytes(b"HEAV")
    assert member.get(path).content == b"HEAV"
    for damaged in (b"HE", b"HEAVY", b""):
        (tmp_path / "heavy" / image_id).write_bytes(damaged)
        assert member.get(path).content == b"same"
    assert member.get(path, headers={"Range": "bytes=1-2"}).content == b"am"
    (tmp_path / "heavy" / image_id).unlink()
    assert member.get(path).content == b"same"
    assert member.get(path, headers={"Range": "bytes=1-2"}).content == b"am"
    two.wait_for_log("cannot be read from store heavy")
    (tmp_path / "light" / image_id).unlink()
    assert member.get(path).status_code == 204


def test_all_copies_are_deleted(two: Server, tmp_path: Path) -> None:
    image_id = copied(two, tmp_path, b"same")
    assert two.as_member("p").delete(f"/v2/images/{image_id}").status_code == 204
    assert [path for name in ("light", "heavy") for path in (tmp_path / name).iterdir()] == []


def test_the_store_that_a_client_names(two: Server, tmp_path: Path) -> None:
    member = two.as_member("p")
    image = member.create()
    path = f"/v2/images/{image['id']}/file"
    kind = {"Content-Type": "application/octet-stream"}
    for store, status in (("nothing", 400), ("os_glance_staging_store", 400), ("web", 410)):
        answer = member.put(path, content=b"data", headers={**kind, "X-Image-Meta-Store": store})
        assert (answer.status_code, store in answer.text) == (status, True), answer.text
        assert member.show(image["id"])["status"] == "queued"
    assert member.put(path, content=b"data", headers={**kind, "X-Image-Meta-Store": "heavy"}).status_code == 204
    assert member.show(image["id"])["stores"] == "heavy"
    assert (tmp_path / "heavy" / image["id"]).read_bytes() == b"data"
