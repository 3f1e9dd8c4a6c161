"""Volumes attached to this machine by os-brick, as files: the half of the Cinder store that moves bytes.

os-brick and the libraries below read oslo.config's global configuration; this module fills it for them, and is the only
one that does. They need root's rights for what they do to the machine: as root they have them, others need a sudo rule
for `privsep-helper` (docs/stores/cinder.md).
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from fanlight.errors import BadStoreConfiguration, StoreError, StoreUnreachable
from fanlight.stores import cinder_devices as devices
from fanlight.stores.cinder_account import explained

LOG = logging.getLogger(__name__)
MOUNT_POINT = "glance_store"
"""What Cinder is told of where the volume is used; not a path."""
LONGEST_PAUSE = 10.0
TURNS = 64
"""Volumes that are attached and detached at the same time, by chance of their ids."""
_PREPARED = threading.Lock()


class _Attachment:
    """A volume attached to this machine: once for each writer, once for all readers of a process together."""

    def __init__(self, client: Any, volume: str, number: str, connection: dict[str, Any]) -> None:
        self.client, self.volume, self.number, self.connection = client, volume, number, connection
        self.uses = 1
        self.owner: int | None = None
        """Whose the device was, where it had to be made ours."""


class _Use:
    """One use of an attachment, as far as it has come."""

    def __init__(self, attachment: _Attachment, brick: Any) -> None:
        self.attachment, self.brick = attachment, brick
        self.device: dict[str, Any] | None = None
        self.file: Any = None

    @property
    def path(self) -> Any:
        """Where the device or file is; or (Ceph) an open file."""
        return (self.device or {}).get("path")


class Attacher:
    """Attaches volumes, and takes back everything afterwards.

    A volume whose type is not `multiattach` has one attachment at a time: readers of one process share theirs, so that
    only other processes have to wait.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._base = os.path.abspath(options["cinder_mount_point_base"] or "/var/lib/glance/mnt")
        self._tries = int(options["cinder_attachment_retry_attempts"])
        self._multipath = bool(options["cinder_use_multipath"])
        self._enforce = bool(options["cinder_enforce_multipath"])
        self._properties: dict[str, Any] | None = None
        self._calls = 1 + int(options["cinder_http_retries"])
        self._reading: dict[str, _Attachment] = {}
        self._owed: dict[str, list[str]] = {}
        """Attachments, by volume, of whose end Cinder could not be told."""
        self._turns = [threading.Lock() for _ in range(TURNS)]
        try:
            with warnings.catch_warnings():
                # It imports eventlet, which warns of itself. Nothing of eventlet is used.
                warnings.simplefilter("ignore")
                from os_brick.initiator import connector
        except ImportError as error:
            raise BadStoreConfiguration(f"pip install fanlight[cinder] ({error.name} is missing)") from error
        self._connector = connector

    @contextmanager
    def attached(self, client: Any, volume: str, mode: str, size: int) -> Iterator[Any]:
        """The volume as a file, opened for `ro` or `rw`; what was written is on the volume when the block ends well.

        `size`: bytes that it must have. Raises StoreUnreachable, StoreTimeout, ObjectNotFound, ObjectDamaged or
        BadStoreConfiguration (its file is not raw), and what the block raises.
        """
        with explained(writing=mode == "rw"):
            attachment = self._joined(client, volume, mode)
            use = _Use(attachment, self._brick(attachment.connection))
        try:
            with explained(writing=mode == "rw"):
                self._connect(use, mode)
                devices.await_size(use.file, use.path, size)
            yield use.file
            if mode == "rw":
                with explained(writing=True):
                    devices.sync(use.file, use.path)
        except BaseException:
            self._give_back_quietly(use)
            raise
        if mode == "rw":
            self._give_back(use)
        else:
            self._give_back_quietly(use)

    def _joined(self, client: Any, volume: str, mode: str) -> _Attachment:
        """An attachment for one more use."""
        if mode == "rw":
            return self._attach(client, volume, mode)
        with self._turn(volume):
            shared = self._reading.get(volume)
            if shared is None:
                shared = self._reading[volume] = self._attach(client, volume, mode)
            else:
                shared.uses += 1
            return shared

    def _attach(self, client: Any, volume: str, mode: str) -> _Attachment:
        self.settle(client, volume)
        number = self._reserved(client, volume, mode)
        try:
            connection = client.attachments.update(number, {**self._machine(), "mode": mode}).connection_info
            if connection["driver_volume_type"] == "nfs" and "format" not in connection:
                # Some releases of Cinder tell it only who asks once more.
                connection = client.attachments.show(number).connection_info
            devices.require_plain(connection, mode)
            client.attachments.complete(number)
        except BaseException:
            self._detach_quietly(client, volume, number)
            raise
        return _Attachment(client, volume, number, connection)

    def _connect(self, use: _Use, mode: str) -> None:
        attachment = use.attachment
        with self._turn(attachment.volume), self._locked(attachment.connection, attachment.volume):
            use.device = use.brick.connect_volume(attachment.connection)
            owner = devices.borrow(use.path, mode, _as_root)
            attachment.owner = attachment.owner if owner is None else owner
            use.file = devices.opened(use.path, mode)

    def _give_back_quietly(self, use: _Use) -> None:
        try:
            self._give_back(use)
        except StoreError as error:
            LOG.warning("volume %s could not be detached: %s", use.attachment.volume, error)

    def _give_back(self, use: _Use) -> None:
        """Close, disconnect, and detach with the last use. Raises StoreError."""
        attachment = use.attachment
        with self._turn(attachment.volume), explained():
            attachment.uses -= 1
            try:
                self._disconnect(use)
            finally:
                if not attachment.uses:
                    if self._reading.get(attachment.volume) is attachment:
                        del self._reading[attachment.volume]
                    self._detach(attachment.client, attachment.volume, attachment.number)

    def _detach(self, client: Any, volume: str, number: str) -> None:
        try:
            with suppress(_gone()):
                client.attachments.delete(number)
        except BaseException:
            self._owed.setdefault(volume, []).append(number)
            raise

    def settle(self, client: Any, volume: str) -> None:
        """Tell Cinder of attachments that have ended while it did not listen, or while their caller's token had.

        What it cannot be told now either stays owed. Raises nothing: whether it matters, what is asked next will show.
        """
        for number in self._owed.pop(volume, []):
            self._detach_quietly(client, volume, number)

    def _detach_quietly(self, client: Any, volume: str, number: str) -> None:
        try:
            self._detach(client, volume, number)
        except Exception as error:
            LOG.warning("volume %s is still attached: %s", volume, error)

    def _turn(self, volume: str) -> threading.Lock:
        return self._turns[hash(volume) % TURNS]

    def _reserved(self, client: Any, volume: str, mode: str) -> str:
        """An attachment that is not connected yet. A volume that is in use and can't be shared is waited for."""
        from cinderclient import exceptions
        from keystoneauth1.exceptions import ConnectFailure

        asked = {"attachment": {"volume_uuid": volume, "connector": None, "mode": mode}}
        pause, refused, lost = 0.5, 0, 0
        while True:
            try:
                # keystoneauth would repeat it by itself, and meet what a lost answer has made.
                _, made = client.client.post("/attachments", body=asked, connect_retries=0)
                return str(made["attachment"]["id"])
            except exceptions.BadRequest as error:
                refused += 1
                if refused >= self._tries:
                    raise StoreUnreachable("The volume is in use, and its type can't be attached twice.") from error
            except ConnectFailure:
                lost += 1
                self._drop_reservations(client, volume)
                if lost >= self._calls:
                    raise
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    def _drop_reservations(self, client: Any, volume: str) -> None:
        """Nobody knows the number of an attachment whose answer was lost. One that somebody else makes in this very
        moment looks alike: theirs fails then, and they try again."""
        try:
            for one in client.attachments.list(search_opts={"volume_id": volume}):
                if one.status == "reserved":
                    self._detach(client, volume, one.id)
        except Exception as error:
            LOG.warning("volume %s may be reserved, of which nobody knows: %s", volume, error)

    def _machine(self) -> dict[str, Any]:
        """What Cinder must know of this machine: its name, address, and the initiators that it has."""
        if self._properties is None:
            with _PREPARED:
                _prepare(self._base)
            found = self._connector.get_connector_properties(
                _helper(), _address(), self._multipath, self._enforce, host=socket.gethostname()
            )
            self._properties = {**found, "mountpoint": MOUNT_POINT}
        return self._properties

    def _brick(self, connection: Mapping[str, Any]) -> Any:
        kind = connection["driver_volume_type"]
        more = {"nfs_mount_point_base": os.path.join(self._base, "nfs")} if kind == "nfs" else {}
        brick = self._connector.InitiatorConnector.factory(
            kind.upper(), _helper(), driver=None, conn=connection, use_multipath=self._multipath, **more
        )
        if kind == "rbd":
            devices.limit_ceph(brick)
        return brick

    def _disconnect(self, use: _Use) -> None:
        attachment = use.attachment
        if use.device is None:
            return
        try:
            if use.file is not None and isinstance(use.path, str):
                use.file.close()
        finally:
            with self._locked(attachment.connection, attachment.volume):
                if attachment.owner is not None and not attachment.uses:
                    devices.hand_back(use.path, attachment.owner, _as_root)
                if not _used_elsewhere(use):
                    # Forced: a device that stays shows the bytes of whatever volume gets its number next.
                    use.brick.disconnect_volume(attachment.connection, use.device, force=True)
                if attachment.connection["driver_volume_type"] == "nfs":
                    self._unmount(use.brick, attachment.connection)

    def _unmount(self, brick: Any, connection: Mapping[str, Any]) -> None:
        """Give the share back. The kernel counts who uses it: as long as somebody does, it refuses."""
        from oslo_concurrency import processutils

        with suppress(processutils.ProcessExecutionError):
            _as_root("umount", brick._remotefsclient.get_mount_point(connection["export"]))

    def abandon(self, client: Any, volume: str) -> None:
        """Detach a volume whose users are dead, and take from this machine what they left connected here."""
        host = socket.gethostname()
        here = {one["attachment_id"] for one in client.volumes.get(volume).attachments if one.get("host_name") == host}
        for one in client.attachments.list(search_opts={"volume_id": volume}):
            if one.id in here:
                connection = client.attachments.show(one.id).connection_info or {}
                if connection.get("driver_volume_type", "nfs") not in ("nfs", "rbd"):
                    self._machine()
                    with self._locked(connection, volume):
                        brick = self._brick(connection)
                        brick.disconnect_volume(connection, {}, force=True, ignore_errors=True)
            client.attachments.delete(one.id)

    def unmount_idle(self) -> None:
        """Give back the shares that a process of this machine left mounted when it died."""
        from oslo_concurrency import processutils

        folder = os.path.join(self._base, "nfs") + os.sep
        with open("/proc/mounts") as mounts:
            places = [line.split()[1] for line in mounts if line.split()[1].startswith(folder)]
        for place in places:
            with self._locked({"driver_volume_type": "nfs"}, ""), suppress(processutils.ProcessExecutionError):
                _as_root("umount", place)

    @contextmanager
    def _locked(self, connection: Mapping[str, Any], volume: str) -> Iterator[None]:
        """Between finding a share mounted, or a device there, and opening a file on it, nobody on this machine takes it
        away; and who looks whether others use a device has done with it before they come."""
        nfs = connection["driver_volume_type"] == "nfs"
        folder = os.path.join(self._base, "locks")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "shares" if nfs else f"devices-{int(volume[:8], 16) % TURNS}"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _used_elsewhere(use: _Use) -> bool:
    """Whether somebody else on this machine has the same block device: it must not be taken away."""
    attachment = use.attachment
    if not devices.is_device(use.path):
        return False
    if attachment.uses:
        return True
    try:
        with explained():
            known = attachment.client.volumes.get(attachment.volume).attachments
    except StoreError as error:
        # A token that has expired meanwhile, for example. Who else reads there fails, which is better than a device
        # that nobody takes away.
        LOG.warning("volume %s is disconnected without knowing who else uses it: %s", attachment.volume, error)
        return False
    host = socket.gethostname()
    return any(one.get("host_name") == host and one.get("attachment_id") != attachment.number for one in known)


