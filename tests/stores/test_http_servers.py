"""The HTTP store and servers that misbehave: cut, stall, lie about lengths and ranges, redirect anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import (
    MalformedLocation,
    ObjectNotFound,
    RangeNotSatisfiable,
    RangeUnsupported,
    StoreError,
    StoreForbidden,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores import transfer
from fanlight.stores.http import Address, Http
from tests.bed.databases import needed
from tests.stores.conformance import closed_port
from tests.stores.listening import BODY, Listener

pytestmark = pytest.mark.services
SMALL = b"hello world"
LARGE = 1 << 26


def store(**options: Any) -> Http:
    """A store that may read from this machine."""
    usual = {"https_insecure": False, "http_allowed_hosts": ["127.0.0.1"], "http_read_timeout": 30}
    made = Http("web", {**usual, **options})
    made.configure()
    return made


def read(url: str, offset: int = 0, length: int | None = None, **options: Any) -> bytes:
    opened = store(**options).open(url, offset, length)
    try:
        data = b"".join(map(bytes, opened.blocks))
    finally:
        opened.close()
    assert len(data) == opened.size
    return data


@pytest.fixture
def good() -> str:
    return needed("FANLIGHT_TEST_HTTPFILES")


@pytest.fixture
def odd() -> str:
    return needed("FANLIGHT_TEST_HTTPFILES_ODD")


# -- answers that are not what they say


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/cut/0/small", StoreError),
        ("/cut/10/small", StoreError),
        ("/cut/3000000/img64m", StoreError),
        ("/cut/67108863/img64m", StoreError),
        ("/reset/5/small", StoreUnreachable),
        ("/reset/3000000/img64m", StoreUnreachable),
        ("/stall/0/small", StoreTimeout),
        ("/stall/3000000/img64m", StoreTimeout),
        ("/long/small", StoreError),
        ("/long/img64m", StoreError),
        ("/mute", StoreTimeout),
        ("/garbage", StoreError),
        ("/chunked/small", StoreError),
        ("/status/204", MalformedLocation),
        ("/status/304", MalformedLocation),
        ("/status/400", MalformedLocation),
        ("/status/401", MalformedLocation),
        ("/status/403", MalformedLocation),
        ("/status/404", ObjectNotFound),
        ("/status/410", ObjectNotFound),
        ("/status/429", StoreUnreachable),
        ("/status/500", StoreUnreachable),
        ("/status/503", StoreUnreachable),
    ],
)
def test_bad_answers(odd: str, path: str, error: type[StoreError]) -> None:
    seconds = 1 if error is StoreTimeout else 30
    with pytest.raises(error) as raised:
        read(odd + path, http_read_timeout=seconds)
    assert type(raised.value) is error
    assert "refused:" not in str(raised.value), "it shows the server's page"


@pytest.mark.parametrize("path", ["/shifted/small", "/norange/small", "/fewer/small"])
@pytest.mark.parametrize(("offset", "length"), [(2, 4), (2, None), (0, 4)])
def test_wrong_ranges(odd: str, path: str, offset: int, length: int | None) -> None:
    with pytest.raises(StoreError, match="another range"):
        read(odd + path, offset, length)


def test_the_last_block_is_held_back_until_all_is_right(odd: str) -> None:
    """Who reads from us must not see a whole body where the server's was wrong."""
    opened, seen = store().open(odd + "/long/img64m"), [0]
    with pytest.raises(StoreError):
        seen.extend(len(block) for block in opened.blocks)
    opened.close()
    assert 0 < sum(seen) < opened.size


def test_bytes_are_not_decoded(odd: str) -> None:
    assert read(odd + "/packed/small") == SMALL


def test_ranges_of_a_body_without_length(odd: str) -> None:
    assert read(odd + "/chunked/small", 3, 4) == SMALL[3:7]
    with pytest.raises(StoreError):
        read(odd + "/chunked/small", 8, 4)


