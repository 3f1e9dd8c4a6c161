"""The HTTP store and certificates: with a CA, without one, and not verified at all, as Glance does by default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import BadStoreConfiguration, StoreUnreachable
from fanlight.settings.drivers import defaults
from fanlight.stores.http import Http
from tests.stores.listening import BODY, Listener
from tests.stores.relay import certificate_in, serving

HERE = {"http_allowed_hosts": ["127.0.0.0/8"], "http_connect_timeout": 10}


def made(**options: Any) -> Http:
    store = Http("web", {**defaults("http"), **HERE, **options})
    store.configure()
    return store


def read(store: Http, url: str) -> bytes:
    opened = store.open(url)
    try:
        return b"".join(map(bytes, opened.blocks))
    finally:
        opened.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_in(tmp_path_factory.mktemp("tls"))


def served(certificate: Path, host: str) -> Listener:
    return Listener(host, serving(certificate))


@pytest.fixture
def server(certificate: Path) -> Iterator[Listener]:
    with served(certificate, "127.0.0.1") as one:
        yield one


def test_with_the_ca(server: Listener, certificate: Path) -> None:
    for insecure in (True, False):
        store = made(https_ca_certificates_file=str(certificate), https_insecure=insecure)
        assert read(store, f"{server.url}/x") == BODY
        assert store.get_size(f"{server.url}/x") == len(BODY)


def test_without_the_ca(server: Listener) -> None:
    with pytest.raises(StoreUnreachable, match="certificate"):
        read(made(https_insecure=False), f"{server.url}/x")
    assert server.requests == []


def test_not_verified_with_a_warning(server: Listener, caplog: pytest.LogCaptureFixture) -> None:
    store = made()
    assert [record.levelname for record in caplog.records if "certificates" in record.message] == ["WARNING"]
    assert read(store, f"{server.url}/x") == BODY


def test_no_warning_where_they_are_verified(certificate: Path, caplog: pytest.LogCaptureFixture) -> None:
    made(https_insecure=False)
    made(https_ca_certificates_file=str(certificate))
    assert caplog.records == []


def test_certificate_of_another_host(certificate: Path) -> None:
    with served(certificate, "127.0.0.9") as other:
        with pytest.raises(StoreUnreachable, match="certificate"):
            read(made(https_ca_certificates_file=str(certificate)), f"{other.url}/x")
        assert other.requests == []


def test_server_that_does_not_speak_tls(certificate: Path) -> None:
    with Listener() as plain, pytest.raises(StoreUnreachable):
        read(made(https_ca_certificates_file=str(certificate)), f"https://127.0.0.1:{plain.port}/x")


def test_ca_files_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "text").write_text("no certificate")
    for name in ("missing", "empty", "text", "."):
        with pytest.raises(BadStoreConfiguration, match="CA file"):
            made(https_ca_certificates_file=str(tmp_path / name))
