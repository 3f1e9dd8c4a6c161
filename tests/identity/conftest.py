"""A real server for each mode of identity: uvicorn, a tiny Starlette application that answers with the Caller."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import uvicorn
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from keystoneclient.v3 import client as keystone_client
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fanlight.errors import FanlightError
from fanlight.http import faults
from fanlight.http.identity import Identity, RequestHead, open_identity
from fanlight.model import Caller
from fanlight.settings import IdentitySettings, Settings

from .relay import Relay


class RoleAdmin:
    """The default of `context_is_admin`: role admin."""

    def is_admin(self, caller: Caller) -> bool:
        return "admin" in caller.roles


Open = Callable[..., Identity]
Serve = Callable[[Identity], str]
Login = Callable[..., Session]


@pytest.fixture(scope="session")
def open_mode() -> Open:
    """open_mode(mode, keystone={…}, **options of the group) -> Identity."""

    def build(mode: str, keystone: dict[str, Any] | None = None, **options: Any) -> Identity:
        return open_identity(
            Settings(identity=IdentitySettings(mode=mode, **options), keystone=keystone or {}), RoleAdmin()
        )

    return build


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """serve(identity) -> base URL of a server that answers every request with its Caller, or with the fault.

    The servers of a module end together: ending one takes a tenth of a second.
    """
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(identity: Identity) -> str:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(_application(identity), proxy_headers=False, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread))
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline
            assert thread.is_alive()
            time.sleep(0.005)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join(10)
        assert not thread.is_alive()


def _application(identity: Identity) -> Starlette:
    async def answer(request: Request) -> Response:
        head = RequestHead.from_scope(request.scope)
        try:
            caller = await run_in_threadpool(identity.identify, head)
        except FanlightError as error:
            fault = faults.answer(error, head)
            headers = {name.decode(): value.decode() for name, value in fault.headers}
            return Response(fault.body, fault.status, headers)
        return Response(msgspec.json.encode(caller), media_type="application/json")

    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    return Starlette(routes=[Route("/{path:path}", answer, methods=methods)])


def needed(name: str) -> str:
    value = os.environ.get(name)
    assert value, f"{name} is not set: these tests need the services of the test bed (make test)"
    return value


@pytest.fixture(scope="module")
def keystone_url() -> str:
    return needed("FANLIGHT_TEST_KEYSTONE")


@pytest.fixture(scope="module")
def memcached() -> str:
    return needed("FANLIGHT_TEST_MEMCACHED")


@pytest.fixture(scope="module")
def options(keystone_url: str, memcached: str) -> dict[str, Any]:
    """[keystone_authtoken] as an operator writes it."""
    return {
        "auth_type": "password",
        "auth_url": keystone_url,
        "www_authenticate_uri": keystone_url,
        "username": "glance",
        "password": "glance",
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
        "memcached_servers": memcached,
    }


@pytest.fixture(scope="module")
def login(keystone_url: str) -> Login:
    def start(name: str, password: str | None = None, **scope: Any) -> Session:
        scope = scope or {"project_name": {"admin": "admin", "glance": "service"}.get(name, name)}
        if "project_name" in scope:
            scope["project_domain_id"] = "default"
        password = password or {"admin": "secret"}.get(name, name)
        plugin = v3.Password(keystone_url, username=name, password=password, user_domain_id="default", **scope)
        return Session(auth=plugin)

    return start


@pytest.fixture(scope="module")
def admin(login: Login) -> Any:
    return keystone_client.Client(session=login("admin"))


@pytest.fixture
def relay(keystone_url: str) -> Iterator[Relay]:
    relay = Relay(keystone_url)
    yield relay
    relay.close()


@pytest.fixture
def through(options: dict[str, Any], relay: Relay) -> dict[str, Any]:
    """The options, asking the relay."""
    return {**options, "auth_url": relay.url, "www_authenticate_uri": relay.url}
