"""The HTTP store: the reading half of the suite, against nginx."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.bed.callers import NO_TLS
from tests.bed.databases import needed
from tests.stores.conformance import Backend, ReadingConformance, closed_port, silent_port

pytestmark = pytest.mark.services


class Web(Backend):
    type = "http"
    malformed = (
        "http:///no-host",
        "http://user@127.0.0.1/lone-user",
        "http://a:b:c@127.0.0.1/x",
        "http://a:b@c:d@127.0.0.1/x",
        "http://:b@127.0.0.1/x",
        "http://127.0.0.1:port/x",
        "http://127.0.0.1:/x",
        "http://127.0.0.1:99999/x",
        "http://[::1/x",
        "http://[fe80::1%25lo]/x",
        "http://127.0.0.1\\@example.org/x",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nHost: other",
        "http://127.0.0.1\t/x",
        "https:/one-slash",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
    )

    def __init__(self, stack: ExitStack) -> None:
        self._server = needed("FANLIGHT_TEST_HTTPFILES")
        self._stack = stack
        self._client = stack.enter_context(httpx.Client(trust_env=False, timeout=60.0, verify=NO_TLS))

    def options(self) -> Mapping[str, Any]:
        return {
            "https_ca_certificates_file": needed("FANLIGHT_TEST_HTTPFILES_CA"),
            "http_allowed_hosts": ["127.0.0.1"],
        }

    def leftovers(self) -> Sequence[str]:
        return ()

    def seed(self, data: bytes) -> str:
        url = f"{self._server}/files/{uuid.uuid4().hex}"
        assert self._client.put(url, content=data).status_code == 201
        self._stack.callback(self._client.delete, url)
        return url

    def absent(self) -> str:
        return f"{self._server}/files/{uuid.uuid4().hex}"

    def spellings(self, url: str) -> Sequence[str]:
        secure = needed("FANLIGHT_TEST_HTTPFILES_TLS")
        return (
            url.replace("http://", "HTTP://"),
            url + "?signature=a/b%2Bc==&x",
            url + "#fragment",
            url.replace("http://", "http://user:p%40ss@"),
            url.replace(self._server, secure),
            url.replace(self._server, secure.replace("127.0.0.1", "localhost")),
        )

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        """Servers are known only from locations; what the store itself can lose is its proxy."""
        if fault == "down":
            return {**self.options(), "http_proxy_information": {"http": f"127.0.0.1:{closed_port()}"}}
        if fault == "slow":
            proxy = f"127.0.0.1:{self._stack.enter_context(silent_port())}"
            return {**self.options(), "http_proxy_information": {"http": proxy}, "http_read_timeout": 0.3}
        return self.options() if fault == "denied" else "no quota"


@pytest.fixture
def backend() -> Iterator[Backend]:
    with ExitStack() as stack:
        yield Web(stack)


class TestHttp(ReadingConformance):
    pass
