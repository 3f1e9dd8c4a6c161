"""Data on its way into Swift: one object, or segments `<id>-00001`, `<id>-00002` … under a manifest `<id>`.

Everything is written with `If-None-Match: *`, which never replaces an object, and carries a mark of its upload: what
failed may be there nevertheless, because only the answer was lost. It is removed if the mark says that it is ours.

Swift answers the MD5 of what it has stored. That of a whole object is compared by the portable part, which has that of
the image anyway; segments are summed here.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import IO, Any
from urllib.parse import quote

from fanlight.errors import (
    FanlightError,
    ObjectExists,
    ObjectNotFound,
    SizeMismatch,
    StoreDenied,
    StoreError,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores.driver import Source, leave_to_discard
from fanlight.stores.swift_wire import Link

LOG = logging.getLogger(__name__)
BLOCK = 4 * 1024 * 1024
"""Bytes asked of a source at a time."""
PIECE = 256 * 1024
"""Bytes given to the socket at a time: its time limit is for each piece."""
TAIL = 16 * 1024
"""Bytes that are copied so that the block they come from is free."""
MARK = "x-object-meta-fanlight-upload"


class Blocks:
    """A source, cut at will, and looked into one block ahead: its end is known before the last block is out of hand.

    Used by one thread at a time. Holds two blocks.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stopped = False
        self.count = 0
        """Bytes taken."""
        self._here = self._read()
        self._next = self._read() if self._here else self._here

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return not self._here

    @property
    def known(self) -> int | None:
        """How many bytes are left, if that can be told."""
        return None if self._next else len(self._here)

    def take(self, limit: int) -> memoryview:
        """At most so many bytes; empty at the end. Valid until the next call."""
        if self._stopped:
            raise InterruptedError
        piece = self._here[:limit]
        self._here = self._here[limit:]
        self.count += len(piece)
        return piece

    def fill(self) -> None:
        """Have bytes at hand again, unless there are none left. What `take` gave must be out of use."""
        if not self._here and self._next:
            self._here, self._next = self._next, memoryview(b"")
            self._next = self._read()

    def stop(self) -> None:
        """Let whoever takes fail: the upload is over."""
        self._stopped = True

    def _read(self) -> memoryview:
        return memoryview(self._source.read(BLOCK))


class Streamed:
    """The next bytes of a source as the body of a PUT: `size` of them, or at most `most`. `sum`: is fed with them."""

    def __init__(self, blocks: Blocks, most: int, size: int | None, sum: Any = None) -> None:
        self._blocks, self._left, self._exact = blocks, most if size is None else size, size is not None
        self.sum = sum
        self._piece = memoryview(b"")
        self.fresh = True
        self.failure: BaseException | None = None
        self.sent = threading.Event()
        """Set once everything is taken: others may go on with the source."""

    def read(self, size: int = -1, /) -> memoryview:
        """A whole piece, whatever was asked: the libraries ask for 16 KiB, and send what they get."""
        self.fresh = False
        # The libraries still hold the last piece; a block behind it must not stay because of that.
        self._piece.release()
        try:
            self._blocks.fill()
            most = self._left - TAIL if self._exact and self._left > TAIL else self._left
            self._piece = self._blocks.take(min(most, PIECE))
        except BaseException as error:
            self.failure = error
            raise
        self._left -= len(self._piece)
        if self.sum is not None:
            self.sum.update(self._piece)
        if self._exact and not self._piece and self._left:
            self.failure = SizeMismatch("The data is shorter than announced.")
            raise self.failure
        if self._exact and self._left < TAIL:
            # Nobody asks for the end of a body whose length is known, so the last piece must not need its block.
            copy = bytes(self._piece)
            self._piece.release()
            self._piece = memoryview(copy)
        if not self._piece:
            # Even an empty view keeps its block.
            self._piece = memoryview(b"")
        if not self._piece or (self._exact and not self._left):
            self.sent.set()
        return self._piece


class Spooled:
    """A segment in a file: it can be sent again."""

    def __init__(self, blocks: Blocks, most: int, folder: str) -> None:
        with _spooling():
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open until it is stored
        self.failure: BaseException | None = None
        self.size = 0
        self.sum: Any = _md5()
        try:
            while self.size < most and not blocks.ended:
                piece = blocks.take(min(most - self.size, BLOCK))
                with _spooling():
                    self._file.write(piece)
                self.sum.update(piece)
                self.size += len(piece)
                piece.release()
                blocks.fill()
            with _spooling():
                self._file.seek(0)
        except BaseException:
            # What is still to be written cannot be, perhaps.
            with suppress(OSError):
                self._file.close()
            raise

    @property
    def fresh(self) -> bool:
        """Always, from its start."""
        self._file.seek(0)
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(PIECE)

    def close(self) -> None:
        self._file.close()


