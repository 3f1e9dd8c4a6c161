"""The way in for programs that know glance_store, and what the stores do together: choose, retry, search."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from fanlight.errors import (
    BadStoreConfiguration,
    Invalid,
    MalformedLocation,
    ObjectNotFound,
    SettingsError,
    SizeMismatch,
    StoreReadOnly,
    StoreUnreachable,
    UnknownScheme,
    UnknownStore,
)
from fanlight.model import Location
from fanlight.settings import StoreSettings, StoresSettings
from fanlight.settings.load import load
from fanlight.stores import (
    Stores,
    create_stores,
    delete_from_backend,
    get_from_backend,
    get_known_schemes,
    get_size_from_backend,
    held,
    set_acls,
    store_add_to_backend,
    store_add_to_backend_with_multihash,
)
from fanlight.stores.finding import BUILT_IN
from fanlight.stores.memory import Memory
from tests.bed.servers import ROOT
from tests.stores.place import Bytes

SEVERAL = """
[DEFAULT]
enabled_backends = one:file, two:file
[glance_store]
default_backend = two
[one]
filesystem_store_datadir = {folder}/one
weight = 5
[two]
filesystem_store_datadir = {folder}/two
"""
CLASSIC = "[glance_store]\nstores = file\nfilesystem_store_datadir = {folder}/images\n"
PROGRAM = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("uvicorn", "starlette", "sqlalchemy", "oslo_policy", "keystonemiddleware"):
            raise ImportError(name)
        if name.startswith(("fanlight.http", "fanlight.catalog", "fanlight.operations", "fanlight.application")):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from fanlight.settings.load import load
from fanlight.stores import *
stores = create_stores(load([sys.argv[1]]).stores)
uri, size, checksum, metadata = store_add_to_backend(stores, "an-image", iter([b"by", b"", b"tes"]), 5)
assert (size, checksum) == (5, "4b3a6218bb3e3a7303e8a171a60fcf92"), (size, checksum)
blocks, length = get_from_backend(stores, uri, offset=1, chunk_size=3)
print(b"".join(map(bytes, blocks)).decode(), length, get_size_from_backend(stores, uri), metadata["store"])
blocks.close()
delete_from_backend(stores, uri)
"""


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Stores]:
    def make(text: str) -> Stores:
        file = tmp_path / "glance-api.conf"
        file.write_text(text.format(folder=tmp_path))
        return create_stores(load([str(file)]).stores)

    return make


