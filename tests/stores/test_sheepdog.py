"""The Sheepdog store where the suite cannot look: URLs, what reaches the command, and commands that go wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectExists,
    ObjectNotFound,
    SizeMismatch,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.settings import StoreSettings, StoresSettings
from fanlight.stores import create_stores, sheepdog
from fanlight.stores.driver import Added
from fanlight.stores.sheepdog import Address, Sheepdog, _explain
from tests.bed.databases import needed
from tests.stores.place import MIB, Bytes, new_id, pattern

pytestmark = pytest.mark.services

NAMES = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}", fullmatch=True)
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?", fullmatch=True),
)
HOSTILE = (
    "",
    "a b",
    "a;id",
    "$(id)",
    "`id`",
    "a|b",
    "a&b",
    "a>b",
    "a\nb",
    "a\n",
    "a\0b",
    "../a",
    ".a",
    "a/b",
    "a'b",
    'a"b',
    "a\\b",
    "ä",
    "a*",
    "{a,b}",
    "~a",
    "a" * 256,
)
Wrapped = Callable[[str], Sheepdog]


@pytest.fixture
def wrapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wrapped:
    """A store whose `dog` is a shell script: the text, which may end or go on to the real one. `$2` is the verb.

    Every call is a line in the file `calls`.
    """

    def make(text: str) -> Sheepdog:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "dog").write_text(
            f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n{text}\nexec {needed("FANLIGHT_TEST_DOG_PATH")}/dog "$@"\n'
        )
        (folder / "dog").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return store(sheepdog_store_chunk_size=1)

    return make


@pytest.fixture
def plain(wrapped: Wrapped) -> Sheepdog:
    return wrapped("")


@pytest.fixture
def object_id(tmp_path: Path) -> Iterator[str]:
    """An id of which nothing is left in the end."""
    name = new_id()
    yield name
    path = os.environ["PATH"]
    os.environ["PATH"] = needed("FANLIGHT_TEST_DOG_PATH")
    store().discard(name)
    os.environ["PATH"] = path


def store(**options: Any) -> Sheepdog:
    made = Sheepdog("dogs", {"sheepdog_store_port": int(needed("FANLIGHT_TEST_DOG_PORT")), **options})
    made.configure()
    made.configure_add()
    return made


def there(object_id: str) -> bool:
    """Whether the real command knows the VDI."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", needed("FANLIGHT_TEST_DOG_PATH") + ":/usr/bin:/bin")
        try:
            store().get_size(f"sheepdog://{object_id}")
        except ObjectNotFound:
            return False
    return True


def calls(tmp_path: Path) -> list[str]:
    path = tmp_path / "calls"
    return path.read_text().splitlines() if path.exists() else []


# -- URLs


@given(NAMES, HOSTS, st.integers(1, 65535))
def test_every_url_comes_back(name: str, host: str, port: int) -> None:
    for address in (Address(name), Address(name, host, port)):
        assert Address.parse(address.url) == address


@given(st.one_of(st.text(), st.text(alphabet="a0:/.-[]$; \n\0")).map(lambda rest: f"sheepdog://{rest}"))
@example("sheepdog://127.0.0.1:7000:-rf")
@example("sheepdog://[::1]:7000:a")
def test_whatever_is_parsed_is_plain(url: str) -> None:
    try:
        address = Address.parse(url)
    except MalformedLocation:
        return
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", address.name)
    assert re.fullmatch(r"[A-Za-z0-9.:_-]+", address.host or "none")
    assert not (address.host or "").startswith("-")
    assert address.port < 65536
    assert Address.parse(address.url) == address


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_never_reach_the_command(plain: Sheepdog, tmp_path: Path, name: str) -> None:
    for url in (f"sheepdog://{name}", f"sheepdog://127.0.0.1:7000:{name}"):
        for ask in (plain.open, plain.get_size, plain.delete):
            with pytest.raises(MalformedLocation):
                ask(url)
    with pytest.raises(StoreError):
        plain.add(name, Bytes(b"x"), 1)
    with pytest.raises(StoreError):
        plain.discard(name)
    assert calls(tmp_path) == []


