"""A store in a process of its own: one that can be killed in the middle of an add, and whose memory can be watched."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from fanlight.model import Caller, Location, Stored
from tests.stores.place import MIB, STORE, Bytes, new_id, open_one

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0


class Task(msgspec.Struct, frozen=True):
    """What the process is told, as JSON on its standard input."""

    type: str
    options: dict[str, Any]
    context: Caller | None
    object_id: str
    size: int
    announced: int | None
    measure: bool
    url: str | None
    """The object to read, where none can be added."""


class Measured(msgspec.Struct, frozen=True):
    """Bytes of memory: before, and the most while an object was added and while it was read."""

    before: int
    adding: int
    reading: int


class Child(AbstractContextManager["Child"]):
    """Starts, adds an object that never ends, and dies with the block at the latest."""

    def __init__(self, kind: str, options: Mapping[str, Any], context: Caller | None) -> None:
        self._kind, self._options, self._context = kind, dict(options), context
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.child"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def add(self, object_id: str, size: int, announced: int | None) -> None:
        """Begin: give `size` bytes, and then neither more nor an end."""
        self._tell(Task(self._kind, self._options, self._context, object_id, size, announced, False, None))

    def measure(self, object_id: str, size: int, announced: int | None, url: str | None = None) -> Measured:
        """Add an object of `size` bytes, read and delete it; or only read the one at `url`."""
        self._tell(Task(self._kind, self._options, self._context, object_id, size, announced, True, url))
        assert self._process.stdout is not None
        out = self._process.stdout.read()
        assert self._process.wait(START_SECONDS) == 0
        return msgspec.json.decode(out, type=Measured)

    def wait_until_given(self, size: int) -> None:
        """Until the driver has taken `size` bytes."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line == b"%d\n" % size, f"the process ended, or said {line!r}"

    def kill(self) -> None:
        """SIGKILL: it has no chance to clean up."""
        self._process.kill()
        self._process.wait(START_SECONDS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _tell(self, task: Task) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(task))
        self._process.stdin.close()


# -- in that process


class Stuck:
    """Gives its bytes, says so, and then waits for ever."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._given = 0

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._size - self._given
        if not wanted:
            print(self._size, flush=True)
            threading.Event().wait()
        block = bytes(wanted if size < 0 else min(size, wanted))
        self._given += len(block)
        return block


class Endless:
    """Gives `size` bytes that are made on the way."""

    def __init__(self, size: int) -> None:
        self._rest = size
        self._block = bytearray(hashlib.sha512(b"x").digest() * (MIB // 64))
        self._number = 0

    def read(self, size: int = -1, /) -> bytes:
        length = min(self._rest, MIB if size < 0 else size, MIB)
        self._rest -= length
        self._number += 1
        self._block[:8] = self._number.to_bytes(8, "big")
        return bytes(self._block[:length])


def _measure(task: Task) -> Measured:
    stores = open_one(task.type, task.options)

    def add(source: Endless | Bytes, object_id: str, size: int | None) -> tuple[int, Stored]:
        _forget_peak()
        stored = stores.put(STORE, object_id, source, size, algorithm="sha512", context=task.context)
        return _status("VmHWM"), stored

    def read(url: str) -> tuple[int, str]:
        _forget_peak()
        reader = stores.open(Location(url=url, metadata={"store": STORE}), context=task.context)
        digest = hashlib.sha512()
        for block in reader:
            digest.update(block)
        reader.close()
        return _status("VmHWM"), digest.hexdigest()

    if task.url is not None:
        stores.size(Location(url=task.url, metadata={"store": STORE}), context=task.context)
        before = _status("VmRSS")
        return Measured(before, before, read(task.url)[0])
    _, small = add(Bytes(b"so that libraries are loaded"), new_id(), None)
    read(small.url)
    before = _status("VmRSS")
    adding, stored = add(Endless(task.size), task.object_id, task.announced)
    reading, digest = read(stored.url)
    assert digest == stored.os_hash_value
    for one in (small, stored):
        stores.delete(Location(url=one.url, metadata=one.metadata), context=task.context)
    return Measured(before, adding, reading)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    if task.measure:
        print(msgspec.json.encode(_measure(task)).decode())
        return
    stores = open_one(task.type, task.options)
    stores.put(STORE, task.object_id, Stuck(task.size), task.announced, algorithm="sha512", context=task.context)


if __name__ == "__main__":
    main()
