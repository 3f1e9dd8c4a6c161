"""The VMware store and a vCenter of its own that ends sessions, refuses, lies about sizes, hangs and dies."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectExists,
    ObjectNotFound,
    StoreError,
    StoreForbidden,
    StoreFull,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.settings import StoreSettings, StoresSettings
from fanlight.stores import create_stores, held, transfer, vcenter, vmware
from fanlight.stores.driver import Leftovers
from fanlight.stores.vmware import Address, Vmware
from tests.bed.vsphere import PASSWORD, USER, Simulator, free_address
from tests.stores.faults import silent_port
from tests.stores.listening import BODY, Listener
from tests.stores.place import MIB, Bytes, pattern

pytestmark = pytest.mark.services
TWO = ["/DC0:LocalDS_0:100", "/DC0:LocalDS_1:50"]


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("vcenter")) as one:
        yield one


def options(simulator: Simulator, **more: Any) -> dict[str, Any]:
    return {
        "vmware_server_host": simulator.host,
        "vmware_server_username": USER,
        "vmware_server_password": PASSWORD,
        "vmware_datastores": TWO,
        "vmware_ca_file": str(simulator.ca),
        **more,
    }


def made(simulator: Simulator, **more: Any) -> Vmware:
    store = Vmware("dc", options(simulator, **more))
    store.configure()
    store.configure_add()
    return store


@pytest.fixture
def store(simulator: Simulator) -> Iterator[Vmware]:
    """A store; nothing of the test is left in it."""
    before = simulator.stored()
    yield made(simulator)
    assert simulator.stored() == before


def read(store: Vmware, url: str, offset: int = 0, length: int | None = None) -> bytes:
    opened = store.open(url, offset, length)
    try:
        return b"".join(map(bytes, opened.blocks))
    finally:
        opened.close()


class Telling(Bytes):
    """Calls `then` after the first `after` bytes."""

    def __init__(self, data: bytes, after: int, then: Callable[[], object]) -> None:
        super().__init__(data)
        self._after, self._then, self._given = after, then, 0

    def read(self, size: int = -1, /) -> bytes:
        block = super().read(size)
        told = self._given >= self._after
        self._given += len(block)
        if self._given >= self._after and not told:
            self._then()
        return block


# -- sessions


def test_sessions_that_end_are_begun_again(simulator: Simulator, store: Vmware) -> None:
    url = store.add("again", Bytes(b"bytes"), 5).url
    asked: list[Callable[[], object]] = [
        lambda: read(store, url),
        lambda: read(store, url, 1, 2),
        lambda: store.get_size(url),
        store.check,
        lambda: store.add("more", Bytes(pattern(3 * MIB)), None),
        lambda: store.discard("more"),
        lambda: store.delete(url),
    ]
    for ask in asked:
        simulator.tell("expire")
        ask()
        assert simulator.obeyed


def test_many_threads_find_the_session_over(simulator: Simulator, store: Vmware) -> None:
    url = store.add("many", Bytes(pattern(100_000)), None).url
    with ThreadPoolExecutor(8) as pool:
        simulator.tell("expire")
        assert list(pool.map(lambda _: read(store, url), range(24))) == [pattern(100_000)] * 24
    store.delete(url)


def test_session_that_ends_just_before_the_upload(simulator: Simulator, store: Vmware) -> None:
    """Its bytes can be sent only once: an error, nothing left, and the next upload goes well."""
    for known in (True, False):
        data = pattern(20 * MIB)
        source = Telling(data, 1, lambda: simulator.tell("expire"))
        with pytest.raises(StoreUnreachable):
            store.add("late", source, len(data) if known else None)
        store.delete(store.add("late", Bytes(data), len(data)).url)


def test_session_that_is_thought_to_be_over(simulator: Simulator, store: Vmware) -> None:
    """Within a session that lives a Login is refused, as if the password were wrong: so it comes from outside."""
    ours = store._vcenter
    ours.require_live()
    first, cookie = ours.cookie()
    ours.forget(first)
    ours.require_live()
    second, another = ours.cookie()
    assert second == first + 1
    assert another != cookie
    # The old session does not stay behind.
    address = Address(simulator.host, "openstack_glance", "none", "LocalDS_0", "/DC0")
    for value, status in ((cookie, 401), (another, 404)):
        connection = HTTPSConnection(simulator.host, vcenter.PORT, timeout=5, context=store._tls)
        answer = transfer.ask(connection, "HEAD", address.target, {"Cookie": value}, 5)
        answer.close()
        assert answer.status == status
    # What was found with the first adapter goes on.
    store.delete(store.add("after", Bytes(b"x"), 1).url)


def test_vcenter_that_ends_every_session(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    store = made(simulator, vmware_api_retry_count=2)
    url = f"vsphere://{simulator.host}/folder/openstack_glance/none?dsName=LocalDS_0&dcPath=%2FDC0"
    number, cookie = store._vcenter.cookie()
    monkeypatch.setattr(store._vcenter, "cookie", lambda: (number, "vmware_soap_session=dead"))
    before = len(simulator.requests("HEAD /folder/"))
    with pytest.raises(StoreUnreachable) as raised:
        store.get_size(url)
    assert len(simulator.requests("HEAD /folder/")) == before + 3
    assert cookie not in str(raised.value)


@pytest.mark.parametrize("where", ["before", "within"])
def test_silent_vcenter_is_waited_for_once(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """One thread at a time logs in: the fifth would be told after five times the limit.

    `within`: they have had a session, and are told all at once that it is over.
    """
    monkeypatch.setattr(vcenter, "SECONDS", 1.0)
    with silent_port() as port, ThreadPoolExecutor(5) as pool:
        monkeypatch.setattr(vcenter, "PORT", port)
        account = vcenter.Account("127.0.0.1", USER, PASSWORD)
        one = vcenter.VCenter(account, ssl.create_default_context(), 1, 1.0)
        together = threading.Barrier(5, timeout=10)

        def look(_: object) -> None:
            together.wait()
            raise vcenter._Expired

        def ask() -> None:
            with pytest.raises(StoreTimeout):
                one.call(look)

        one._logins = 1 if where == "within" else 0
        began = time.monotonic()
        for job in [pool.submit(ask) for _ in range(5)]:
            job.result()
        assert time.monotonic() - began < 1.9
        # Who comes later tries again.
        ask()
        assert time.monotonic() - began > 1.9


# -- uploads that fail


def test_upload_that_is_refused(simulator: Simulator, store: Vmware) -> None:
    simulator.tell("refuse")
    with pytest.raises(StoreError, match="500"):
        store.add("refused", Bytes(pattern(MIB)), MIB)
    assert simulator.obeyed


@pytest.mark.parametrize("known", [True, False])
def test_size_is_compared(simulator: Simulator, store: Vmware, known: bool) -> None:
    simulator.tell("shorten")
    with pytest.raises(StoreError, match="were sent"):
        store.add("short", Bytes(pattern(MIB)), MIB if known else None)
    assert simulator.obeyed


def test_two_uploads_of_one_image(simulator: Simulator, store: Vmware) -> None:
    """One of them wins, whole; both see each other only at the end."""
    both = threading.Barrier(2, timeout=30)
    data = [bytes([number]) * (2 * MIB) for number in range(2)]

    def add(number: int) -> str:
        try:
            return store.add("one", Telling(data[number], 1, both.wait), 2 * MIB).url
        except ObjectExists:
            return ""

    with ThreadPoolExecutor(2) as pool:
        urls = [url for url in pool.map(add, range(2)) if url]
    assert len(urls) == 1
    assert read(store, urls[0]) in data
    store.delete(urls[0])


def test_more_than_there_is_room_for(simulator: Simulator, store: Vmware) -> None:
    source = Bytes(b"never read")
    with pytest.raises(StoreFull):
        store.add("large", source, 1 << 60)
    assert source.read() == b"never read"


def test_vcenter_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upload is given up in time; what it left is removed by `discard`, once vCenter is back."""
    for module, name in ((vcenter, "SECONDS"), (vmware, "CONNECT_SECONDS"), (vmware, "READ_SECONDS")):
        monkeypatch.setattr(module, name, 2.0)
    monkeypatch.setattr(vmware, "HANG_UP_SECONDS", 0.5)
    with Simulator(tmp_path) as simulator:
        store = made(simulator)
        url = store.add("before", Bytes(b"x"), 1).url
        with pytest.raises(Leftovers) as raised:
            store.add("hung", Telling(pattern(64 * MIB), MIB, simulator.pause), None)
        assert isinstance(raised.value.__cause__, StoreTimeout)
        for ask in (lambda: read(store, url), lambda: store.get_size(url), store.check, lambda: store.delete(url)):
            with pytest.raises(StoreTimeout):
                ask()
        simulator.resume()
        store.discard("hung")
        assert read(store, url) == b"x"
        store.delete(url)
        assert simulator.stored() == []