@pytest.mark.parametrize(("text", "store"), [(SEVERAL, "two"), (CLASSIC, "file")])
def test_without_the_service(tmp_path: Path, text: str, store: str) -> None:
    file = tmp_path / "glance-api.conf"
    file.write_text(text.format(folder=tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == (f"yte 3 5 {store}\n", "")


def test_functions(configured: Callable[[str], Stores]) -> None:
    stores = configured(SEVERAL)
    assert stores.ids() == ("one", "two")
    assert get_known_schemes(stores) == ("file", "filesystem")
    uri, size, checksum, multihash, metadata = store_add_to_backend_with_multihash(
        stores, "a", Bytes(b"bytes"), 0, "sha256", backend="one"
    )
    assert (size, len(checksum), len(multihash)) == (5, 32, 64)
    assert metadata == {"store": "one"}
    assert get_size_from_backend(stores, uri, backend="one") == 5
    with pytest.raises(UnknownStore):
        get_size_from_backend(stores, uri, backend="three")
    with pytest.raises(UnknownScheme):
        get_from_backend(stores, "nobody://x")
    with pytest.raises(MalformedLocation):
        get_from_backend(stores, "nothing")
    with pytest.raises(SizeMismatch):
        store_add_to_backend(stores, "b", iter([b"123"]), 2)
    set_acls(stores, uri, public=True)
    delete_from_backend(stores, uri)
    with pytest.raises(ObjectNotFound):
        delete_from_backend(stores, uri)


@pytest.mark.parametrize("name", ["no-such-hash", "shake_128"])
def test_unknown_hashes_before_a_byte_is_read(configured: Callable[[str], Stores], name: str) -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    with pytest.raises(Invalid, match=name):
        store_add_to_backend_with_multihash(configured(CLASSIC), "a", never(), 0, name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[DEFAULT]\nenabled_backends = os_glance_x:file\n", "os_glance_"),
        ("[DEFAULT]\nenabled_backends = a:file\n[glance_store]\ndefault_backend = b\n", "default_backend"),
        ("[DEFAULT]\nenabled_backends = a:file\n", "default_backend"),
        ("[DEFAULT]\nenabled_backends = a:nothing\n[glance_store]\ndefault_backend = a\n", "nothing"),
        ("[glance_store]\nstores = file\ndefault_store = rbd\n", "default_store"),
        ("[glance_store]\nstores = file\ndefault_store = nothing\n", "default_store"),
    ],
)
def test_configurations_that_cannot_be(configured: Callable[[str], Stores], text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        configured(text)


def test_heavier_stores_are_read_first(configured: Callable[[str], Stores]) -> None:
    stores = configured(SEVERAL)
    locations = [Location(url="file:///x", metadata={"store": name} if name else {}) for name in ("two", "", "one")]
    assert [each.metadata.get("store") for each in stores.order(locations)] == ["one", "two", None]
    assert [each.metadata.get("store") for each in stores.order(locations, ["two"])] == ["two", "one", None]


# -- rows without an id


def test_objects_are_found_by_their_urls(configured: Callable[[str], Stores], tmp_path: Path) -> None:
    stores = configured(SEVERAL)
    for name in ("one", "two"):
        uri = store_add_to_backend(stores, name, Bytes(name.encode()), 0, backend=name)[0]
        for store in ({}, {"store": "that is gone"}):
            reader = stores.open(Location(url=uri, metadata=dict(store)))
            assert b"".join(map(bytes, reader)) == name.encode()
            reader.close()
    with pytest.raises(ObjectNotFound):
        stores.delete(Location(url=f"file://{tmp_path}/two/three"))


def test_same_urls_in_several_stores() -> None:
    stores = several("memory", "memory")
    store_add_to_backend(stores, "a", Bytes(b"here"), 0, backend="s1")
    assert get_size_from_backend(stores, "memory://a") == 4
    delete_from_backend(stores, "memory://a")
    with pytest.raises(ObjectNotFound):
        get_size_from_backend(stores, "memory://a")


# -- back ends that are not there at the start


class Flaky(Memory):
    """Cannot be configured as long as `error` is set."""

    error: ClassVar[Exception | None] = None
    adding: ClassVar[Exception | None] = None
    configured: ClassVar[int] = 0

    def configure(self) -> None:
        type(self).configured += 1
        if self.error:
            raise self.error
        super().configure()

    def configure_add(self) -> None:
        if self.adding:
            raise self.adding


def several(*kinds: str, default: str = "s0") -> Stores:
    made = [StoreSettings(id=f"s{number}", type=kind) for number, kind in enumerate(kinds)]
    return create_stores(StoresSettings(stores=tuple(made), default=default))


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[Flaky]:
    class One(Flaky):
        pass

    monkeypatch.setitem(BUILT_IN, "flaky", f"{__name__}:{Flaky.__name__}")
    monkeypatch.setattr(sys.modules[__name__], "Flaky", One)
    monkeypatch.setattr(held, "PAUSE", 0.0)
    return One


def test_a_default_store_that_is_away_at_the_start(flaky: type[Flaky]) -> None:
    flaky.error = StoreUnreachable("it sleeps")
    stores = several("flaky")
    for _ in range(2):
        with pytest.raises(StoreUnreachable, match="s0 cannot be used: it sleeps"):
            store_add_to_backend(stores, "a", Bytes(b"x"), 1)
        assert not stores.writable("s0")
    flaky.error = None
    uri = store_add_to_backend(stores, "a", Bytes(b"x"), 1)[0]
    assert get_size_from_backend(stores, uri) == 1
    assert stores.writable("s0")


def test_a_default_store_with_wrong_options_stops_the_start(flaky: type[Flaky]) -> None:
    flaky.error = BadStoreConfiguration("no such pool")
    with pytest.raises(SettingsError, match="s0 does not work: no such pool"):
        several("flaky")


def test_one_that_is_not_the_default_stops_nothing(flaky: type[Flaky]) -> None:
    flaky.error = BadStoreConfiguration("no such pool")
    stores = several("memory", "flaky")
    assert store_add_to_backend(stores, "a", Bytes(b"x"), 1)[3] == {"store": "s0"}
    with pytest.raises(StoreUnreachable, match="no such pool"):
        get_size_from_backend(stores, "memory://a", backend="s1")


def test_one_that_can_only_be_read(flaky: type[Flaky]) -> None:
    flaky.adding = BadStoreConfiguration("not to be written")
    stores = several("memory", "flaky")
    with pytest.raises(StoreReadOnly, match="Nothing can be added to the store s1"):
        store_add_to_backend(stores, "a", Bytes(b"x"), 1, backend="s1")
    with pytest.raises(ObjectNotFound):
        get_size_from_backend(stores, "memory://a", backend="s1")
    flaky.adding = None
    store_add_to_backend(stores, "a", Bytes(b"x"), 1, backend="s1")


def test_nothing_is_absent_while_a_store_that_may_have_it_is_away(flaky: type[Flaky]) -> None:
    flaky.error = StoreUnreachable("it sleeps")
    stores = several("memory", "flaky")
    with pytest.raises(StoreUnreachable):
        delete_from_backend(stores, "memory://a")
    flaky.error = None
    with pytest.raises(ObjectNotFound):
        delete_from_backend(stores, "memory://a")


def test_a_store_that_is_away_is_not_asked_all_the_time(flaky: type[Flaky], monkeypatch: pytest.MonkeyPatch) -> None:
    flaky.error = StoreUnreachable("it sleeps")
    stores = several("flaky")
    monkeypatch.setattr(held, "PAUSE", 1000.0)
    for _ in range(20):
        assert not stores.writable("s0")
    # At the start, once more when the first pause (of nothing) was over, and not again.
    assert flaky.configured == 2


def test_many_threads_configure_once(flaky: type[Flaky]) -> None:
    one = held.Held(flaky("s", {}))
    together = threading.Barrier(8)

    def use(_: int) -> object:
        together.wait()
        return one.addable()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(use, range(8))) == {one.store}
    assert flaky.configured == 1


def test_the_example_of_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "stores" / "README.md").read_text()
    code = page.partition("<!-- tested: functions -->\n```python\n")[2].partition("```")[0]
    (tmp_path / "glance-api.conf").write_text(CLASSIC.format(folder=tmp_path))
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "images" / "an-image").read_bytes() == b"some bytes"