def _as_root(*command: str) -> object:
    """Run a command by privsep's daemon, as os-brick does. Raises ProcessExecutionError."""
    from os_brick.privileged import rootwrap

    done: object = rootwrap.execute(*command, run_as_root=True, root_helper=_helper())
    return done


def _prepare(base: str) -> None:
    """Fill the global configuration of os-brick, oslo.concurrency and oslo.privsep; again is harmless."""
    import os_brick
    from os_brick.privileged import default
    from oslo_concurrency import lockutils
    from oslo_config import cfg

    locks = os.path.join(base, "locks")
    os.makedirs(locks, exist_ok=True)
    lockutils.set_defaults(locks)
    os_brick.setup(cfg.CONF)
    cfg.CONF.set_override("lock_path", locks, group="os_brick")
    helper = shutil.which("privsep-helper", path=os.path.join(sys.prefix, "bin")) or "privsep-helper"
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    cfg.CONF.set_override("helper_command", " ".join([*sudo, helper]), group=default.cfg_section)


def _helper() -> str:
    return "" if os.geteuid() == 0 else "sudo"


def _address() -> str:
    """The address by which this machine is known to others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        name: str = probe.getsockname()[0]
        return name


def _gone() -> type[Exception]:
    from cinderclient import exceptions

    found: type[Exception] = exceptions.NotFound
    return found