def test_vcenter_that_dies(tmp_path: Path) -> None:
    with Simulator(tmp_path) as simulator:
        store = made(simulator)
        with pytest.raises(StoreUnreachable):
            store.add("dead", Telling(pattern(64 * MIB), MIB, simulator.stop), 64 * MIB)
        with pytest.raises(StoreUnreachable):
            store.check()
        simulator.start()
        store.configure_add()
        url = store.add("alive", Bytes(b"x"), 1).url
        assert read(store, url) == b"x"


def test_vcenter_that_is_not_there_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service starts without it, and has it as soon as it is there."""
    monkeypatch.setattr(held, "PAUSE", 0.0)
    with Simulator(tmp_path) as simulator:
        simulator.stop()
        both = (StoreSettings(id="dc", type="vmware", options=options(simulator)),)
        stores = create_stores(StoresSettings(stores=(*both, StoreSettings(id="m", type="memory")), default="m"))
        with pytest.raises(StoreUnreachable):
            stores.put("dc", "early", Bytes(b"x"), 1, algorithm="sha512")
        simulator.start()
        stored = stores.put("dc", "late", Bytes(b"x"), 1, algorithm="sha512")
        assert stored.url.startswith(f"vsphere://{simulator.host}/folder/openstack_glance/late?")


# -- locations


def test_nothing_outside_the_folder_of_images(simulator: Simulator, store: Vmware) -> None:
    """The datastores hold the disks of machines, too."""
    other = made(simulator, vmware_store_image_dir="/machines/disks")
    url = other.add("disk", Bytes(b"secret"), 6).url
    assert "/folder/machines/disks/disk?" in url
    for ask in (store.open, store.get_size, store.delete):
        with pytest.raises(StoreForbidden):
            ask(url)
    assert not store.owns(url)
    assert read(other, url) == b"secret"
    other.delete(url)


def test_the_cookie_goes_to_our_own_vcenter_alone(simulator: Simulator, store: Vmware) -> None:
    """A location may name any host. It is read where the store is, under whatever name."""
    url = store.add("mine", Bytes(b"bytes"), 5).url
    elsewhere = url.replace(simulator.host, "198.51.100.7")
    assert read(store, elsewhere) == b"bytes"
    assert store.owns(url)
    assert not store.owns(elsewhere)
    store.delete(elsewhere)


def test_locations_that_lead_nowhere(store: Vmware, simulator: Simulator) -> None:
    place = f"vsphere://{simulator.host}/folder/openstack_glance/x"
    for query in ("dsName=LocalDS_0&dcPath=DC0", "dsName=LocalDS_9&dcPath=DC0", "dsName=LocalDS_0&dcPath=%2FDC9"):
        for ask in (store.open, store.get_size, store.delete):
            with pytest.raises(ObjectNotFound):
                ask(f"{place}?{query}")


def test_addresses() -> None:
    address = Address.parse("vsphere://[2001:DB8::1]/folder/a/b/c%20d?dcPath=DC+0%2Fx&dsName=n%26m")
    assert address == Address("2001:db8::1", "a/b", "c d", "n&m", "DC 0/x")
    assert address.url == "vsphere://[2001:db8::1]/folder/a/b/c%20d?dsName=n%26m&dcPath=DC%200%2Fx"
    assert address.file == "[n&m] a/b/c d"
    assert Address.parse(address.url) == address


def test_redirects_stay_with_the_host(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cookie goes with them. The simulator redirects nobody, so a small server stands in for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(simulator.ca, simulator.ca.with_name("key.pem"))
    store = Vmware(
        "dc", options(simulator, vmware_server_host=free_address(), vmware_ca_file=None, vmware_insecure=True)
    )
    store.configure()
    monkeypatch.setattr(store._vcenter, "cookie", lambda: (1, "vmware_soap_session=live"))
    with Listener(store._host, context, vcenter.PORT) as here, Listener() as other:

        def url(name: str) -> str:
            here.redirects[f"/folder/openstack_glance/{name}?dsName=a&dcPath=b"] = places[name]
            return f"vsphere://{store._host}/folder/openstack_glance/{name}?dsName=a&dcPath=b"

        places = {
            "near": "/elsewhere?x=1",
            "loop": "loop?dsName=a&dcPath=b",
            "away": f"https://127.0.0.1:{other.port}/x",
            "plain": f"http://{store._host}/x",
            "port": f"https://{store._host}:8443/x",
            "bad": "https://[",
        }
        assert read(store, url("near")) == BODY
        assert [line for line, _ in here.requests][-1] == "GET /elsewhere?x=1 HTTP/1.1"
        assert {headers["cookie"] for _, headers in here.requests} == {"vmware_soap_session=live"}
        for name in ("loop", "away", "plain", "port", "bad"):
            with pytest.raises(MalformedLocation):
                store.open(url(name))
        assert other.requests == []


# -- options


def test_heavier_datastores_first(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(simulator, vmware_datastores=["/DC0:LocalDS_0:1", "DC0:LocalDS_1:2"])
    url = one.add("heavy", Bytes(b"x"), 1).url
    assert "dsName=LocalDS_1&dcPath=DC0" in url
    one.delete(url)
    # How full the simulator's datastores are cannot be chosen: both lie on one disk.
    rooms = {"LocalDS_0": 10, "LocalDS_1": 20}
    equal = made(simulator, vmware_datastores=["/DC0:LocalDS_0:", "/DC0:LocalDS_1"])
    monkeypatch.setattr(equal._vcenter, "room", lambda each: rooms[each.name])
    monkeypatch.setattr(one._vcenter, "room", lambda each: rooms[each.name])
    assert equal._choose(5).name == "LocalDS_1"
    rooms["LocalDS_1"] = -1
    assert equal._choose(5).name == one._choose(5).name == "LocalDS_0"
    with pytest.raises(StoreFull):
        equal._choose(11)


@pytest.mark.parametrize(
    "datastores",
    [
        None,
        [],
        ["LocalDS_0"],
        ["DC0:"],
        [":LocalDS_0"],
        ["DC0:LocalDS_0:heavy"],
        ["DC0:LocalDS_0:1:2"],
        ["DC0:LocalDS_9"],
        ["DC9:LocalDS_0"],
        ["/DC0:LocalDS_0", "DC0:none"],
    ],
)
def test_datastores_that_cannot_be(simulator: Simulator, store: Vmware, datastores: list[str] | None) -> None:
    url = store.add("readable", Bytes(b"x"), 1).url
    wrong = Vmware("dc", options(simulator, vmware_datastores=datastores))
    wrong.configure()
    with pytest.raises(BadStoreConfiguration, match="vmware_datastores"):
        wrong.configure_add()
    assert read(wrong, url) == b"x"
    store.delete(url)


@pytest.mark.parametrize("name", ["vmware_server_host", "vmware_server_username", "vmware_server_password"])
def test_options_that_must_be_set(simulator: Simulator, name: str) -> None:
    with pytest.raises(BadStoreConfiguration, match="must be set"):
        made(simulator, **{name: None})


@pytest.mark.parametrize("folder", ["/a/../b", "..", "/a//b", "/a\n"])
def test_folders_that_cannot_be(simulator: Simulator, folder: str) -> None:
    with pytest.raises(BadStoreConfiguration, match="image_dir"):
        made(simulator, vmware_store_image_dir=folder)


def test_wrong_password(simulator: Simulator) -> None:
    with pytest.raises(BadStoreConfiguration, match="InvalidLogin") as raised:
        made(simulator, vmware_server_password="sesame-2")
    assert "sesame" not in str(raised.value)


def test_certificates(simulator: Simulator) -> None:
    with pytest.raises(StoreUnreachable, match="certificate"):
        made(simulator, vmware_ca_file=None)
    assert made(simulator, vmware_ca_file=None, vmware_insecure=True).check()
    with pytest.raises(BadStoreConfiguration, match="CA file"):
        made(simulator, vmware_ca_file="/nowhere/ca.pem")