@contextmanager
def _spooling() -> Iterator[None]:
    """A folder that is full or gone is no failure of Swift, and may be better in a moment."""
    try:
        yield
    except OSError as error:
        raise StoreDenied(f"swift_upload_buffer_dir cannot be used: {error.strerror}") from error


class Upload:
    """One object being added to a container in which its name is free."""

    def __init__(self, link: Link, container: str, name: str, blocks: Blocks, folder: str | None = None) -> None:
        self._link, self._container, self._name, self._blocks, self._folder = link, container, name, blocks, folder
        self._mark = uuid.uuid4().hex
        self._started: list[str] = []

    def whole(self, size: int) -> str:
        """As one object; its ETag. Raises StoreError, and what the source does; then nothing of it stays."""
        body = Streamed(self._blocks, size, size) if size else b""
        try:
            return self._put(self._name, body, size)
        except BaseException as error:
            self._undo(error)
            raise

    def segments(self, size: int | None, length: int) -> None:
        """In segments of `length` bytes. Raises StoreError, and what the source does; then nothing of it stays."""
        try:
            with ThreadPoolExecutor(2, thread_name_prefix="swift-upload") as pool:
                self._send_all(pool, size, length)
            manifest = f"{quote(self._container)}/{quote(self._name)}-"
            self._put(self._name, b"", 0, {"X-Object-Manifest": manifest})
        except BaseException as error:
            self._undo(error)
            raise

    def _send_all(self, pool: ThreadPoolExecutor, size: int | None, length: int) -> None:
        """One segment is sent while the one before is being stored, no more."""
        before: Future[None] | None = None
        number = 0
        try:
            while not self._blocks.ended:
                number += 1
                left = self._blocks.known if size is None else size - self._blocks.count
                if left == 0:
                    raise SizeMismatch("The data is longer than announced.")
                now = self._send(pool, f"{self._name}-{number:05}", left, length)
                if before is not None:
                    before.result()
                before = now
                # Whether there is another segment is known when all of this one is taken.
                self._blocks.fill()
        except BaseException:
            self._blocks.stop()
            if before is not None:
                before.result()  # raises what came first
            raise
        if before is not None:
            before.result()
        if size is not None and size != self._blocks.count:
            raise SizeMismatch("The data is shorter than announced.")

    def _send(self, pool: ThreadPoolExecutor, name: str, left: int | None, length: int) -> Future[None]:
        """Begin with a segment; the source is free again afterwards."""
        # A token may have ended meanwhile, and the PUT cannot be repeated: so another request finds it out.
        self._link.look("head_container", self._container)
        if self._folder:
            return pool.submit(self._put_spooled, name, Spooled(self._blocks, length, self._folder))
        size = None if left is None else min(left, length)
        body = Streamed(self._blocks, length, size, _md5())
        job = pool.submit(self._put_segment, name, body, size)
        job.add_done_callback(partial(self._settled, body.sent))
        body.sent.wait()
        if body.failure is not None:
            raise body.failure
        if job.done():
            job.result()
        return job

    def _settled(self, sent: threading.Event, job: Future[None]) -> None:
        if job.exception() is not None:
            self._blocks.stop()
        sent.set()

    def _put_spooled(self, name: str, body: Spooled) -> None:
        try:
            self._put_segment(name, body, body.size)
        finally:
            body.close()

    def _put_segment(self, name: str, body: Streamed | Spooled, size: int | None) -> None:
        tag = self._put(name, body, size)
        if tag and tag != body.sum.hexdigest():
            raise StoreError("Swift has stored other bytes than were sent.")

    def _put(
        self, name: str, body: bytes | Streamed | Spooled, size: int | None, more: dict[str, str] | None = None
    ) -> str:
        """The ETag of what is stored then."""
        self._started.append(name)
        headers = {"If-None-Match": "*", "Content-Type": "application/octet-stream", MARK: self._mark, **(more or {})}
        try:
            return self._link.put(self._container, name, body, size, headers)
        except ObjectExists:
            # A PUT that was repeated meets what the first one has stored.
            found = self._ours(name)
            if found is None:
                raise
            return found.get("etag", "").strip('"')

    def _undo(self, reason: BaseException) -> None:
        """Remove what is there and ours, the manifest first. Raises Leftovers, from the reason of all this."""
        stays = False
        for name in sorted(self._started, key=len):
            try:
                if self._ours(name) is not None:
                    with suppress(ObjectNotFound):
                        self._link.look("delete_object", self._container, name)
            except FanlightError as error:
                LOG.warning("%s of a failed upload may be left in container %s: %s", name, self._container, error)
                stays = True
                if isinstance(error, StoreUnreachable | StoreTimeout):
                    break
        if stays:
            leave_to_discard(reason)

    def _ours(self, name: str) -> dict[str, str] | None:
        """The headers of an object, if it is of this upload."""
        try:
            found: dict[str, str] = self._link.look("head_object", self._container, name)
        except ObjectNotFound:
            return None
        return found if found.get(MARK) == self._mark else None


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
