"""Which hosts the HTTP store reads from: none on this machine, its link or a cloud's metadata, however it is spelt."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fanlight.errors import BadStoreConfiguration, MalformedLocation, StoreError, StoreForbidden, StoreUnreachable
from fanlight.stores.addresses import Hosts, is_refused
from fanlight.stores.http import Http
from tests.bed.databases import needed
from tests.stores.listening import BODY, Listener

LOOPBACK = (
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.1",
    "127.0.0.1.",
    "127.255.255.254",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "user:password@127.0.0.1",
    "example.org:x@127.0.0.1",
    "１２７.0.0.1",
    "0",
    "0.0.0.0",
    "0.0.0.1",
    "[::]",
    "[::ffff:0.0.0.0]",
)
OTHERS = (
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "168.63.129.16",
    "255.255.255.255",
    "224.0.0.1",
    "240.0.0.1",
    "[ff02::1]",
    "[fec0::1]",
)


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be connected to, not even to fail."""

    def refuse(_self: socket.socket, place: object) -> NoReturn:
        raise AssertionError(f"it connects to {place}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def store(**options: Any) -> Http:
    made = Http("web", {"https_insecure": False, "http_read_timeout": 5, **options})
    made.configure()
    return made


def read(url: str, **options: Any) -> bytes:
    opened = store(**options).open(url)
    try:
        return b"".join(map(bytes, opened.blocks))
    finally:
        opened.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", LOOPBACK + OTHERS)
def test_refused_by_default(no_connection: None, host: str, scheme: str) -> None:
    """Forbidden; or, for spellings that only some resolvers take, unknown. Never connected."""
    one = store()
    for port in ("", ":9"):
        with pytest.raises((StoreForbidden, StoreUnreachable, MalformedLocation)) as raised:
            one.open(f"{scheme}://{host}{port}/latest/meta-data/")
        with pytest.raises(type(raised.value)):
            one.get_size(f"{scheme}://{host}{port}/latest/meta-data/")
        assert "password" not in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "0", "[::1]", "[::ffff:7f00:1]", "localhost"])
def test_refused_as_forbidden(no_connection: None, host: str) -> None:
    """Those that every resolver takes."""
    with pytest.raises(StoreForbidden):
        store().open(f"http://{host}/")


@pytest.mark.services
@pytest.mark.parametrize("host", ["127.0.0.2", "127.2", "2130706434", "[::1]", "[::ffff:127.0.0.2]", "0", *OTHERS])
@pytest.mark.parametrize("code", [301, 302, 307])
def test_refused_after_a_redirect(host: str, code: int) -> None:
    """The first server may be read from; the one that it leads to may not."""
    odd = needed("FANLIGHT_TEST_HTTPFILES_ODD")
    one = store(http_allowed_hosts=["127.0.0.1"])
    with pytest.raises(StoreForbidden):
        one.open(f"{odd}/to/{code}?http://{host}/latest/meta-data/")
    with pytest.raises(StoreForbidden):
        one.get_size(f"{odd}/to/{code}?http://{host}/latest/meta-data/")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", " 127.0.0.0/8 "),
        ("127.0.0.1", "0.0.0.0/0"),
        ("2130706433", "127.0.0.1"),
        ("[::ffff:7f00:1]", "127.0.0.1"),
        ("localhost", "localhost"),
        ("LocalHost", "LOCALHOST."),
    ],
)
def test_allowed(host: str, allowed: str) -> None:
    with Listener() as here:
        assert read(f"http://{host}:{here.port}/", http_allowed_hosts=["example.org", allowed]) == BODY


@pytest.mark.parametrize("allowed", ["127.0.0.2", "10.0.0.0/8", "::1", "localhost", "[fe80::]"])
def test_allowing_one_allows_no_other(no_connection: None, allowed: str) -> None:
    with pytest.raises(StoreForbidden):
        store(http_allowed_hosts=[allowed]).open("http://127.0.0.1/")