@pytest.mark.parametrize("host", ["-a", "a b", "$(id)", "a;b", "", "a/b", "a\n"])
def test_hostile_addresses(plain: Sheepdog, tmp_path: Path, host: str) -> None:
    with pytest.raises(MalformedLocation):
        plain.get_size(f"sheepdog://{host}:7000:a")
    if host:
        with pytest.raises(BadStoreConfiguration):
            store(sheepdog_store_address=host)
    assert calls(tmp_path) == []


def test_only_the_stores_own_gateway_is_asked(plain: Sheepdog, tmp_path: Path, object_id: str) -> None:
    url = plain.add(object_id, Bytes(b"bytes"), 5).url
    port = needed("FANLIGHT_TEST_DOG_PORT")
    assert url == f"sheepdog://127.0.0.1:{port}:{object_id}"
    for host in ("192.0.2.1:7000", "[2001:db8::1]:80", "gateway.example:7000"):
        assert plain.get_size(f"sheepdog://{host}:{object_id}") == 5
    assert all(f"-a 127.0.0.1 -p {port} -- {object_id}" in line for line in calls(tmp_path))


# -- the command


def test_without_the_command_nothing_can_be_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    one = StoreSettings(id="dogs", type="sheepdog", options={})
    other = StoreSettings(id="memory", type="memory", options={})
    stores = create_stores(StoresSettings(stores=(one, other), default="memory"))
    assert not stores.writable("dogs")
    with pytest.raises(StoreUnreachable, match="dog nor collie"):
        stores.get("dogs").get_size("sheepdog://a")


def test_old_clusters_have_collie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, object_id: str) -> None:
    (tmp_path / "collie").symlink_to(needed("FANLIGHT_TEST_DOG_PATH") + "/collie")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert store().add(object_id, Bytes(b"x"), 1).size == 1
    assert there(object_id)


@pytest.mark.parametrize(
    "options",
    [{"sheepdog_store_port": 65536}, {"sheepdog_store_chunk_size": 0}, {"sheepdog_store_chunk_size": -1}],
    ids=str,
)
def test_options_that_cannot_be(plain: Sheepdog, options: dict[str, Any]) -> None:
    with pytest.raises(BadStoreConfiguration):
        store(**options)


@pytest.mark.parametrize("size", [3 * MIB, None])
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('[ "$2" != write ] || { echo "Failed to write VDI" >&2; exit 1; }', StoreError),
        ('[ "$2" != write ] || { head -c 70000 >/dev/null; kill -9 $$; }', StoreError),
        ('[ "$2" != write ] || { head -c 5000000 /dev/zero >&2; exit 1; }', StoreError),
        ('[ "$2" != write ] || { echo "Failed: Server has no space for new objects" >&2; exit 1; }', StoreFull),
        ('[ "$2" != write ] || exit 2', StoreUnreachable),
        ('[ "$2" != write ] || exit 0', StoreError),
        ('[ "$2" != create ] || { echo "Failed to create VDI a: VDI exists already" >&2; exit 1; }', ObjectExists),
    ],
)
def test_writing_that_fails(wrapped: Wrapped, object_id: str, text: str, error: type[StoreError], size: Any) -> None:
    failing = wrapped(text)
    with pytest.raises(error):
        failing.add(object_id, Bytes(pattern(3 * MIB)), size)
    assert not there(object_id)


def test_too_few_bytes_are_no_zeros(plain: Sheepdog, object_id: str) -> None:
    """The command fills up with zeros and calls it a success."""
    with pytest.raises(SizeMismatch):
        plain.add(object_id, Bytes(pattern(MIB + 5)), 2 * MIB)
    with pytest.raises(SizeMismatch):
        plain.add(object_id, Bytes(pattern(2 * MIB)), MIB + 5)
    assert not there(object_id)


