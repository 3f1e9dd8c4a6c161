"""Accounts of Swift in files that were written for Glance: they are read as Glance reads them."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from fanlight.errors import StoreForbidden
from fanlight.model import Caller
from fanlight.stores import swift_accounts
from fanlight.stores.swift import Swift
from fanlight.stores.swift_accounts import Credentials, Service, log_in, references
from fanlight.stores.swift_address import Address
from fanlight.stores.swift_wire import Grant


def key_in(folder: Path, text: str) -> str:
    """The key of a section that has it in this spelling; empty where the section is left out."""
    path = folder / "swift.conf"
    path.write_text(f"[ref1]\nauth_address = http://keystone/v3\nuser = service:glance\nkey = {text}\n")
    found = references({"swift_store_config_file": str(path)})
    return found["ref1"].key if found else ""


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("plain", "plain"),
        ('"quoted"', "quoted"),
        ("'quoted'", "quoted"),
        ("ends'", "ends'"),
        ('in"side"', 'in"side"'),
        ("\"'both'\"", "'both'"),
        ("50%%off", "50%off"),
        ("%%", "%"),
        # Glance takes none of these.
        ("50%off", "50%off"),
        ("%(nothing)s", "%(nothing)s"),
        ('"%"', "%"),
    ],
)
def test_quotes_and_percent_signs(tmp_path: Path, text: str, key: str) -> None:
    assert key_in(tmp_path, text) == key


@pytest.mark.parametrize("text", ["'hidden", "\"hidden'", "'"])
def test_a_quote_that_is_not_closed(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert key_in(tmp_path, text) == ""
    assert "section ref1 of" in caplog.text
    assert "hidden" not in caplog.text


@pytest.mark.parametrize(
    ("version", "address", "used"),
    [
        ("3", "http://keystone/v3", "keystone"),
        ("2", "http://keystone/v3", "keystone"),
        ("2", "http://keystone:5000", "keystone"),
        ("2", "http://keystone/v2.0/", "swiftclient"),
        ("1", "http://swift/auth/v1.0", "swiftclient"),
    ],
)
def test_versions(monkeypatch: pytest.MonkeyPatch, version: str, address: str, used: str) -> None:
    asked: list[str] = []

    class Client:
        @staticmethod
        def get_auth(*_args: object, **_more: object) -> tuple[str, str]:
            asked.append("swiftclient")
            return "http://swift/v1", "token"

    def keystone(_one: Credentials, _service: Service) -> Grant:
        asked.append("keystone")
        return Grant("http://swift/v1", "token")

    monkeypatch.setattr(swift_accounts, "swiftclient", Client)
    monkeypatch.setattr(swift_accounts, "keystone", keystone)
    log_in(Credentials(auth_address=address, user="a:b", key="c", auth_version=version), Service.of({}))
    assert asked == [used]


@pytest.mark.parametrize(
    ("seed", "start"),
    [
        (1, "f"),
        (8, "fdae39a1"),
        (10, "fdae39a1-ba"),
        (12, "fdae39a1-bac5"),
        (13, "fdae39a1-bac5-"),
        (16, "fdae39a1-bac5-4238"),
        (32, "fdae39a1-bac5-4238-aba4-69bcc726e848"),
    ],
)
def test_containers_by_seed(seed: int, start: str) -> None:
    """As Glance counts: the dashes among so many characters come free, those behind them do not."""
    store = Swift("s", {"swift_store_multiple_containers_seed": seed})
    store.configure()
    assert store._container_of("FDAE39A1-bac5-4238-aba4-69bcc726e848") == f"glance_{start}"


CATALOGUES = {
    "as the middleware writes it": [
        {"publicURL": "https://public/v1/AUTH_p", "internalURL": "http://internal:8080/v1/AUTH_p", "region": "One"},
        {"publicURL": "https://two/v1/AUTH_p", "region": "Two"},
    ],
    "as Keystone has it": [
        {"interface": "public", "url": "https://public/v1/AUTH_p", "region": "One"},
        {"interface": "internal", "url": "http://internal:8080/v1/AUTH_p", "region": "One"},
        {"interface": "public", "url": "https://two/v1/AUTH_p", "region": "Two"},
    ],
}


@pytest.mark.parametrize("endpoints", CATALOGUES.values(), ids=CATALOGUES)
def test_images_of_another_interface_or_region(endpoints: list[dict[str, str]]) -> None:
    """They were stored there before the options were changed. New ones go where the options say."""
    store = Swift("s", {"swift_store_multi_tenant": True, "swift_store_region": "One"})
    store.configure()
    catalogue = [{"type": "identity", "endpoints": [{"publicURL": "https://keystone/v3"}]}]
    catalogue.append({"type": "object-store", "endpoints": endpoints})
    caller = Caller(project_id="p", token="secret", service_catalog=msgspec.json.encode(catalogue).decode())
    assert store._writing_link(caller).storage() == "https://public/v1/AUTH_p"
    for place in ("swift+https://public", "swift+http://internal:8080", "swift+https://two"):
        link = store._link(Address.parse(f"{place}/v1/AUTH_p/c/o"), caller)
        assert link.storage() == place.removeprefix("swift+") + "/v1/AUTH_p"
    for place in ("swift+https://internal:8080", "swift+https://keystone", "swift+https://elsewhere"):
        with pytest.raises(StoreForbidden):
            store._link(Address.parse(f"{place}/v1/AUTH_p/c/o"), caller)
