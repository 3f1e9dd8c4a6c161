"""The connection of the RBD driver to its Ceph cluster, and what Ceph's errors mean.

One handle of librados for each store, and one more for its deletes, shared by all threads and made when first needed:
librados finds monitors and OSDs again by itself. It is given up only when the cluster has shut this client out (a
blocklisted address never works again); the next operation then makes another.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fanlight.errors import (
    BadStoreConfiguration,
    ObjectExists,
    ObjectHasSnapshot,
    ObjectInUse,
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreForbidden,
    StoreFull,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores.patience import Turn

LOG = logging.getLogger(__name__)
PATIENCE = {
    "client_mount_timeout": ("300", "10"),
    "rados_mon_op_timeout": ("0", "10"),
    "rados_osd_op_timeout": ("0", "60"),
}
"""Option of Ceph -> its default (seconds, 0: for ever) and ours. An OSD that failed is replaced within half a minute,
so a minute is enough for any operation; Ceph would wait for a dead cluster for ever."""
QUIET = {"log_to_stderr": "false", "err_to_stderr": "false", "rbd_cache": "false"}
"""Ceph's own log does not go into ours. The cache of librbd is for disks: streams are only copied once more by it."""
ONE_THREAD, TWO_THREADS = 1, 2
"""How many threads of Ceph's library end what was asked of a connection: its `librados_thread_count`.

Where there are two, librbd 16.2 lets an image be closed and freed while the thread that opened it still has to take the
image's lock once more: that thread then hangs for ever, or the process dies (tests/stores/test_rbd_threads.py). So
there is one. Only to unprotect a snapshot librbd itself needs two: one waits for what the other hears of clones.
"""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_LOST = frozenset({errno.ESHUTDOWN, errno.ENOTCONN})
_KNOWN: dict[int, type[StoreError]] = {
    errno.ENOENT: ObjectNotFound,
    errno.EEXIST: ObjectExists,
    errno.EBUSY: ObjectInUse,
    errno.ENOTEMPTY: ObjectHasSnapshot,
    errno.ETIMEDOUT: StoreTimeout,
    **dict.fromkeys(_FULL, StoreFull),
    **dict.fromkeys(_LOST, StoreUnreachable),
}


def section() -> str:
    """The same limits as a part of a ceph.conf, for a connection that another library makes."""
    limits = {name: ours for name, (_, ours) in PATIENCE.items()} | {"librados_thread_count": str(ONE_THREAD)}
    return "\n".join(["", "[global]", *(f"{name} = {value}" for name, value in limits.items()), ""])


def libraries() -> tuple[Any, Any]:
    """Ceph's modules `rados` and `rbd`. Raises BadStoreConfiguration where they are not installed."""
    try:
        import rados
        import rbd
    except ImportError as error:
        raise BadStoreConfiguration(
            f"RBD needs Ceph's python3-rados and python3-rbd (docs/stores/rbd.md): {error}"
        ) from error
    return rados, rbd


def explain(error: Exception, *, writing: bool = False) -> StoreError:
    """What an error of rados or rbd means, by its number; those of their states (closed, not connected) have none."""
    number = abs(getattr(error, "errno", None) or errno.ENOTCONN)
    if number in _DENIED:
        return StoreDenied() if writing else StoreForbidden()
    known = _KNOWN.get(number)
    return known() if known else StoreError(f"Ceph failed: {errno.errorcode.get(number, number)}.")


