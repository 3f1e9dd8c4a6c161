"""Mode keystone while Keystone or memcached is away: 503 in bounded time, and what is cached goes on."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .asking import ask, head, token_of
from .conftest import Login, Open, Serve
from .relay import Relay

# WebOb, which keystonemiddleware uses, imports a module that Python 3.13 drops.
pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning")]


def test_keystone_stopped_is_503_and_not_401(
    open_mode: Open, serve: Serve, through: dict[str, Any], relay: Relay, login: Login
) -> None:
    base = serve(open_mode("keystone", through))
    cached, fresh = token_of(login("demo")), token_of(login("other"))
    assert ask(base, cached).status_code == 200
    relay.stop()
    started = time.monotonic()
    answer = ask(base, fresh)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert time.monotonic() - started < 5
    assert ask(base, cached).status_code == 200, "what is cached is still served"
    refused = ask(base, None)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == f'Keystone uri="{relay.url}"'


def test_keystone_never_there_is_503(open_mode: Open, serve: Serve, through: dict[str, Any], relay: Relay) -> None:
    relay.stop()
    base = serve(open_mode("keystone", through))
    assert ask(base, "anything").status_code == 503
    assert ask(base, None).status_code == 401


def test_keystone_hanging_is_503_in_bounded_time(
    open_mode: Open, serve: Serve, through: dict[str, Any], relay: Relay, login: Login
) -> None:
    base = serve(open_mode("keystone", {**through, "http_connect_timeout": "1", "http_request_max_retries": "0"}))
    cached = token_of(login("demo"))
    assert ask(base, cached).status_code == 200
    relay.hang()
    statuses: list[tuple[int, float]] = []

    def client(number: int) -> None:
        started = time.monotonic()
        statuses.append((ask(base, f"token{number}").status_code, time.monotonic() - started))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    started = time.monotonic()
    assert ask(base, cached).status_code == 200
    assert time.monotonic() - started < 1, "a cached token does not queue behind those that wait"
    for thread in threads:
        thread.join()
    assert {status for status, _ in statuses} == {503}
    assert max(seconds for _, seconds in statuses) < 10
    relay.answering.set()
    assert ask(base, token_of(login("other"))).status_code == 200


def test_a_service_user_with_a_wrong_password_is_our_fault(
    open_mode: Open, serve: Serve, options: dict[str, Any], login: Login
) -> None:
    base = serve(open_mode("keystone", {**options, "password": "wrong"}))
    assert ask(base, token_of(login("demo"))).status_code == 503


@pytest.fixture
def own_memcached() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A memcached that a test may stop."""
    program = shutil.which("memcached")
    assert program, "memcached is not installed; the test bed brings it"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "16", *user])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    yield f"127.0.0.1:{port}", process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait(10)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_memcached_stopped_costs_only_time(
    open_mode: Open,
    through: dict[str, Any],
    relay: Relay,
    login: Login,
    own_memcached: tuple[str, subprocess.Popen[bytes]],
    how: signal.Signals,
) -> None:
    address, process = own_memcached
    identity = open_mode("keystone", {**through, "memcached_servers": address, "memcache_pool_socket_timeout": "1"})
    token = token_of(login("demo"))
    for _ in range(2):
        assert identity.identify(head(token)).token == token
    assert relay.validations == 1
    process.send_signal(how)
    # The signal reaches memcached's threads a moment later.
    time.sleep(0.2)
    started = time.monotonic()
    for _ in range(3):
        assert identity.identify(head(token)).token == token
    assert relay.validations == 4
    assert time.monotonic() - started < 6
