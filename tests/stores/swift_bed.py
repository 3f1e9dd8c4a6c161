"""The Swift of the test bed, and that of Ceph: accounts, containers and users of one's own, past the driver."""

from __future__ import annotations

import configparser
import functools
import hashlib
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from keystoneclient.v3 import client as keystone
from swiftclient import ClientException
from swiftclient.client import Connection

from fanlight.model import Caller
from tests.bed.databases import needed

DOMAINS: dict[str, Any] = {"user_domain_id": "default", "project_domain_id": "default"}


def small(options: Mapping[str, Any]) -> dict[str, Any]:
    """With segments of 1,024,000 bytes, the least there is."""
    return {**options, "swift_store_large_object_size": 1, "swift_store_large_object_chunk_size": 1}


class Container:
    """A container, as an account's own client sees it."""

    def __init__(self, client: Connection, name: str) -> None:
        self.client, self.name = client, name

    @classmethod
    @contextmanager
    def made(cls, client: Connection) -> Iterator[Container]:
        """A new one, removed with all that is in it."""
        one = cls(client, f"t{uuid.uuid4().hex[:12]}")
        client.put_container(one.name)
        yield one
        one.clear()
        client.close()

    def names(self) -> list[str]:
        return [str(entry["name"]) for entry in self.client.get_container(self.name, full_listing=True)[1]]

    def clear(self) -> None:
        for name in self.names():
            with suppress(ClientException):
                self.client.delete_object(self.name, name)
        self.client.delete_container(self.name)


def own(auth: str = "", user: str = "test:tester", key: str = "testing") -> Connection:
    """An account of auth version 1: of Swift itself, or of Ceph's gateway."""
    return Connection(auth or needed("FANLIGHT_TEST_SWIFT_V1"), user, key, auth_version="1", retries=2)


def reference_file(path: Path, auth: str, user: str, key: str, **more: str) -> str:
    """A `swift_store_config_file` with one account, `ref1`."""
    parser = configparser.ConfigParser(interpolation=None)
    parser["ref1"] = {"auth_address": auth, "user": user, "key": f'"{key}"', **more}
    with path.open("w") as file:
        parser.write(file)
    return str(path)


@functools.cache
def administrator() -> Any:
    """Keystone's client, as the one who may do everything."""
    return keystone_client(_session("admin", "secret", "admin"))


def keystone_client(session: Session) -> Any:
    """Keystone as that user sees it."""
    return keystone.Client(session=session)


def _session(user: str, password: str, project: str) -> Session:
    login = v3.Password(
        needed("FANLIGHT_TEST_KEYSTONE"), username=user, password=password, project_name=project, **DOMAINS
    )
    return Session(auth=login)


@contextmanager
def application_credential(session: Session) -> Iterator[Any]:
    """A new one of that user.

    It is deleted before its user is: with the user, Keystone on SQLite leaves its roles behind, and then refuses the
    next one that gets the same number.
    """
    credentials = keystone_client(session).application_credentials
    made = credentials.create(uuid.uuid4().hex, user=session.get_user_id())
    yield made
    credentials.delete(made.id, user=session.get_user_id())


class User:
    """A user of Keystone in a project of its own."""

    def __init__(self, name: str, password: str, project_id: str) -> None:
        self.name, self.password, self.project, self.project_id = name, password, name, project_id

    @classmethod
    @contextmanager
    def made(cls, hard: str = "/:@%") -> Iterator[User]:
        """A new one, with the role `member`; a `reader` in the same project has the same password.

        `hard`: what the password ends in.
        """
        name, password = f"t{uuid.uuid4().hex[:12]}", f"pass{uuid.uuid4().hex}{hard}"
        admin = administrator()
        project = admin.projects.create(name, "default")
        users = []
        for suffix, role in (("", "member"), ("-reader", "reader")):
            users.append(admin.users.create(name + suffix, domain="default", password=password))
            admin.roles.grant(admin.roles.list(name=role)[0], user=users[-1], project=project)
        yield cls(name, password, project.id)
        for one in (*users, project):
            one.delete()

    def session(self) -> Session:
        return _session(self.name, self.password, self.project)

    def caller(self, session: Session | None = None) -> Caller:
        """As the identity stage makes it: with a token, and the catalogue as the middleware writes it."""
        session = session or self.session()
        access = session.auth.get_access(session)  # type: ignore[union-attr]
        services = [
            {
                "type": service["type"],
                "name": service["name"],
                "endpoints": [
                    {f"{one['interface']}URL": one["url"], "region": one["region"]} for one in service["endpoints"]
                ],
            }
            for service in access.service_catalog.catalog
        ]
        return Caller(
            user_id=access.user_id,
            project_id=access.project_id,
            roles=tuple(access.role_names),
            token=access.auth_token,
            service_catalog=msgspec.json.encode(services).decode(),
        )

    def client(self) -> Connection:
        """Swift as this user sees it."""
        return Connection(session=self.session(), auth_version="3", retries=2)


def everything(client: Connection) -> Sequence[str]:
    """All containers and objects of an account."""
    containers = [str(one["name"]) for one in client.get_account(full_listing=True)[1]]
    return [*containers, *(f"{one}/{name}" for one in containers for name in Container(client, one).names())]


def storage(base: str, project_id: str) -> str:
    """The storage URL of a project behind one of the bed's proxies."""
    return f"{base}/v1/KEY_{project_id}"


def end_token(token: str) -> None:
    """Let Swift forget a token of auth version 1, as if its time had come."""
    host, _, port = needed("FANLIGHT_TEST_SWIFT_MEMCACHED").partition(":")
    key = hashlib.md5(f"AUTH_/token/{token}".encode(), usedforsecurity=False).hexdigest()
    with socket.create_connection((host, int(port)), timeout=10) as wire:
        wire.sendall(f"delete {key}\r\n".encode())
        assert wire.recv(100) == b"DELETED\r\n"
