"""A multipart upload of S3: cut what comes into parts and send a few of them at a time, in bounded memory."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from msgspec import Struct

from fanlight.stores.driver import Source

MIB = 1024 * 1024
BLOCK = 4 * MIB
"""Bytes read at a time."""
PARTS = 10_000
"""Parts that an upload may have (S3, "multipart upload limits")."""
FEW = 1_000
"""Parts that an upload has where that needs none of more than `HANDY` bytes: Swift's s3api takes no more by default."""
HANDY = 16 * MIB
MEMORY = 40 * MIB
"""Bytes that the parts of one upload take, unless one part alone is larger (images of more than 400 GiB)."""
PIECE = 256 * 1024
"""Bytes given to the socket at a time: its time limit is for each piece. With a part in one piece it would be for
all of it, however large it is and however slow the line."""
GROWTH = 17
"""Bytes that parts of an upload of unknown size grow by, times the square of their number: 10,000 of them hold 5 TiB,
S3's largest object, and those of the first gigabytes hardly grow."""


class Part(Struct):
    """Bytes of one part. `is_last`: the source has ended."""

    data: bytearray
    is_last: bool


class Sent:
    """The bytes of a part as a file that botocore sends; it may do so more than once."""

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = data
        self._place = 0

    def __len__(self) -> int:
        return len(self._data)

    def read(self, size: int | None = -1, /) -> bytes:
        """What is left, or a piece of it: no less than what is asked for, 16 KiB where it goes to the socket."""
        end = len(self._data) if size is None or size < 0 else self._place + max(size, PIECE)
        # A copy, since nobody says when a view would be out of use, and the memory of the part is wanted back.
        piece = bytes(memoryview(self._data)[self._place : end])
        self._place += len(piece)
        return piece

    def seek(self, place: int, whence: int = 0, /) -> int:
        """As of a file."""
        self._place = max(0, place + (0, self._place, len(self._data))[whence])
        return self._place

    def tell(self) -> int:
        """As of a file."""
        return self._place


def part_size(base: int, size: int | None, number: int) -> int:
    """Bytes of part `number` (from 1) of an object of `size` bytes, None if that is unknown; at least `base`.

    In whole MiB, so that one part's memory can be the next one's.
    """
    if size is not None:
        wanted = max(base, min(HANDY, -(-size // FEW)), -(-size // PARTS))
        return -(-wanted // MIB) * MIB
    return base + GROWTH * (number - 1) ** 2 // MIB * MIB


def next_part(source: Source, size: int, data: bytearray | None = None) -> Part:
    """Read at most `size` bytes, into `data` where that has just this length."""
    if data is None or len(data) != size:
        data = bytearray(size)
    place = 0
    with memoryview(data) as view:
        while place < size:
            block = source.read(min(BLOCK, size - place))
            if not len(block):
                break
            view[place : place + len(block)] = block
            place += len(block)
            # Its memory is wanted back.
            del block
    del data[place:]
    return Part(data, place < size)


def md5(data: bytes | bytearray) -> str:
    """In hex, as in an ETag."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def told_md5(answer: Mapping[str, Any]) -> str | None:
    """The MD5 that the answer to a PUT says the server has; None where its ETag is something else.

    It is no MD5 where the server encrypts with a key of KMS or of the client (S3, "PutObject", ETag).
    """
    tag = str(answer.get("ETag") or "").strip('"')
    encrypted = answer.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in answer
    return tag if not encrypted and re.fullmatch(r"[0-9a-f]{32}", tag) else None


class Upload:
    """`send(number, data)` stores one part and gives its tag; it is called from several threads at a time."""

    def __init__(self, send: Callable[[int, bytearray], str], base: int, size: int | None, threads: int) -> None:
        self.written = 0
        self._send, self._base, self._size, self._threads = send, base, size, threads
        self._flying: deque[tuple[Future[str], bytearray]] = deque()

    def run(self, source: Source, part: Part) -> list[str]:
        """Send `part` and all that still comes; the tags in order. When this ends, however it does, nothing is sent
        any more. Raises what the source and `send` raise."""
        tags: list[str] = []
        number, sent = 1, None
        with ThreadPoolExecutor(self._threads, thread_name_prefix="s3-parts") as pool:
            try:
                while part.data:
                    # One more is being filled meanwhile.
                    while len(self._flying) >= self._limit(len(part.data)):
                        future, sent = self._flying.popleft()
                        tags.append(future.result())
                    self.written += len(part.data)
                    self._flying.append((pool.submit(self._send, number, part.data), part.data))
                    if part.is_last:
                        break
                    number += 1
                    size = part_size(self._base, self._size, number)
                    if sent is not None and len(sent) != size:
                        sent = None
                    part = next_part(source, size, sent)
                    sent = None
                tags += [future.result() for future, _ in self._flying]
            finally:
                pool.shutdown(cancel_futures=True)
        return tags

    def _limit(self, size: int) -> int:
        return max(1, min(self._threads, MEMORY // size - 1))