def test_sizes(odd: str, good: str) -> None:
    one = store()
    assert one.get_size(good + "/files/small") == len(SMALL)
    assert one.get_size(odd + "/blind/small") == len(SMALL)
    assert one.get_size(odd + "/packed/small") == len(SMALL)
    with pytest.raises(StoreError, match="size"):
        one.get_size(odd + "/chunked/small")
    for status, error in ((404, ObjectNotFound), (500, StoreUnreachable), (403, MalformedLocation)):
        with pytest.raises(error):
            one.get_size(f"{odd}/status/{status}")
    with pytest.raises(StoreUnreachable):
        one.get_size(f"http://127.0.0.1:{closed_port()}/x")


# -- servers without ranges


def test_server_without_ranges(good: str) -> None:
    assert read(good + "/norange/small", 3, 4) == SMALL[3:7]
    assert read(good + "/norange/small", 3) == SMALL[3:]
    assert read(good + "/norange/small", 11) == b""
    assert read(good + "/norange/small", 4, 0) == b""
    for offset, length in ((12, None), (11, 1), (12, 0), (0, 12)):
        with pytest.raises(RangeNotSatisfiable):
            read(good + "/norange/small", offset, length)


def test_far_offsets_are_not_fetched_in_vain(good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "SKIP_MOST", 1 << 20)
    whole = read(good + "/files/img64m", 0, (1 << 20) + 10)
    assert read(good + "/norange/img64m", 1 << 20, 10) == whole[-10:]
    with pytest.raises(RangeUnsupported):
        read(good + "/norange/img64m", (1 << 20) + 1, 10)
    assert read(good + "/files/img64m", (1 << 20) + 1, 9) == whole[-9:]


def test_a_slow_server_is_waited_for(good: str) -> None:
    """Three seconds of silence would be too much; five of a trickle, a megabyte in each, are not."""
    assert read(good + "/slow/img64m", 5, 5 << 20, http_read_timeout=3) == read(good + "/files/img64m", 5, 5 << 20)


# -- redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects(good: str, code: int) -> None:
    assert read(f"{good}/{code}/small") == SMALL
    assert read(f"{good}/{code}/small", 3, 4) == SMALL[3:7]
    assert store().get_size(f"{good}/{code}/small") == len(SMALL)


def test_as_many_redirects_as_glance_follows(odd: str, good: str) -> None:
    assert read(odd + "/redirect/4/small") == SMALL
    for url in (odd + "/redirect/5/small", good + "/loop"):
        with pytest.raises(StoreError, match="more than 4 times"):
            read(url)
        with pytest.raises(StoreError, match="more than 4 times"):
            store().get_size(url)


@pytest.mark.parametrize(
    "place",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/small",
        "gopher://127.0.0.1/",
        "vsphere://127.0.0.1/folder/a/b?dsName=a&dcPath=b",
        "http://",
        "http://user@127.0.0.1/lone-user",
        "//",
        "http://127.0.0.1:port/",
        "javascript:alert(1)",
    ],
)
def test_redirects_are_parsed_as_locations(odd: str, place: str) -> None:
    with pytest.raises(MalformedLocation):
        read(f"{odd}/to/302?{place}")


def test_redirects_to_nowhere(odd: str) -> None:
    for url in (odd + "/nolocation", odd + "/to/301?", odd + "/status/300", odd + "/status/305"):
        with pytest.raises(MalformedLocation):
            read(url)


def test_relative_redirects(odd: str, good: str) -> None:
    assert read(odd + "/to/302?/files/small") == SMALL
    assert read(odd + "/to/302?../files/small") == SMALL
    assert read(f"{odd}/to/302?//{good.partition('://')[2]}/files/small") == SMALL


# -- credentials


def test_credentials(good: str) -> None:
    place = good.replace("http://", "http://user:p%40ss@")
    assert read(place + "/auth/small", 3, 4) == SMALL[3:7]
    assert store().get_size(place + "/auth/small") == len(SMALL)
    for url in (good + "/auth/small", place.replace("p%40ss", "another") + "/auth/small"):
        with pytest.raises(MalformedLocation, match="401") as raised:
            read(url)
        assert "another" not in str(raised.value)


