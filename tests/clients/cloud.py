"""A running service as its clients know it: who logs in, with what, and what their programs print."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from glanceclient import Client as GlanceClient
from keystoneauth1.identity import v3
from keystoneauth1.noauth import NoAuth
from keystoneauth1.session import Session
from openstack.connection import Connection

from tests.bed.keystone import PASSWORDS, PROJECTS, Keystone
from tests.bed.programs import Programs
from tests.bed.servers import Server

QCOW2, RAW = "qcow2", "raw"
STORES = ("fast", "slow")
"""The stores of each cloud; the first is the default."""


class Cloud:
    """One service for the users of the test bed. Without Keystone everybody is the same caller, an administrator."""

    def __init__(self, server: Server, folder: Path, keystone: Keystone | None = None, region: str = "") -> None:
        self.server = server
        self.folder = folder
        self.keystone = keystone
        self._region = region
        self._open: list[Any] = []

    @property
    def name(self) -> str:
        return "keystone" if self.keystone else "none"

    def close(self) -> None:
        """Hang up; whoever asks afterwards logs in again."""
        for one in self._open:
            one.close()
        self._open.clear()

    # -- programs

    def openstack(self, user: str, *words: str, code: int = 0) -> Any:
        """What `openstack … -f json` prints, or None where a command prints nothing."""
        programs = self._programs(user, {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": self.server.url})
        shows = words[:2] != ("image", "unset") and words[1] not in ("set", "save", "delete", "unset", "remove")
        out = programs.run("openstack", *words, *(("-f", "json") if shows else ()), code=code)
        return json.loads(out) if shows and code == 0 else None

    def glance(self, user: str, *words: str, code: int = 0) -> str:
        """What `glance` prints. The program needs some token where there is no Keystone."""
        programs = self._programs(user, {"OS_IMAGE_URL": self.server.url, "OS_AUTH_TOKEN": "none"})
        # It would upload whatever its standard input has, be it nothing; so it gets none.
        glance = Path(sys.executable).parent / "glance"
        return programs.run("/bin/sh", "-c", 'exec "$0" "$@" <&-', str(glance), *words, code=code)

    def _programs(self, user: str, alone: dict[str, str]) -> Programs:
        login = self.keystone.environment(user, self._region) if self.keystone else alone
        # Without a home of its own, `glance` would keep the schemas of other services, and `openstack` read settings.
        return Programs({**login, "HOME": str(self.folder)}, self.folder)

    # -- libraries

    def session(self, user: str) -> Session:
        if self.keystone is None:
            session = Session(auth=NoAuth(endpoint=self.server.url))
        else:
            login = v3.Password(
                self.keystone.url,
                username=user,
                password=PASSWORDS.get(user, user),
                project_name=PROJECTS.get(user, user),
                user_domain_id="default",
                project_domain_id="default",
            )
            session = Session(auth=login)
        session.session.trust_env = False
        self._open.append(session.session)
        return session

    def library(self, user: str) -> Any:
        """python-glanceclient as Nova makes one: a session, and the endpoint that the session finds."""
        if self.keystone is None:
            return GlanceClient("2", session=self.session(user), endpoint_override=self.server.url)
        return GlanceClient("2", session=self.session(user), region_name=self._region, interface="public")

    def image_proxy(self, user: str) -> Any:
        """openstacksdk's `Connection.image`, of version 2 of the API."""
        place: dict[str, Any] = {"image_endpoint_override": self.server.url}
        if self.keystone:
            place = {"region_name": self._region}
        connection = Connection(session=self.session(user), **place)
        self._open.append(connection)
        return connection.image

    def project(self, user: str) -> str:
        """The id of the project that a user logs in to."""
        if self.keystone is None:
            return "default"
        found = self.session(user).get_project_id()
        assert found
        return found


class Disks:
    """A raw disk with something in it, and the same disk as qcow2; made by qemu-img."""

    def __init__(self, folder: Path) -> None:
        self.raw, self.qcow2 = folder / "disk.raw", folder / "disk.qcow2"
        qemu_img("create", "-q", "-f", RAW, str(self.raw), "6M")
        with self.raw.open("r+b") as disk:
            for place in (4096, 3 * 1024 * 1024 + 512):
                disk.seek(place)
                disk.write(bytes(range(256)) * 1024)
        qemu_img("convert", "-f", RAW, "-O", QCOW2, str(self.raw), str(self.qcow2))

    def path(self, disk_format: str) -> Path:
        return self.raw if disk_format == RAW else self.qcow2

    def require_same(self, disk_format: str, copy: Path, virtual_size: int | str) -> None:
        """`copy` came back byte for byte, and qemu-img sees the size that the service shows."""
        assert copy.read_bytes() == self.path(disk_format).read_bytes()
        info = json.loads(qemu_img("info", "-f", disk_format, "--output=json", str(copy)))
        assert info["virtual-size"] == int(virtual_size)
        qemu_img("compare", "-q", "-f", disk_format, "-F", RAW, str(copy), str(self.raw))


def qemu_img(*words: str) -> str:
    """Standard output of qemu-img; AssertionError where it fails."""
    done = subprocess.run(["qemu-img", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"qemu-img {' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def rows(text: str) -> list[dict[str, str]]:
    """The lines of a table that `glance` prints, by the names in its head."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def fields(text: str) -> dict[str, str]:
    """A table of properties and values that `glance` prints."""
    return {row["Property"]: row["Value"] for row in rows(text)}
