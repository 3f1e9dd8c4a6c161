"""Images as RBD images of a Ceph cluster. Type `rbd`; URLs `rbd://<fsid>/<pool>/<image>/snap`.

Nova and Cinder clone from the protected snapshot that the URL names: cluster, pool, name and snapshot are an interface
to them. The snapshot is made last, so an image without it is one that was never finished.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote, unquote

from msgspec import Struct

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectHasSnapshot,
    ObjectInUse,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores.driver import Added, Context, Opened, Source, Store, leave_to_discard
from fanlight.stores.rbd_cluster import TWO_THREADS, Cluster
from fanlight.stores.rbd_streams import MIB, PIECE, Reading, Writing, any_byte, close_quietly, pieces

LOG = logging.getLogger(__name__)
SNAPSHOT = "snap"
WATCH_SECONDS = 10.0
"""How long to wait for the watch of a client to end that was just shut out."""


class Address(Struct, frozen=True):
    """Where an image is. Only with an image, it is the short form: the configured pool, no snapshot."""

    image: str
    pool: str = ""
    fsid: str = ""
    snapshot: str = ""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL: 1 or 4 parts, none empty, each percent-encoded. Raises MalformedLocation."""
        scheme, separator, rest = url.partition("://")
        if not separator or scheme.lower() != "rbd" or not rest.isascii():
            raise MalformedLocation
        try:
            parts = [unquote(part, errors="strict") for part in rest.split("/")]
        except UnicodeDecodeError:
            raise MalformedLocation from None
        if not all(parts) or any("\0" in part for part in parts):
            raise MalformedLocation
        match parts:
            case [image]:
                return cls(image)
            case [fsid, pool, image, snapshot]:
                return cls(image, pool, fsid, snapshot)
        raise MalformedLocation

    @property
    def url(self) -> str:
        """The canonical form."""
        parts = (self.fsid, self.pool, self.image, self.snapshot) if self.snapshot else (self.image,)
        return "rbd://" + "/".join(quote(part, safe="") for part in parts)