def test_delete_that_only_says_so(wrapped: Wrapped, object_id: str) -> None:
    """`dog vdi delete` ends with 0 whatever happens."""
    lying = wrapped('[ "$2" != delete ] || exit 0')
    url = lying.add(object_id, Bytes(b"x"), 1).url
    with pytest.raises(StoreError, match="did not delete"):
        lying.delete(url)
    with pytest.raises(StoreError, match="did not delete"):
        lying.discard(object_id)
    assert there(object_id)


def test_snapshots_are_not_images(wrapped: Wrapped) -> None:
    lines = "s a 1 1000 4194304 0 1700000000 454527 1 s1 22\\n= b 0 7 0 0 1700000000 4 1  22\\n"
    listing = wrapped(f"[ \"$2\" != list ] || {{ printf '{lines}'; exit 0; }}")
    with pytest.raises(ObjectNotFound):
        listing.get_size("sheepdog://a")
    assert listing.get_size("sheepdog://b") == 7


def test_clones_are_images(wrapped: Wrapped) -> None:
    line = "c a 0 1000 0 4194304 1700000000 4a6859 1  22\\n"
    assert wrapped(f"[ \"$2\" != list ] || {{ printf '{line}'; exit 0; }}").get_size("sheepdog://a") == 1000


@pytest.mark.parametrize("verb", ["create", "write", "list"])
def test_command_that_hangs(
    wrapped: Wrapped, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, object_id: str, verb: str
) -> None:
    monkeypatch.setattr(sheepdog, "PATIENCE", 5.0)
    hanging = wrapped(f'[ "$2" != {verb} ] || {{ echo $$ >{tmp_path}/pid; exec sleep 100; }}')
    with pytest.raises(StoreTimeout):
        hanging.add(object_id, Bytes(bytes(MIB)), MIB) if verb != "list" else hanging.check()
    pid = (tmp_path / "pid").read_text().strip()
    assert not Path(f"/proc/{pid}").exists()


def test_data_that_ends_early(wrapped: Wrapped, object_id: str) -> None:
    short = wrapped('[ "$2" != read ] || { head -c 10 /dev/zero; exit 0; }')
    opened = short.open(short.add(object_id, Bytes(bytes(100)), 100).url)
    with pytest.raises(StoreError, match="ends before"):
        list(opened.blocks)
    opened.close()


def test_one_of_two_writers_wins(plain: Sheepdog, object_id: str) -> None:
    data = [pattern(MIB + number) for number in (1, 2)]

    def add(number: int) -> Added | ObjectExists:
        try:
            return plain.add(object_id, Bytes(data[number]), len(data[number]))
        except ObjectExists as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(add, (0, 1)))
    (winner,) = [number for number, one in enumerate(found) if isinstance(one, Added)]
    assert b"".join(plain.open(f"sheepdog://{object_id}").blocks) == data[winner]


@pytest.mark.parametrize(
    ("status", "complaint", "error"),
    [
        (1, "Failed to create VDI a: VDI exists already", ObjectExists),
        (1, "Failed to open VDI a (snapshot id: 0 snapshot tag: ): No VDI found", ObjectNotFound),
        (5, "", ObjectNotFound),
        (4, "", StoreFull),
        (1, "Failed to write object 0: Server has no space for new objects", StoreFull),
        (64, "VDI size is larger than 4.0 TB bytes, please use '-y' …", StoreFull),
        (2, "failed to connect to 127.0.0.1:7000: Connection refused", StoreUnreachable),
        (1, "Failed to create VDI a: Waiting for cluster to be formatted", StoreUnreachable),
        (1, "IO has halted as there are not enough living nodes", StoreUnreachable),
        (1, "Failed to read VDI", StoreError),
        (-9, "", StoreError),
    ],
)
def test_what_the_command_says(status: int, complaint: str, error: type[StoreError]) -> None:
    assert type(_explain(status, complaint)) is error
