"""The Ceph of the test bed: pools and users of one's own, and everything that Ceph's other clients do to images."""

from __future__ import annotations

import functools
import importlib
import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bed.databases import needed


def _module(name: str) -> Any:
    """One of Ceph's, which are there once the test bed has Ceph: without it, tests can still be collected."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


rados, rbd = _module("rados"), _module("rbd")

CONSTANT = frozenset({"rbd_directory", "rbd_info", "rbd_trash", "rbd_children"})
"""RADOS objects that a pool keeps once it has had an image."""


@functools.cache
def administrator(threads: int = 1) -> Any:
    """A connection that may do everything; one for the whole process. `threads`: fanlight/stores/rbd_cluster.py."""
    assert rados, "Ceph's modules are not installed: scripts/bed up ceph"
    cluster = rados.Rados(conffile=needed("FANLIGHT_TEST_CEPH_CONF"), name="client.admin")
    cluster.conf_set("librados_thread_count", str(threads))
    cluster.connect()
    return cluster


def asked(prefix: str, **arguments: Any) -> bytes:
    """A command to the monitor."""
    status, answer, words = administrator().mon_command(json.dumps({"prefix": prefix, **arguments}), b"")
    assert status == 0, (prefix, words)
    return bytes(answer)


class Pool:
    """A pool, and a user who may do in it what docs/stores/rbd.md says, and nothing anywhere else."""

    def __init__(self, name: str, key: str, folder: Path) -> None:
        self.name = self.user = name
        self.key = key
        self._folder = folder

    @classmethod
    @contextmanager
    def made(cls, folder: Path, quota: int = 0) -> Iterator[Pool]:
        """A new one, removed at the end. `quota`: bytes."""
        name = f"t{uuid.uuid4().hex[:12]}"
        asked("osd pool create", pool=name, pg_num=1, pgp_num=1)
        asked("osd pool application enable", pool=name, app="rbd")
        with administrator().open_ioctx(name) as place:
            rbd.RBD().pool_init(place, True)
        caps = ["mon", "profile rbd", "osd", f"profile rbd pool={name}"]
        asked("auth get-or-create", entity=f"client.{name}", caps=caps)
        key = json.loads(asked("auth get-key", entity=f"client.{name}", format="json"))["key"]
        pool = cls(name, key, folder)
        if quota:
            pool.limit(quota)
            pool.wait_for_statistics()
        try:
            yield pool
        finally:
            asked("osd pool delete", pool=name, pool2=name, yes_i_really_really_mean_it=True)
            asked("auth del", entity=f"client.{name}")

    def limit(self, quota: int) -> None:
        """Bytes that the pool may hold."""
        asked("osd pool set-quota", pool=self.name, field="max_bytes", val=str(quota))

    def wait_for_statistics(self) -> None:
        """A new pool has none for a few seconds."""
        request = json.dumps({"prefix": "osd pool get-quota", "pool": self.name, "format": "json"})
        deadline = time.monotonic() + 60
        while administrator().mon_command(request, b"")[0]:
            assert time.monotonic() < deadline, "no statistics of a new pool"
            time.sleep(0.1)

    def wait_until_full(self) -> None:
        """Ceph notices seconds later that a quota is exceeded."""
        deadline = time.monotonic() + 90
        while True:
            pools = json.loads(asked("osd dump", format="json"))["pools"]
            if [each for each in pools if each["pool_name"] == self.name and "full" in each["flags_names"]]:
                return
            assert time.monotonic() < deadline, "the pool does not become full"
            time.sleep(0.2)

    def options(self, monitors: str | None = None) -> dict[str, Any]:
        """Options of a store here. `monitors`: where it believes the monitors to be."""
        conf = Path(needed("FANLIGHT_TEST_CEPH_CONF")).read_text()
        ring = self._folder / f"{self.name}.keyring"
        # All users' keys in one file, as it is where several stores have one configuration.
        rings = sorted(self._folder.glob("*.keyring"))
        ring.write_text(f"[client.{self.user}]\n\tkey = {self.key}\n")
        every = self._folder / "all.keys"
        every.write_text("".join(each.read_text() for each in {*rings, ring}))
        conf = re.sub(r"(?m)^keyring = .*$", f"keyring = {every}", conf, count=1)
        if monitors:
            conf = re.sub(r"(?m)^mon_host = .*$", f"mon_host = {monitors}", conf)
        file = self._folder / f"{self.name}{'-elsewhere' if monitors else ''}.conf"
        file.write_text(conf)
        return {"rbd_store_ceph_conf": str(file), "rbd_store_user": self.user, "rbd_store_pool": self.name}

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """The pool for the administrator."""
        with administrator().open_ioctx(self.name) as place:
            yield place

    def unprotect(self, name: str) -> None:
        """Let the snapshot of an image be removed."""
        with administrator(threads=2).open_ioctx(self.name) as place, rbd.Image(place, name) as image:
            image.unprotect_snap("snap")

    def objects(self) -> list[str]:
        """Every RADOS object in it, but those that are always there."""
        with self.opened() as place:
            return sorted(each.key for each in place.list_objects() if each.key not in CONSTANT)

    def images(self) -> list[str]:
        with self.opened() as place:
            return sorted(rbd.RBD().list(place))


@contextmanager
def cloned(pool: Pool, url: str, form: int = 1) -> Iterator[None]:
    """A clone, as Nova makes one for a server. `form`: of Ceph's two; only the first needs a protected snapshot."""
    _, _, name, snapshot = url.removeprefix("rbd://").split("/")
    administrator().conf_set("rbd_default_clone_format", str(form))
    with pool.opened() as place:
        rbd.RBD().clone(place, name, snapshot, place, f"{name}-disk", features=rbd.RBD_FEATURE_LAYERING)
        try:
            yield
        finally:
            rbd.RBD().remove(place, f"{name}-disk")