class Rbd(Store):
    """One pool of one cluster."""

    schemes = ("rbd",)

    def configure(self) -> None:
        """Read the options and ceph.conf; the cluster is reached when it is needed. Raises BadStoreConfiguration."""
        options = self.options
        self._pool: str = options.get("rbd_store_pool", "images") or ""
        user = options.get("rbd_store_user")
        if not self._pool or "\0" in self._pool or "\0" in (user or ""):
            raise BadStoreConfiguration("rbd_store_pool and rbd_store_user must be names.")
        object_size = int(options.get("rbd_store_chunk_size") or 8) * MIB
        self._order = object_size.bit_length() - 1
        self._piece = min(PIECE, 1 << self._order)
        self._thin = bool(options.get("rbd_thin_provisioning"))
        timeout = options.get("rados_connect_timeout")
        seconds = -1 if timeout is None else int(timeout)
        conf = options.get("rbd_store_ceph_conf") or ""
        self._cluster = Cluster(conf, user, seconds)
        self._cluster.configured()
        self._unprotecting = Cluster(conf, user, seconds, TWO_THREADS)
        self._rbd = self._cluster.rbd

    def configure_add(self) -> None:
        """See that the pool is there and open to us. A cluster that cannot be reached just now may come back."""
        try:
            with self._cluster.pool(self._pool) as place, self._cluster.explained():
                self._rbd.RBD().list(place)
        except (StoreUnreachable, StoreTimeout) as error:
            LOG.warning("store %s: %s", self.id, error)
        except ObjectNotFound as error:
            raise BadStoreConfiguration(f"There is no pool {self._pool}.") from error
        except StoreError as error:
            raise BadStoreConfiguration(f"The pool {self._pool} cannot be used: {error}") from error

    # -- reading

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """Open the snapshot, and read ahead from the first block on."""
        address = Address.parse(url)
        reading = Reading(self._cluster, address, address.pool or self._pool, self._piece)
        try:
            rest = reading.size - offset
            if rest < 0 or (length is not None and length > rest):
                raise RangeNotSatisfiable(size=reading.size)
            wanted = rest if length is None else length
            return Opened(wanted, reading.blocks(offset, wanted), reading.close)
        except BaseException:
            reading.close()
            raise

    def get_size(self, url: str, context: Context | None = None) -> int:
        """Size of the snapshot."""
        address = Address.parse(url)
        with self._image(address.pool or self._pool, address.image, address.snapshot or None, read_only=True) as image:
            size: int = image.size()
            return size

    def check(self) -> str:
        """Whether the pool can be read, and its room."""
        with self._cluster.pool(self._pool) as place, self._cluster.explained():
            self._rbd.RBD().list(place)
        room = self._cluster.room(self._pool)
        return f"pool {self._pool}" + (f", {room // (1024 * MIB)} GiB free" if room is not None else "")

    def details(self) -> Mapping[str, Any]:
        """The cluster's id, once it has been reached."""
        return {"fsid": self._cluster.fsid} if self._cluster.fsid else {}

    def owns(self, url: str) -> bool:
        """Whether it is in our pool, and in our cluster as far as that is known."""
        try:
            address = Address.parse(url)
        except MalformedLocation:
            return False
        fsid = self._cluster.fsid
        return not address.pool or (address.pool == self._pool and (not fsid or address.fsid == fsid))

    # -- writing

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        """Create, write, snapshot, protect. Whatever fails, the image is removed again."""
        with self._cluster.pool(self._pool, StoreError(f"There is no pool {self._pool}.")) as place:
            room = self._room(0 if size is None or self._thin else size)
            with self._waiting_explained(), self._cluster.explained(writing=True):
                features = self._cluster.features()
                self._rbd.RBD().create(place, object_id, size or 0, self._order, old_format=False, features=features)
            try:
                with self._waiting_explained():
                    written = self._write(place, object_id, source, size, room)
            except BaseException as error:
                self._undo(place, object_id, error)
                raise
        return Added(self._url(object_id), written)

    @contextmanager
    def _waiting_explained(self) -> Iterator[None]:
        """Ceph has writers wait while a pool is full: what they waited for in vain was room."""
        try:
            yield
        except StoreTimeout:
            if self._cluster.is_full(self._cluster.data_pool(self._pool)):
                raise StoreFull from None
            raise

    def planned_url(self, object_id: str) -> str | None:
        """Known once the cluster has been reached."""
        return self._url(object_id) if self._cluster.fsid else None

    def _url(self, object_id: str) -> str:
        return Address(object_id, self._pool, self._cluster.fsid, SNAPSHOT).url

    def _room(self, size: int) -> int | None:
        """Bytes that may be written. Ceph never says that there is no more room: it lets writers wait for ever."""
        room = self._cluster.room(self._cluster.data_pool(self._pool))
        if room is not None and size > room:
            raise StoreFull
        return room

    def _write(self, place: Any, name: str, source: Source, size: int | None, room: int | None) -> int:
        with self._opened(place, name, None, read_only=False, writing=True) as image:
            writing = Writing(self._cluster, image, size)
            try:
                for piece in pieces(source, self._piece):
                    if room is not None and not self._thin and writing.written + len(piece) > room:
                        raise StoreFull
                    writing.write(piece, skip=self._thin and not any_byte(piece))
                writing.finish()
            finally:
                writing.settle_all()
            with self._cluster.explained(writing=True):
                image.create_snap(SNAPSHOT)
                image.protect_snap(SNAPSHOT)
        return writing.written

    def _undo(self, place: Any, name: str, reason: BaseException) -> None:
        """Remove what a failed add has made. What cannot be removed now is left to `discard`: Leftovers."""
        try:
            with suppress(ObjectNotFound):
                self._release(place, name, SNAPSHOT)
                self._remove(place, name)
        except StoreError as error:
            LOG.warning("store %s: an unfinished image %s could not be removed: %s", self.id, name, error)
            leave_to_discard(reason)

    # -- deleting

    def delete(self, url: str, context: Context | None = None) -> None:
        """Remove the snapshot, then the image. An image with other snapshots goes to the trash."""
        address = Address.parse(url)
        with self._cluster.pool(address.pool or self._pool) as place:
            if not address.snapshot:
                self._remove(place, address.image)
                return
            released = self._release(place, address.image, address.snapshot)
            try:
                self._remove(place, address.image)
            except (ObjectInUse, ObjectHasSnapshot):
                if released:
                    self._retain(place, address.image, address.snapshot)
                raise

    def discard(self, object_id: str) -> None:
        """Remove an image whatever its state. Clients that still have it open are shut out of the cluster.

        A client that was killed counts as a watcher for half a minute; and one that only seemed dead must not write any
        more into what is removed here.
        """
        with self._cluster.pool(self._pool, StoreError(f"There is no pool {self._pool}.")) as place:
            try:
                self._end_watches(place, object_id)
                self._release(place, object_id, SNAPSHOT)
            except ObjectNotFound:
                LOG.debug("store %s: no image %s", self.id, object_id)
            with suppress(ObjectNotFound):
                # Also where no image opens: its creation may have been cut short.
                self._remove(place, object_id)

    def _end_watches(self, place: Any, name: str) -> None:
        deadline = time.monotonic() + WATCH_SECONDS
        shut_out: set[str] = set()
        while True:
            with self._opened(place, name, None, read_only=True) as image, self._cluster.explained():
                watchers = list(image.watchers_list())
            if not watchers:
                return
            if time.monotonic() > deadline:
                raise ObjectInUse
            fresh = [watcher for watcher in watchers if watcher["addr"] not in shut_out]
            self._cluster.shut_out(fresh)
            shut_out.update(watcher["addr"] for watcher in fresh)
            time.sleep(0.05)

    def _release(self, place: Any, name: str, snapshot: str) -> bool:
        """Remove the snapshot, unless something hangs on it. Whether there was one. Raises ObjectInUse."""
        with self._opened(place, name, None, read_only=False) as image, self._cluster.explained():
            # One is ourselves. Looked at first: without its snapshot an image in use is worth nothing.
            if len(list(image.watchers_list())) > 1:
                raise ObjectInUse
            try:
                protected = image.is_protected_snap(snapshot)
            except self._rbd.ImageNotFound:
                return False
            if protected:
                self._unprotect(place.name, name, snapshot)
            image.remove_snap(snapshot)
        return True

    def _unprotect(self, pool: str, name: str, snapshot: str) -> None:
        """Over a connection with two threads. Both take part, so neither is still busy with opening the image."""
        cluster = self._unprotecting
        with cluster.pool(pool) as place, cluster.explained(), self._rbd.Image(place, name) as image:
            try:
                image.unprotect_snap(snapshot)
            except self._rbd.InvalidArgument:
                LOG.debug("snapshot %s of %s is not protected any more", snapshot, name)

    def _retain(self, place: Any, name: str, snapshot: str) -> None:
        """Make the snapshot again, for an image that stays."""
        with self._opened(place, name, None, read_only=False) as image, self._cluster.explained():
            image.create_snap(snapshot)
            image.protect_snap(snapshot)

    def _remove(self, place: Any, name: str) -> None:
        images = self._rbd.RBD()
        with self._cluster.explained():
            try:
                images.remove(place, name)
            except self._rbd.ImageHasSnapshots:
                try:
                    images.trash_move(place, name, 0)
                except (self._rbd.PermissionError, self._rbd.OperationNotSupported) as error:
                    raise ObjectHasSnapshot from error

    # -- images

    @contextmanager
    def _image(self, pool: str, name: str, snapshot: str | None, *, read_only: bool) -> Iterator[Any]:
        with self._cluster.pool(pool) as place, self._opened(place, name, snapshot, read_only=read_only) as image:
            yield image

    @contextmanager
    def _opened(
        self, place: Any, name: str, snapshot: str | None, *, read_only: bool, writing: bool = False
    ) -> Iterator[Any]:
        with self._cluster.explained(writing=writing):
            image = self._rbd.Image(place, name, snapshot=snapshot, read_only=read_only)
        try:
            yield image
        finally:
            close_quietly(image)
