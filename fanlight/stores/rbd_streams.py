"""Bytes into and out of one RBD image, several pieces at a time: the network and the disks work while we do."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fanlight.errors import ObjectNotFound, StoreError
from fanlight.stores.driver import Source
from fanlight.stores.rbd_cluster import Cluster

if TYPE_CHECKING:
    from fanlight.stores.rbd import Address

LOG = logging.getLogger(__name__)
MIB = 1024 * 1024
PIECE = 4 * MIB
"""Bytes of one read or write; less where the objects of images are smaller."""
WRITES = 3
"""Writes of one upload under way at a time."""
READS = 2
"""Reads of one download under way at a time."""
GROWTH = 16 * MIB, 8192 * MIB
"""Bytes by which an image of unknown size grows at first, and at most. It doubles: each step costs a round trip."""


class Writing:
    """Writes one image from its beginning, a few pieces at a time, and lets it grow where its size is not known."""

    def __init__(self, cluster: Cluster, image: Any, size: int | None) -> None:
        self.written = 0
        self._cluster, self._image = cluster, image
        self._size = size or 0
        self._step = GROWTH[0]
        # librbd takes the bytes from where they are: they must stay until it is done.
        self._flying: deque[tuple[Any, bytes]] = deque()

    def write(self, piece: bytes, *, skip: bool) -> None:
        """Begin to write; `skip`: leave a hole. Waits while WRITES are under way."""
        end = self.written + len(piece)
        with self._cluster.explained(writing=True):
            if end > self._size:
                self._size = max(end, self._size + self._step)
                self._step = min(2 * self._step, GROWTH[1])
                self._image.resize(self._size)
            if not skip:
                while len(self._flying) >= WRITES:
                    self._settle()
                self._flying.append((self._image.aio_write(piece, self.written, _nothing), piece))
        self.written = end

    def finish(self) -> None:
        """Wait for everything, and cut off what was too much."""
        with self._cluster.explained(writing=True):
            while self._flying:
                self._settle()
            if self._size != self.written:
                self._image.resize(self.written)
            self._image.flush()

    def settle_all(self) -> None:
        """Wait until nothing is under way, however it ends."""
        while self._flying:
            self._flying.popleft()[0].wait_for_complete_and_cb()

    def _settle(self) -> None:
        completion, _ = self._flying.popleft()
        completion.wait_for_complete_and_cb()
        status = completion.get_return_value()
        if status < 0:
            raise self._cluster.rbd.OSError("a write failed", errno=-status)


class Reading:
    """One snapshot open for reading."""

    def __init__(self, cluster: Cluster, address: Address, pool: str, piece: int) -> None:
        self._cluster, self._piece = cluster, piece
        self._close: list[Any] = []
        self._flying: deque[tuple[int, Any, list[bytes | None]]] = deque()
        place = cluster.handle()
        with cluster.explained():
            self._place = place.open_ioctx(pool)
        self._close.append(self._place)
        try:
            with cluster.explained():
                # Without a snapshot only a watch keeps the image from being removed meanwhile; read-only has none.
                snapshot = address.snapshot or None
                self._image = cluster.rbd.Image(
                    self._place, address.image, snapshot=snapshot, read_only=snapshot is not None
                )
                self._close.append(self._image)
                self.size: int = self._image.size()
                self._sign = self._sign_of(address.snapshot)
        except BaseException:
            self.close()
            raise

    def blocks(self, offset: int, length: int) -> Iterator[bytes]:
        """The bytes, while the next ones are under way."""
        end = asked = offset + 0
        end += length
        while asked < end or self._flying:
            with self._cluster.explained():
                while asked < end and len(self._flying) < READS:
                    count = min(self._piece - asked % self._piece, end - asked)
                    taken: list[bytes | None] = []
                    completion = self._image.aio_read(asked, count, lambda _, data, into=taken: into.append(data))
                    self._flying.append((count, completion, taken))
                    asked += count
                block = self._landed()
                if not self._flying and asked >= end:
                    self._require_unremoved()
            yield block

    def close(self) -> None:
        """Wait for what is under way and close the image. Idempotent."""
        while self._flying:
            self._flying.popleft()[1].wait_for_complete_and_cb()
        while self._close:
            close_quietly(self._close.pop())

    def _landed(self) -> bytes:
        count, completion, taken = self._flying.popleft()
        completion.wait_for_complete_and_cb()
        status = completion.get_return_value()
        if status < 0:
            raise self._cluster.rbd.OSError("a read failed", errno=-status)
        data = taken[0] if taken else None
        if data is None or len(data) != count:
            raise StoreError("The stored data ends before its recorded size.")
        return data

    def _sign_of(self, snapshot: str) -> tuple[str, str] | None:
        """RADOS object and key that are there as long as the snapshot is; None for images of the old format."""
        if not snapshot or self._image.old_format():
            return None
        return f"rbd_header.{self._image.id()}", f"snapshot_{self._image.snap_get_id(snapshot):016x}"

    def _require_unremoved(self) -> None:
        """The bytes of a removed image read as zeros. Its snapshot goes before them: while that is there, all is."""
        if self._sign is None:
            return
        header, key = self._sign
        with self._place_of_reads() as operation:
            found, _ = self._place.get_omap_vals_by_keys(operation, (key,))
            self._place.operate_read_op(operation, header)
            if not list(found):
                raise ObjectNotFound

    @contextmanager
    def _place_of_reads(self) -> Iterator[Any]:
        operation = self._place.create_read_op()
        try:
            yield operation
        finally:
            self._place.release_read_op(operation)


def pieces(source: Source, size: int) -> Iterator[bytes]:
    """What the source gives, in pieces of `size` bytes; the last may be shorter."""
    gathered = bytearray()
    while len(block := source.read(size - len(gathered))):
        if not gathered and len(block) == size:
            yield bytes(block)
            continue
        gathered += block
        # Its memory is wanted back.
        del block
        if len(gathered) == size:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


def any_byte(piece: bytes) -> bool:
    """Whether there is anything but zeros."""
    return piece.count(0) != len(piece)


def _nothing(_completion: Any) -> None:
    return


def close_quietly(opened: Any) -> None:
    """Close an image or pool. Where the cluster is gone that may fail, and nothing is to be saved by it then."""
    try:
        opened.close()
    except Exception as error:
        LOG.warning("closing failed: %s", type(error).__name__)
