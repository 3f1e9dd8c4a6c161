"""A volume that os-brick has attached, as a file of ours: who may open it, how large it is, and that bytes are on it.

What os-brick gives is the path of a block device, the path of a file on a share, or (Ceph) a file of its own.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from fanlight.errors import BadStoreConfiguration, ObjectDamaged, StoreTimeout
from fanlight.stores import rbd_cluster

LOG = logging.getLogger(__name__)
GROWN_SECONDS = 20.0
"""How long a device may take to show the size that its volume has (PowerFlex after an extension)."""
Run = Callable[..., object]
"""Runs a command as root."""


def require_plain(connection: Mapping[str, Any], mode: str) -> None:
    """Refuse a volume whose file is not simply its bytes. Raises ObjectDamaged where it was to be read (that may pass:
    a snapshot can be deleted), BadStoreConfiguration where it is a new one.

    On a share, Cinder keeps volumes as qcow2 where it is told to, and turns one into qcow2 for its first snapshot; the
    file of an encrypted one is LUKS. Read as they are, both would be bytes that nobody has stored. (Encrypted block
    devices hold what is written to them, and Cinder's key for them is not used: glance_store's way.)
    """
    refusal = ObjectDamaged if mode == "ro" else BadStoreConfiguration
    kind = str(connection.get("driver_volume_type")).lower()
    if connection.get("format") not in (None, "raw"):
        raise refusal(
            f"The volume's file is {connection['format']}, not raw: it has a snapshot, or Cinder makes it so."
        )
    if kind == "nfs" and connection.get("encrypted"):
        raise refusal("Encrypted volumes on NFS cannot be used.")


def limit_ceph(brick: Any) -> None:
    """Have os-brick's connection to Ceph end in time, and keep librbd's order: rbd_cluster.py says what that takes.

    os-brick writes a ceph.conf for each connection, and offers no way to set an option in it.
    """
    write = brick._create_ceph_conf

    def with_limits(*arguments: Any) -> Any:
        path = write(*arguments)
        with open(path, "a") as file:
            file.write(rbd_cluster.section())
        return path

    brick._create_ceph_conf = with_limits


def borrow(path: Any, mode: str, run: Run) -> int | None:
    """Make a file ours that we may not open; whose it was, for `hand_back`. None: we may open it as it is."""
    wanted = os.R_OK if mode == "ro" else os.R_OK | os.W_OK
    if not isinstance(path, str) or os.access(path, wanted, effective_ids=True):
        return None
    owner = os.stat(path).st_uid
    run("chown", str(os.geteuid()), path)
    return owner


def hand_back(path: str, owner: int, run: Run) -> None:
    """Undo `borrow`. A failure is logged: the bytes are safe."""
    try:
        run("chown", str(owner), path)
    except Exception as error:
        LOG.warning("%s could not be given back to its owner: %s", path, type(error).__name__)


def opened(path: Any, mode: str) -> Any:
    """A file of one's own; Ceph's connector gives one already."""
    if not isinstance(path, str):
        return path
    return open(path, "rb" if mode == "ro" else "r+b", buffering=0)


def await_size(file: Any, path: Any, size: int) -> None:
    """Until a block device has `size` bytes. Raises StoreTimeout."""
    if not is_device(path):
        return  # a file on a share grows as it is written
    limit, pause = time.monotonic() + GROWN_SECONDS, 0.1
    while (found := file.seek(0, os.SEEK_END)) < size:
        if time.monotonic() > limit:
            raise StoreTimeout(f"The device has {found} bytes, its volume at least {size}.")
        time.sleep(pause)
        pause *= 2


def is_device(path: Any) -> bool:
    """Whether it is a block device of this machine."""
    return isinstance(path, str) and path.startswith("/dev/")


def sync(file: Any, path: Any) -> None:
    """Have what was written on the volume. A full disk or a lost path may be told only here. Raises OSError."""
    file.flush()
    if isinstance(path, str):  # librbd's file has no descriptor: its flush has done it
        os.fsync(file.fileno())
