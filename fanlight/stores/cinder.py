"""Images in volumes of Cinder. Type `cinder`; URLs `cinder://<volume>` and `cinder://<store>/<volume>`.

One volume an image, named `image-<image id>`, of whole GiB; its metadata `image_size` says how much of it is the image
(glance_store's layout, so that each reads the other's). Volumes are attached to this machine by os-brick
(cinder_volumes.py). They belong to the account of the options, or to the caller where there is none.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectExists,
    ObjectHasSnapshot,
    ObjectInUse,
    RangeNotSatisfiable,
    StoreDeleteUnsupported,
    StoreError,
    StoreFull,
    StoreTimeout,
)
from fanlight.stores.cinder_account import Account, explained
from fanlight.stores.cinder_volumes import Attacher
from fanlight.stores.driver import Added, Context, Opened, Source, Store, leave_to_discard

LOG = logging.getLogger(__name__)
GIB = 1 << 30
BLOCK = 4 * 1024 * 1024
SETTLE_SECONDS = 10.0
"""How long a delete waits for a reader on this machine that is just detaching."""
BUSY_SECONDS = 90.0
"""How long `discard` waits for what a dead process still holds: Ceph forgets a dead client after 30 seconds."""
_VOLUME = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_STORE = re.compile(r"[A-Za-z0-9._-]{1,255}", re.ASCII)


class Address(Struct, frozen=True):
    """A volume by its id, and the store that it was given to where several are configured."""

    volume: str
    store: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises MalformedLocation."""
        scheme, separator, rest = url.partition("://")
        store, slash, volume = rest.rpartition("/")
        good = scheme.lower() == "cinder" and separator and _VOLUME.fullmatch(volume)
        if not good or (slash and not _STORE.fullmatch(store)):
            raise MalformedLocation
        return cls(volume, store or None)

    @property
    def url(self) -> str:
        """The canonical form."""
        return f"cinder://{self.store}/{self.volume}" if self.store else f"cinder://{self.volume}"


