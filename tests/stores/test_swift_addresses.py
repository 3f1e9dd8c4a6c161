"""URLs of objects in Swift: every form that Glance has written is read, written again and shows nothing."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanlight.errors import MalformedLocation
from fanlight.stores.swift_address import SCHEMES, Address, scheme_and_place

PLAIN = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=40)
SECRET = st.text(min_size=1, max_size=40).filter(lambda text: not any("\ud800" <= one <= "\udfff" for one in text))
HOSTS = st.sampled_from(["swift.example.com", "10.0.0.1:5000", "[2001:db8::1]:8080", "keystone.example.com/identity"])
PATHS = st.sampled_from(["", "/v3", "/v2.0", "/v1/AUTH_abc", "/auth/v1.0"])


@given(st.sampled_from(SCHEMES[:3]), SECRET, SECRET, HOSTS, PATHS, PLAIN, PLAIN)
def test_credentials_come_back(
    scheme: str, user: str, key: str, host: str, path: str, container: str, name: str
) -> None:
    address = Address(scheme=scheme, place=host + path, container=container, name=name, user=user, key=key)
    assert Address.parse(address.url) == address
    assert repr(address) == str(address) == f"<Address {scheme} {container}/{name}>"


@given(st.sampled_from(SCHEMES[:3]), HOSTS, PATHS, PLAIN, PLAIN)
def test_storage_urls_come_back(scheme: str, host: str, path: str, container: str, name: str) -> None:
    url = f"{scheme}://{host}{path}/{container}/{name}"
    address = Address.parse(url)
    assert (address.url, address.user, address.key) == (url, "", "")
    assert address.endpoint == f"{'http' if scheme == 'swift+http' else 'https'}://{host}{path}"


@given(PLAIN, PLAIN, PLAIN)
def test_references_come_back(reference: str, container: str, name: str) -> None:
    url = f"swift+config://{reference}/{container}/{name}"
    address = Address.parse(url)
    assert (address.place, address.container, address.name, address.url) == (reference, container, name, url)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_malformed(text: str) -> None:
    for url in (text, f"swift://{text}", f"swift+http://u:k@{text}/c/o", f"swift+config://{text}"):
        try:
            address = Address.parse(url)
        except MalformedLocation:
            continue
        assert Address.parse(address.url) == address


@pytest.mark.parametrize(
    ("url", "user", "key", "endpoint"),
    [
        ("swift://u:k@host/v1/c/o", "u", "k", "https://host/v1"),
        ("swift://a:u:k@host/v1/c/o", "a:u", "k", "https://host/v1"),
        ("swift+https://a%3Au:k%40y@host:5000/v3/c/o", "a:u", "k@y", "https://host:5000/v3"),
        ("swift+http://a%3Au:k/y@host/v3/c/o", "a:u", "k/y", "http://host/v3"),
        ("swift+http://a:u%3Ax:k@host/c/o", "a:u:x", "k", "http://host"),
        ("SWIFT+HTTP://a:u:k@host/v2.0/c/o", "a:u", "k", "http://host/v2.0"),
    ],
)
def test_forms_of_credentials(url: str, user: str, key: str, endpoint: str) -> None:
    address = Address.parse(url)
    assert (address.user, address.key, address.endpoint) == (user, key, endpoint)
    assert (address.container, address.name) == ("c", "o")


@pytest.mark.parametrize(
    "url", ["swift+http://a:b@ho st/c/o", "swift+http://a:b@host/v 3/c/o", "swift+config://re f/c/o"]
)
def test_blanks_elsewhere_than_in_names(url: str) -> None:
    with pytest.raises(MalformedLocation):
        Address.parse(url)


def test_endpoints_that_are_none() -> None:
    assert scheme_and_place("HTTPS://host:5000/v3/") == ("swift+https", "host:5000/v3")
    for endpoint in ("host:5000/v3", "ftp://host", "http://", "http://host/?x", "//"):
        with pytest.raises(ValueError, match=re.escape(endpoint)):
            scheme_and_place(endpoint)
