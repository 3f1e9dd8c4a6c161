"""The Swift store and small servers of a test's own, which redirect, forget connections and answer by halves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fanlight.errors import StoreError, StoreUnreachable
from fanlight.stores import swift_wire
from fanlight.stores.swift import Swift
from tests.stores import swift_bed as bed
from tests.stores.place import STORE, Bytes, pattern

SEGMENT = 1_024_000


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 2  # whoever announces a body and sends none
    server: Proxy

    def do_GET(self) -> None:
        self.server.requests.append((self.command, self.path, self.client_address[1]))
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0 and (block := self.rfile.read(min(left, 65_536))):
            left -= len(block)
        status = self.server.answers.get(self.command, 204)
        if self.path == "/auth/v1.0":
            status = 200
        elif self.command == "HEAD" and self.path.count("/") == 4:
            status = self.server.answers.get("HEAD", 404)
        self.send_response(status)
        self.send_header("X-Storage-Url", f"{self.server.url}/v1/AUTH_test")
        self.send_header("X-Auth-Token", "token")
        if 300 <= status < 400:
            self.send_header("Location", f"{self.server.elsewhere}{self.path}")
        self.send_header(*self.server.length)
        self.end_headers()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def handle(self) -> None:
        super().handle()
        self.server.left.append(self.client_address[1])

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `requests` has it."""


class Proxy(ThreadingHTTPServer):
    """An empty Swift with auth version 1; in a `with` block it listens. `answers`: statuses by method."""

    daemon_threads = True

    def __init__(self, elsewhere: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, int]] = []
        """Method, path, and the client's port."""
        self.answers: dict[str, int] = {}
        self.length = ("Content-Length", "0")
        self.elsewhere = elsewhere
        self.left: list[int] = []
        """Ports of clients whose connections have ended."""
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def is_left(self, port: int) -> bool:
        """Whether that connection ends within a second: sooner than the server gives it up."""
        end = time.monotonic() + 1
        while port not in self.left and time.monotonic() < end:
            time.sleep(0.02)
        return port in self.left

    def __enter__(self) -> Proxy:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


@pytest.fixture
def elsewhere() -> Iterator[Proxy]:
    with Proxy() as one:
        yield one


@pytest.fixture
def proxy(elsewhere: Proxy) -> Iterator[Proxy]:
    with Proxy(elsewhere.url) as one:
        yield one


def driver(proxy: Proxy) -> Swift:
    options = {
        "swift_store_auth_address": f"{proxy.url}/auth/v1.0",
        "swift_store_auth_version": "1",
        "swift_store_user": "test:tester",
        "swift_store_key": "testing",
        "swift_store_container": "images",
    }
    store = Swift(STORE, bed.small(options))
    store.configure()
    store.configure_add()
    return store


# -- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("size", [100_000, SEGMENT + 1], ids=["one", "segments"])
def test_uploads_follow_no_redirect(proxy: Proxy, elsewhere: Proxy, status: int, size: int) -> None:
    """The bytes are gone with the first PUT: elsewhere an empty object would stay, or wait for its body."""
    store, proxy.answers["PUT"] = driver(proxy), status
    began = time.monotonic()
    with pytest.raises(StoreUnreachable, match=rf"redirects \({status}\).*configured") as raised:
        store.add("image", Bytes(pattern(size)), size)
    assert type(raised.value) is StoreUnreachable, "something was left"
    assert time.monotonic() - began < 5
    assert elsewhere.requests == []


@pytest.mark.parametrize("status", [301, 302, 307])
def test_the_token_goes_nowhere_else(proxy: Proxy, elsewhere: Proxy, status: int) -> None:
    store = driver(proxy)
    url = store._url("image", f"{proxy.url}/auth/v1.0")
    proxy.answers.update(dict.fromkeys(("GET", "HEAD", "DELETE"), status))
    asked: list[Callable[[], object]] = [
        lambda: store.open(url),
        lambda: store.get_size(url),
        lambda: store.delete(url),
        lambda: store.add("image", Bytes(b"x"), 1),
        store.check,
    ]
    for ask in asked:
        with pytest.raises(StoreUnreachable, match="redirects"):
            ask()
    proxy.answers["HEAD"] = 200
    with pytest.raises(StoreUnreachable, match="redirects"):
        store.delete(url)
    assert proxy.requests[-1][0] == "DELETE"
    assert elsewhere.requests == []


# -- connections


def test_download_of_an_unknown_size_is_hung_up(proxy: Proxy) -> None:
    """What comes after the head would come for as long as the error is remembered."""
    store = driver(proxy)
    url = store._url("image", f"{proxy.url}/auth/v1.0")
    store.check()  # a login of its own would have no length either
    proxy.answers["GET"], proxy.length = 200, ("Transfer-Encoding", "chunked")
    with pytest.raises(StoreError, match="how large") as raised:
        store.open(url)
    assert proxy.is_left(proxy.requests[-1][2])
    del raised


def test_connections_are_not_kept_for_ever(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall that has forgotten one tells nobody."""
    store = driver(proxy)

    def port() -> int:
        store.check()
        return proxy.requests[-1][2]

    first = port()
    assert port() == first
    monkeypatch.setattr(swift_wire, "IDLE_SECONDS", 0.2)
    time.sleep(0.3)
    second = port()
    assert second != first
    assert proxy.is_left(first)
    assert port() == second