class Cinder(Store):
    """One service of volumes, and one type of them."""

    schemes = ("cinder",)

    def configure(self) -> None:
        """Read the options; nothing is reached."""
        self._account = Account(self.options)
        self._attacher = Attacher(self.options)
        self._patience = float(self.options["cinder_state_transition_timeout"])

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """Attach the volume for reading; it is given back when all is read, or at the close."""
        address = Address.parse(url)
        client = self._account.client(context)
        with explained():
            whole = _size_of(client.volumes.get(address.volume))
        rest = whole - offset
        if rest < 0 or (length is not None and length > rest):
            raise RangeNotSatisfiable(size=whole)
        wanted = rest if length is None else length
        attached = self._attacher.attached(client, address.volume, "ro", offset + wanted)
        file = attached.__enter__()
        closed = threading.Lock()

        def close() -> None:
            if closed.acquire(blocking=False):
                attached.__exit__(None, None, None)

        return Opened(wanted, _blocks(file, offset, wanted), close)

    def get_size(self, url: str, context: Context | None = None) -> int:
        """What the volume's metadata says; the volume's own size where they say nothing."""
        address = Address.parse(url)
        client = self._account.client(context)
        with explained():
            return _size_of(client.volumes.get(address.volume))

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        """Make a volume, write to it while it is attached, make it read-only. It grows where the size is unknown."""
        client = self._account.client(context)
        name = f"image-{object_id}"
        metadata = {"glance_image_id": object_id, "image_size": str(size or 0)}
        if context is not None and context.project_id:
            metadata["image_owner"] = context.project_id
        gib = max(1, -(-(size or 0) // GIB))
        with explained(writing=True):
            if self._named(client, name):
                raise ObjectExists
            kind = self.options.get("cinder_volume_type")
            try:
                volume: str = client.volumes.create(gib, name=name, metadata=metadata, volume_type=kind).id
            except _not_found() as error:
                raise BadStoreConfiguration(f"Cinder has no volume type {kind}.") from error
        try:
            self._await(client, volume, {"creating"}, "available")
            self._discard_twins(client, name, volume)
            written = self._write(client, volume, source, gib)
            with explained(writing=True):
                if written != size:
                    client.volumes.set_metadata(volume, {"image_size": str(written)})
                client.volumes.update_readonly_flag(volume, True)
        except BaseException as error:
            self._undo(client, volume, error)
            raise
        # `cinder` is the id of the only store in the classic style, whose URLs name none.
        return Added(Address(volume, None if self.id == "cinder" else self.id).url, written)

    def delete(self, url: str, context: Context | None = None) -> None:
        """Delete the volume, and wait until it is gone."""
        address = Address.parse(url)
        client = self._account.client(context)
        with explained(deleting=True):
            self._attacher.settle(client, address.volume)
            self._delete(client, address.volume)

    def discard(self, object_id: str) -> None:
        """Detach and delete the volumes of that name. Those of callers only they can: StoreDeleteUnsupported."""
        if self._account.is_callers:
            raise StoreDeleteUnsupported("What is left lies in the project of the image's owner.")
        client = self._account.client(None)
        with explained():
            for volume in self._named(client, f"image-{object_id}"):
                self._discard(client, volume.id)
                self._attacher.unmount_idle()

    def check(self) -> str:
        """Whether the account may ask for volumes, and whether the type of volumes exists."""
        client = self._account.client(None)
        with explained():
            client.volumes.list(limit=1)
            kind = self.options.get("cinder_volume_type")
            if kind and kind not in {one.name for one in client.volume_types.list()}:
                raise BadStoreConfiguration(f"Cinder has no volume type {kind}.")
        return f"Cinder answers, volumes are of type {kind or 'Cinder chooses'}"

    def _named(self, client: Any, name: str) -> list[Any]:
        """Volumes of that name and of our type: another store of the same account may have a copy of the image."""
        found = [one for one in client.volumes.list(search_opts={"name": name}) if one.name == name]
        if not found:
            return []
        kind = self.options.get("cinder_volume_type")
        try:
            ours = client.volume_types.get(kind).name if _is_id(kind) else kind or client.volume_types.default().name
        except _not_found():
            return found
        return [one for one in found if one.volume_type == ours]

    # -- writing

    def _write(self, client: Any, volume: str, source: Source, gib: int) -> int:
        place = 0
        block = memoryview(source.read(BLOCK))
        while True:
            with self._attacher.attached(client, volume, "rw", gib * GIB) as file:
                place, block = _fill(file, source, block, place, gib * GIB)
            if not block:
                return place
            gib = self._extend(client, volume, gib)

    def _extend(self, client: Any, volume: str, gib: int) -> int:
        """One more GiB, an eighth more for large volumes: Cinder can't make them smaller again."""
        wanted = gib + max(1, gib // 8)
        with explained(writing=True):
            client.volumes.extend(volume, wanted)
        try:
            self._await(client, volume, {"extending", "available"}, "available", lambda one: one.size >= wanted)
        except StoreTimeout:
            raise
        except StoreError as error:
            raise StoreFull("Cinder could not extend the volume.") from error
        return wanted

    def _await(
        self, client: Any, volume: str, before: set[str], status: str, done: Callable[[Any], bool] = lambda _: True
    ) -> None:
        """Look, ever more seldom, until the volume has the status. Raises StoreTimeout, StoreError for another one."""
        limit, pause = time.monotonic() + self._patience, 0.2
        while True:
            with explained():
                one = client.volumes.get(volume)
            if one.status == status and done(one):
                return
            if one.status not in before:
                raise StoreError(f"The volume became {one.status} instead of {status}.")
            if time.monotonic() > limit:
                raise StoreTimeout(f"The volume was not {status} within {self._patience:g} seconds.")
            time.sleep(pause)
            pause = min(15.0, pause * 1.5)

    # -- removing

    def _delete(self, client: Any, volume: str) -> None:
        self._ask_to_delete(client, volume)
        limit, pause = time.monotonic() + self._patience, 0.1
        while time.monotonic() < limit:
            try:
                one = client.volumes.get(volume)
            except _not_found():
                return
            if one.status == "available":
                raise ObjectInUse
            if one.status == "error_deleting":
                raise StoreError("Cinder could not delete the volume.")
            time.sleep(pause)
            pause = min(5.0, pause * 1.5)
        raise StoreTimeout("Cinder did not delete the volume in time.")

    def _ask_to_delete(self, client: Any, volume: str) -> None:
        limit = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                client.volumes.delete(volume)
                return
            except _bad_request() as error:
                # Cinder answers 400, whatever the reason.
                if client.volume_snapshots.list(search_opts={"volume_id": volume}):
                    raise ObjectHasSnapshot from error
                one = client.volumes.get(volume)
                if one.status == "deleting":
                    return  # somebody else has asked for it
                if time.monotonic() > limit or not _is_ours(one):
                    raise ObjectInUse from error
            time.sleep(0.5)

    def _discard(self, client: Any, volume: str) -> None:
        limit = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._attacher.abandon(client, volume)
                self._delete(client, volume)
                return
            except _not_found():
                return
            except ObjectInUse:
                if time.monotonic() > limit:
                    raise
                time.sleep(2.0)

    def _discard_twins(self, client: Any, name: str, volume: str) -> None:
        """keystoneauth asks once more where an answer was lost: then there are two, and nobody knows the first."""
        with explained():
            for one in self._named(client, name):
                if one.id != volume:
                    self._discard(client, one.id)

    def _undo(self, client: Any, volume: str, reason: BaseException) -> None:
        """Remove the volume of a failed add. What cannot be removed now is left to `discard`: Leftovers."""
        try:
            with explained():
                self._discard(client, volume)
        except StoreError as error:
            LOG.warning("volume %s of a failed upload could not be deleted: %s", volume, error)
            leave_to_discard(reason)


def _fill(file: Any, source: Source, block: memoryview, place: int, limit: int) -> tuple[int, memoryview]:
    """Write from `place` up to `limit`; returns the place reached, and what did not fit (empty: all is written)."""
    with explained(writing=True):
        file.seek(place)
    while block and place < limit:
        room = block[: limit - place]
        with explained(writing=True):
            _write_all(file, room)
        place += len(room)
        block = block[len(room) :] if len(room) < len(block) else memoryview(source.read(BLOCK))
    with explained(writing=True):
        file.flush()
    return place, block


def _write_all(file: Any, data: memoryview) -> None:
    """A plain file takes only what still fits before its disk or device is full, and calls that a success."""
    while data:
        taken = file.write(bytes(data))  # librbd takes nothing but bytes
        if taken is None:
            return  # os-brick's file over librbd: it takes all, and says nothing
        data = data[taken:]


def _blocks(file: Any, offset: int, length: int) -> Iterator[bytes]:
    end = offset + length
    with explained():
        file.seek(offset)
    while offset < end:
        with explained():
            block = file.read(min(BLOCK, end - offset))
        if not block:
            raise StoreError("The volume ends before the recorded size of the image.")
        offset += len(block)
        yield block


def _is_ours(volume: Any) -> bool:
    """Whether only this machine uses the volume, or nobody any more."""
    name = socket.gethostname()
    return volume.status in ("in-use", "detaching", "available") and all(
        one.get("host_name") == name for one in volume.attachments
    )


def _is_id(kind: str | None) -> bool:
    return bool(kind and _VOLUME.fullmatch(kind))


def _size_of(volume: Any) -> int:
    recorded = (volume.metadata or {}).get("image_size", "")
    return int(recorded) if recorded.isdigit() else int(volume.size) * GIB


def _not_found() -> type[Exception]:
    from cinderclient import exceptions

    found: type[Exception] = exceptions.NotFound
    return found


def _bad_request() -> type[Exception]:
    from cinderclient import exceptions

    found: type[Exception] = exceptions.BadRequest
    return found