class Cluster:
    """A cluster as one user. `timeout`: seconds for anything; 0: for ever; negative: as ceph.conf says, or PATIENCE.

    `threads`: ONE_THREAD, or TWO_THREADS for what hangs with one.
    """

    def __init__(self, conf: str, user: str | None, timeout: int, threads: int = ONE_THREAD) -> None:
        self._rados, self.rbd = libraries()
        self._conf, self._user, self._timeout, self._threads = conf, user, timeout, threads
        self._connecting = Turn()
        self._handle: Any = None
        self._fsid = ""

    def configured(self) -> Any:
        """A handle with all its options that is not connected. Raises BadStoreConfiguration."""
        rados = self._rados
        try:
            handle = rados.Rados(rados_id=self._user or None, conffile=self._conf)
            for name, value in {**self._limits(handle), **self._threading(handle), **QUIET}.items():
                handle.conf_set(name, value)
        except (rados.Error, TypeError, ValueError) as error:
            where = self._conf or "where librados looks for it"
            raise BadStoreConfiguration(f"There is no usable ceph.conf ({where}).") from error
        return handle

    def _limits(self, handle: Any) -> dict[str, str]:
        if self._timeout >= 0:
            return dict.fromkeys(PATIENCE, str(self._timeout))
        return {name: ours for name, (default, ours) in PATIENCE.items() if handle.conf_get(name) == default}

    def _threading(self, handle: Any) -> dict[str, str]:
        """librbd raises the first to the second. Ceph before 16 knows no such option: it has one thread."""
        if handle.conf_get("librados_thread_count") is None:
            return {}
        return {"librados_thread_count": str(self._threads), "rbd_op_threads": "1"}

    def handle(self) -> Any:
        """The connected handle. Raises StoreUnreachable, StoreTimeout, BadStoreConfiguration."""
        handle = self._handle
        if handle is None:
            with self._connecting.taken():
                handle = self._handle
                if handle is None:
                    handle = self._handle = self._connect()
        return handle

    def _connect(self) -> Any:
        handle = self.configured()
        try:
            handle.connect()
            self._fsid = handle.get_fsid()
        except self._rados.Error as error:
            raise _unconnected(error) from error
        return handle

    def forget(self) -> None:
        """Connect anew at the next operation. Those that run keep what they have."""
        # Without the turn: whoever waited for that would wait for the others' connecting.
        self._handle = None

    @property
    def fsid(self) -> str:
        """The cluster's id; empty as long as it was never reached."""
        return self._fsid

    @contextmanager
    def pool(self, name: str, missing: StoreError | None = None) -> Iterator[Any]:
        """Ceph's handle of a pool. Raises `missing` (ObjectNotFound) where there is no such pool."""
        handle = self.handle()
        with self.explained():
            try:
                place = handle.open_ioctx(name)
            except self._rados.ObjectNotFound as error:
                raise (missing or ObjectNotFound()) from error
        try:
            yield place
        finally:
            place.close()

    @contextmanager
    def explained(self, *, writing: bool = False) -> Iterator[None]:
        """Ceph's errors leave as a StoreError."""
        try:
            yield
        except (self._rados.Error, self.rbd.Error) as error:
            failure = explain(error, writing=writing)
            if isinstance(failure, StoreUnreachable):
                self.forget()
            raise failure from error

    def asked(self, prefix: str, **more: Any) -> Mapping[str, Any]:
        """A monitor's answer to a command; empty where this user may not ask."""
        with self.explained():
            status, answer, _ = self.handle().mon_command(json.dumps({"prefix": prefix, "format": "json", **more}), b"")
        found: Mapping[str, Any] = json.loads(answer) if status == 0 else {}
        return found

    def room(self, pool: str) -> int | None:
        """Bytes that a pool still takes, by its quota and the cluster's disks, some seconds old; None: unknown."""
        room = [each["stats"]["max_avail"] for each in self.asked("df").get("pools", ()) if each["name"] == pool]
        quota = self.asked("osd pool get-quota", pool=pool)
        if quota.get("quota_max_bytes"):
            room.append(max(0, quota["quota_max_bytes"] - quota.get("current_num_bytes", 0)))
        return min(room, default=None)

    def is_full(self, pool: str) -> bool:
        """Whether writes to a pool wait for room."""
        dump = self.asked("osd dump")
        flags = [each["flags_names"] for each in dump.get("pools", ()) if each["pool_name"] == pool]
        return any(flag.startswith("full") for text in (*flags, dump.get("flags", "")) for flag in text.split(","))

    def data_pool(self, pool: str) -> str:
        """The pool in which librbd puts the bytes of new images of `pool`."""
        return self.handle().conf_get("rbd_default_data_pool") or pool

    def features(self) -> int | None:
        """Features of new images; None: Ceph's defaults. Without layering nobody could clone from an image."""
        return self.rbd.RBD_FEATURE_LAYERING if self.handle().conf_get("rbd_default_features") in ("", "0") else None

    def shut_out(self, watchers: list[Mapping[str, Any]]) -> None:
        """Have the cluster refuse these clients from now on; never ourselves. Raises StoreForbidden."""
        handle = self.handle()
        me = handle.get_instance_id()
        for watcher in watchers:
            if watcher["id"] != me:
                LOG.warning("shutting a dead client out of the Ceph cluster: %s", watcher["addr"])
                with self.explained():
                    handle.blocklist_add(watcher["addr"])


def _unconnected(error: Exception) -> StoreError:
    """Why a cluster cannot be reached: only what an operator has to change is a matter of configuration."""
    number = abs(getattr(error, "errno", None) or 0)
    if number in _DENIED or number in (errno.ENOENT, errno.EINVAL):
        return BadStoreConfiguration("Ceph does not accept this user, or there is no key for it.")
    if number == errno.ETIMEDOUT:
        return StoreTimeout("The Ceph cluster does not answer.")
    return StoreUnreachable("The Ceph cluster cannot be reached.")