def test_credentials_stay_with_their_server() -> None:
    with Listener() as one, Listener() as other:
        one.redirects = {
            "/same": "/end",
            "/away": f"{other.url}/end",
            "/others": f"http://x:y@127.0.0.1:{other.port}/z",
        }
        place = one.url.replace("http://", "http://user:secret@")
        for path in ("/same", "/away", "/others"):
            assert read(place + path) == BODY
        authorized = [(line.split()[1], "authorization" in headers) for line, headers in one.requests]
        assert authorized == [("/same", True), ("/end", True), ("/away", True), ("/others", True)]
        assert [headers.get("authorization") for _, headers in other.requests] == [None, "Basic eDp5"]
        assert not [line for line, _ in one.requests + other.requests if "secret" in line]


def test_addresses_show_no_credentials() -> None:
    address = Address.parse("https://user:sesame@example.org:8443/a?b=c#d")
    assert address.url == "https://user:sesame@example.org:8443/a?b=c"
    assert "sesame" not in f"{address!r} {address} {[address]}"
    assert address.shown == "https://example.org:8443/a?b=c"
    assert Address.parse("http://[2001:DB8::1]:80/ä b".replace(" ", "%20")).url == "http://[2001:db8::1]:80/%C3%A4%20b"
    assert Address.parse("HTTP://EXAMPLE.org").url == "http://example.org/"
    assert Address.parse("http://müller.example/").host == "xn--mller-kva.example"


# -- the request, and proxies


def test_the_request(good: str) -> None:
    with Listener() as one:
        read(f"{one.url}/a%20b?x=1&y=/%2F")
        line, headers = one.requests[0]
    assert line == "GET /a%20b?x=1&y=/%2F HTTP/1.1"
    assert headers["host"] == f"127.0.0.1:{one.port}"
    assert headers["accept-encoding"] == "identity"
    assert "range" not in headers


def test_proxy_for_http(good: str) -> None:
    with Listener() as proxy:
        information = {"http": f"http://me:word@127.0.0.1:{proxy.port}"}
        assert read("http://mirror.invalid/image?x=1", http_proxy_information=information) == BODY
        line, headers = proxy.requests[-1]
        assert line == "GET http://mirror.invalid/image?x=1 HTTP/1.1"
        assert headers["host"] == "mirror.invalid"
        assert headers["proxy-authorization"] == "Basic bWU6d29yZA=="
        assert "authorization" not in headers
        store(http_proxy_information=information).check()
        count = len(proxy.requests)
        # What may not be reached directly may not be reached through the proxy either.
        with pytest.raises(StoreForbidden):
            read("http://169.254.169.254/", http_proxy_information=information)
        assert len(proxy.requests) == count


def test_proxy_for_https() -> None:
    tls, ca = needed("FANLIGHT_TEST_HTTPFILES_TLS"), needed("FANLIGHT_TEST_HTTPFILES_CA")
    with Listener() as proxy:
        information = {"https": f"127.0.0.1:{proxy.port}"}
        options = {"http_proxy_information": information, "https_ca_certificates_file": ca}
        assert read(tls + "/files/small", 3, 4, **options) == SMALL[3:7]
        assert [line.split()[:2] for line, _ in proxy.requests] == [["CONNECT", tls.partition("://")[2]]]
        with pytest.raises(StoreUnreachable, match="certificate"):
            read(tls + "/files/small", http_proxy_information=information)


def test_proxies_that_cannot_be(tmp_path: Path) -> None:
    for value in ("https://127.0.0.1:1", "me@proxy:1", "proxy:port", "http://"):
        with pytest.raises(StoreError, match="http_proxy_information") as raised:
            store(http_proxy_information={"http": value})
        assert value not in str(raised.value)
