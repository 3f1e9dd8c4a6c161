"""A stand-in of os-brick's connector for iSCSI, which needs an initiator that small kernels do not have.

Cinder is the real one, with a volume on its NFS share or on Ceph; what it answers about the connection is replaced by
one of type `iscsi`, and for that the stand-in hands out a loop device: over the volume's own file on the share, or
over a file that stands for the volume. As with iSCSI, all of a machine who connect a volume get the same device, and
who disconnects it takes it from all.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cinderclient.v3.attachments import VolumeAttachmentManager

SIZE = 1 << 30


def losetup(*words: str | Path) -> str:
    """Through sudo: as a service that is not root would have it done."""
    return subprocess.run(
        ["sudo", "losetup", *map(str, words)], check=True, capture_output=True, text=True, timeout=20
    ).stdout.strip()


class Iscsi:
    """One machine's initiator. `events`: what was done, in order; `told`: what Cinder was told of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[str] = []
        self.told: list[dict[str, Any]] = []
        self.factory: list[dict[str, Any]] = []
        self.connecting: Callable[[str], None] = lambda device: None
        """Called with each device that was connected."""
        self.given: str | None = None
        """A path to give out instead of a device."""
        self.forced: list[bool] = []
        self._files: set[Path] = set()

    def file(self, volume: str) -> Path:
        share = Path(os.environ["FANLIGHT_TEST_CINDER_NFS"]) / f"volume-{volume}"
        return share if share.exists() else self.folder / f"volume-{volume}"

    def devices(self) -> list[str]:
        """Those that are connected now."""
        return [line.partition(":")[0] for file in self._files for line in losetup("-j", file).splitlines()]

    # -- os-brick's connector

    def connect_volume(self, connection: dict[str, Any]) -> dict[str, str]:
        file = self.file(connection["volume"])
        if not file.exists():
            with file.open("wb") as made:
                made.truncate(SIZE)
        self._files.add(file)
        device = self.given or losetup("-j", file).partition(":")[0] or losetup("-f", "--show", file)
        self.events.append("connect")
        self.connecting(device)
        return {"type": "block", "path": device}

    def disconnect_volume(
        self, connection: dict[str, Any], device_info: dict[str, str], force: bool = False, ignore_errors: bool = False
    ) -> None:
        self.events.append("disconnect")
        self.forced.append(force)
        for line in losetup("-j", self.file(connection["volume"])).splitlines():
            losetup("-d", line.partition(":")[0])

    # -- in its place

    @contextmanager
    def installed(self) -> Iterator[None]:
        from os_brick.initiator.connector import InitiatorConnector  # warns when it is imported, and takes a while

        update, show = VolumeAttachmentManager.update, VolumeAttachmentManager.show

        def updated(manager: Any, number: str, connector: dict[str, Any]) -> Any:
            self.told.append(connector)
            return self._as_iscsi(update(manager, number, connector))

        def shown(manager: Any, number: str) -> Any:
            return self._as_iscsi(show(manager, number))

        def made(protocol: str, *_words: Any, **more: Any) -> Iscsi:
            assert protocol == "ISCSI"
            self.factory.append(more)
            return self

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(VolumeAttachmentManager, "update", updated)
            patch.setattr(VolumeAttachmentManager, "show", shown)
            patch.setattr(InitiatorConnector, "factory", staticmethod(made))
            yield

    def _as_iscsi(self, attachment: Any) -> Any:
        attachment.connection_info = {
            "driver_volume_type": "iscsi",
            "target_portal": "192.0.2.1:3260",
            "auth_password": "of the target",
            "volume": attachment.volume_id,
        }
        return attachment