def test_denied_wins() -> None:
    with Listener() as here:
        for denied in ("127.0.0.1", "127.0.0.0/8"):
            with pytest.raises(StoreForbidden):
                read(f"http://127.1:{here.port}/", http_allowed_hosts=["127.0.0.1"], http_denied_hosts=[denied])
        with pytest.raises(StoreForbidden):
            read(f"http://LocalHost.:{here.port}/", http_allowed_hosts=["localhost"], http_denied_hosts=["localhost"])
        assert here.requests == []


def test_private_networks_can_be_denied(no_connection: None) -> None:
    one = store(http_denied_hosts=["10.0.0.0/8", "fd00::/8"])
    for host in ("10.1.2.3", "167838211", "[::ffff:10.1.2.3]", "[64:ff9b::10.1.2.3]", "[fd12::1]"):
        with pytest.raises(StoreForbidden):
            one.open(f"http://{host}/")


@pytest.mark.parametrize("entry", ["", " ", "10.0.0.0/33", "a/b", "10.0.0.1/8", "host:80"])
def test_entries_that_cannot_be(entry: str) -> None:
    for option in ("http_allowed_hosts", "http_denied_hosts"):
        with pytest.raises(BadStoreConfiguration):
            store(**{option: [entry]})


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("8.8.8.8", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("2001:4860::1", False),
        ("fd12:3456::1", False),
        ("64:ff9b::8.8.8.8", False),
        ("::ffff:8.8.8.8", False),
        ("2002:808:808::", False),
        ("127.0.0.1", True),
        ("169.254.0.1", True),
        ("0.1.2.3", True),
        ("::", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("64:ff9b:1::7f00:1", True),
        ("4000::1", True),
    ],
)
def test_addresses(address: str, refused: bool) -> None:
    assert is_refused(ip_address(address)) is refused


@given(some.integers(0, 2**32 - 1))
def test_wrapping_changes_nothing(number: int) -> None:
    """An IPv4 address is judged alike however it is carried in IPv6."""
    plain = is_refused(ip_address(number))
    for text in (f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}", f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}"):
        assert is_refused(ip_address(text)) is plain
    assert is_refused(ip_address(f"2002:{number >> 16:x}:{number & 0xFFFF:x}::")) is plain


# -- names, with a resolver of our own: there is no DNS server here that would lie


class Resolver:
    """Answers for `*.example`, each time with the next of its answers."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_more: object) -> list[Any]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer]


def test_names_are_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the second answer would lead elsewhere, and is never asked for."""
    resolver = Resolver(["127.0.0.1"], ["127.0.0.2"])
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    with Listener() as here:
        assert read(f"http://rebinding.example:{here.port}/", http_allowed_hosts=["127.0.0.1"]) == BODY
        assert here.requests[0][1]["host"] == f"rebinding.example:{here.port}"
    assert resolver.asked == ["rebinding.example"]


def test_one_bad_address_is_enough(monkeypatch: pytest.MonkeyPatch, no_connection: None) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(["8.8.8.8", "127.0.0.1"]))
    with pytest.raises(StoreForbidden):
        store().open("http://both.example/")


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(["127.0.0.77", "127.0.0.1"]))
    with Listener() as here:
        assert read(f"http://several.example:{here.port}/", http_allowed_hosts=["127.0.0.0/8"]) == BODY


def test_unknown_names() -> None:
    with pytest.raises(StoreUnreachable):
        store().open("http://no-such-host.invalid/")


@given(some.text(max_size=30))
def test_any_host_is_judged_or_refused(host: str) -> None:
    """Whatever stands for a host: a StoreError or addresses that are good. (Names of the world are not looked up.)"""
    with pytest.MonkeyPatch.context() as patch:
        real = socket.getaddrinfo

        def numeric(name: str, port: int, **more: Any) -> Any:
            return real(name, port, flags=socket.AI_NUMERICHOST, **more)

        patch.setattr(socket, "getaddrinfo", numeric)
        try:
            found = Hosts().addresses(host, 80)
        except StoreError:
            return
    assert not [address for _, address in found if is_refused(ip_address(address.partition("%")[0]))]
