"""Images as VDIs of a Sheepdog cluster. Type `sheepdog`; URLs `sheepdog://<address>:<port>:<id>`, read also `sheepdog://<id>`.

Sheepdog has no client library for Python: every step is a run of its command `dog` (`collie` in old releases) against
a gateway, with a list of arguments and never a shell (CVE-2014-0162). What reaches the command is plain, and stands
behind `--`, so that no name is taken for an option.

Every gateway serves the whole cluster, so the store asks its own, whatever gateway a URL names: URLs outlive gateways,
and no URL can make the service connect to a place of its author's choice.

A VDI has its name from the moment it is made, not from the moment it is whole. So whatever fails here removes it, and
what a killed process leaves is removed by `discard`, whose caller knows that nobody writes there any more.
"""

from __future__ import annotations

import logging
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Generator
from typing import Any

from msgspec import Struct

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectExists,
    ObjectNotFound,
    RangeNotSatisfiable,
    SizeMismatch,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores.driver import Added, Context, Opened, Source, Store, leave_to_discard

LOG = logging.getLogger(__name__)
MIB = 1024 * 1024
BLOCK = 4 * MIB
"""Bytes given to or taken from a command at a time: Sheepdog's own object size."""
GROWTH = 8 * MIB
"""Bytes kept in memory at most, where an object grows because its size is not known before."""
PATIENCE = 60.0
"""Seconds without any progress after which a command is given up."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)
_LONG = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*)):([0-9]{1,5}):([^:]*)", re.ASCII)
_SYSTEM, _FULL, _MISSING = 2, 4, 5  # exit statuses; 1 is a failure of any kind, 64 wrong usage
_NO_ROOM = ("no space", "Maximum number of VDIs", "VDI size is larger", "VDI size is too large")
_AWAY = (
    "failed to connect",
    "failed to send",
    "failed to read",
    "Invalid ip address",
    "Waiting for",
    "Cluster has not been formatted",
    "IO has halted",
    "still booting",
    "shutting down",
)
"""Sheepdog's own texts: the cluster is full; the gateway or the cluster behind it cannot serve now."""


class Address(Struct, frozen=True):
    """A VDI, and the gateway by which it was written (None: not told). A host with colons is an IPv6 address."""

    name: str
    host: str | None = None
    port: int = 0

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take a URL apart. Raises MalformedLocation for everything that is not plain."""
        scheme, separator, rest = url.partition("://")
        if scheme.lower() != "sheepdog" or not separator:
            raise MalformedLocation
        if ":" not in rest:
            return cls(_plain(rest, _NAME))
        match = _LONG.fullmatch(rest)
        if match is None:
            raise MalformedLocation
        version6, host, port, name = match.groups()
        if (version6 is not None and ":" not in version6) or not 0 < int(port) < 65536:
            raise MalformedLocation
        return cls(_plain(name, _NAME), _plain(version6 or host, _HOST), int(port))

    @property
    def url(self) -> str:
        """The canonical form."""
        if self.host is None:
            return f"sheepdog://{self.name}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sheepdog://{host}:{self.port}:{self.name}"


class Sheepdog(Store):
    """One Sheepdog cluster, by way of one of its gateways."""

    schemes = ("sheepdog",)

    def configure(self) -> None:
        """Read the options and find the command. Raises BadStoreConfiguration for values that are not plain."""
        self._host = str(self.options.get("sheepdog_store_address") or "127.0.0.1").strip("[]")
        self._port = int(self.options.get("sheepdog_store_port") or 7000)
        chunk = self.options.get("sheepdog_store_chunk_size")
        self._chunk = int(64 if chunk is None else chunk) * MIB
        self._command = shutil.which("dog") or shutil.which("collie")
        if not _HOST.fullmatch(self._host):
            raise BadStoreConfiguration("sheepdog_store_address is not the address of a host.")
        if not 0 < self._port < 65536:
            raise BadStoreConfiguration("sheepdog_store_port is not the number of a port.")
        if self._chunk <= 0:
            raise BadStoreConfiguration("sheepdog_store_chunk_size must be at least 1.")

    def configure_add(self) -> None:
        """The command must be there; the cluster need not be up yet. Raises BadStoreConfiguration."""
        if self._command is None:
            raise BadStoreConfiguration("Neither dog nor collie, the commands of Sheepdog, is in PATH.")

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """Open the VDI; a command runs for each chunk, as it is read."""
        address = Address.parse(url)
        size = self._size(address)
        rest = size - offset
        if rest < 0 or (length is not None and length > rest):
            raise RangeNotSatisfiable(size=size)
        wanted = rest if length is None else length
        blocks = self._blocks(address, offset, wanted)
        return Opened(wanted, blocks, blocks.close)

    def get_size(self, url: str, context: Context | None = None) -> int:
        """Size of the VDI."""
        return self._size(Address.parse(url))

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        """Make the VDI, which fails if its name is taken, and fill it."""
        address = self._place(object_id)
        self.run("create", address, size or 0)
        try:
            written = self._fill(address, source, size) if size is not None else self._grow(address, source)
        except BaseException as error:
            self._undo(address, error)
            raise
        return Added(address.url, written)

    def delete(self, url: str, context: Context | None = None) -> None:
        """Delete the VDI. Its snapshots, which somebody else has made, stay."""
        address = Address.parse(url)
        if self._find(address) is None:
            raise ObjectNotFound
        self._remove(address)

    def discard(self, object_id: str) -> None:
        """Delete the VDI at the store's own gateway, if there is one."""
        self._remove(self._place(object_id))

    def planned_url(self, object_id: str) -> str | None:
        """Always known."""
        return self._place(object_id).url

    def check(self) -> str:
        """Ask the gateway for a VDI that nobody has."""
        self.run("list", Address("fanlight-check"))
        return f"the gateway at {self._host} port {self._port} answers"

    def _place(self, object_id: str) -> Address:
        return Address(object_id, self._host, self._port)

    def _size(self, address: Address) -> int:
        size = self._find(address)
        if size is None:
            raise ObjectNotFound
        return size

    def _find(self, address: Address) -> int | None:
        """Size in bytes of the VDI of that name, None if there is none. Clones (`c`) are VDIs, snapshots (`s`) not."""
        for line in self.run("list", address).decode(errors="replace").splitlines():
            words = line.split(" ")
            if words[0] in ("=", "c") and len(words) > 3 and words[1] == address.name:
                if not words[3].isdigit():
                    raise StoreError("Sheepdog gave a size that is no number.")
                return int(words[3])
        return None

    def _blocks(self, address: Address, offset: int, length: int) -> Generator[bytes, None, None]:
        """The bytes, chunk by chunk. Raises StoreError where the VDI ends early."""
        end = offset + length
        while offset < end:
            stop = min(offset + self._chunk, end)
            with self.start("read", address, offset, stop - offset) as command:
                while offset < stop and (block := command.read(min(BLOCK, stop - offset))):
                    offset += len(block)
                    yield block
            if offset < stop:
                raise StoreError("The stored data ends before its recorded size.")

    def _fill(self, address: Address, source: Source, size: int) -> int:
        """Write an object whose size is known, straight from the source, one command for each chunk."""
        place = 0
        rest = memoryview(b"")
        while place < size:
            length = min(self._chunk, size - place)
            with self.start("write", address, place, length) as command:
                while length:
                    if not rest and not (rest := memoryview(source.read(BLOCK))):
                        # The command would fill up with zeros and call it a success.
                        raise SizeMismatch(f"{size} bytes were announced, {place} came.")
                    piece, rest = rest[:length], rest[length:]
                    command.feed(piece)
                    place += len(piece)
                    length -= len(piece)
        if rest or source.read(1):
            raise SizeMismatch(f"{size} bytes were announced, more came.")
        return place

    def _grow(self, address: Address, source: Source) -> int:
        """Write an object of unknown size. A VDI cannot shrink, so it grows by what is there already."""
        place = 0
        piece = bytearray()
        ended = False
        while not ended:
            block = source.read(min(BLOCK, GROWTH - len(piece)))
            piece += block
            ended = not len(block)
            del block
            if piece and (ended or len(piece) >= GROWTH):
                self.run("resize", address, place + len(piece))
                with self.start("write", address, place, len(piece)) as command:
                    command.feed(memoryview(piece))
                place += len(piece)
                piece = bytearray()
        return place

    def _remove(self, address: Address) -> None:
        """Delete a VDI, if it is there. The command says 0 whatever happens, so look whether it is gone."""
        self.run("delete", address)
        if self._find(address) is not None:
            raise StoreError("Sheepdog did not delete the VDI.")

    def _undo(self, address: Address, reason: BaseException) -> None:
        """Remove what was written. What cannot be removed now is left to `discard`: Leftovers."""
        try:
            self._remove(address)
        except StoreError as error:
            LOG.warning("what was written of %s cannot be removed: %s", address.url, error)
            leave_to_discard(reason)

    def run(self, verb: str, address: Address, *numbers: int) -> bytes:
        """Run a command that needs no input, to its end, and give what it prints. Raises StoreError."""
        with self.start(verb, address, *numbers) as command:
            return b"".join(iter(lambda: command.read(BLOCK), b""))

    def start(self, verb: str, address: Address, *numbers: int) -> _Command:
        """Start `dog vdi <verb>` for a VDI. Raises StoreError."""
        if self._command is None:
            raise StoreUnreachable("Neither dog nor collie, the commands of Sheepdog, is in PATH.")
        gateway = ["-a", self._host, "-p", str(self._port)]
        raw = ["-r"] if verb == "list" else []
        # Checked where URLs are parsed; here once more, because this is where a wrong name would do harm.
        name = _plain(address.name, _NAME)
        return _Command([self._command, "vdi", verb, *raw, *gateway, "--", name, *map(str, numbers)])


class _Command:
    """One run of the command. In a `with` block: to its end, which must be a good one. Else call `close`, whatever
    happens."""

    def __init__(self, arguments: list[str]) -> None:
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
            )
        except OSError as error:
            raise StoreUnreachable(f"The command of Sheepdog does not start: {error.strerror}") from error
        pipes: Any = self._process
        self._stdin, self._stdout, self._stderr = pipes.stdin, pipes.stdout, pipes.stderr
        os.set_blocking(self._stdin.fileno(), False)
        self._complaint = b""
        self._complaining = True

    def __enter__(self) -> _Command:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                self.end()
        finally:
            self.close()

    def feed(self, data: memoryview) -> None:
        """Give bytes to its stdin. Raises StoreError when it ends before it has taken them."""
        while data:
            self._wait(self._stdin.fileno(), select.POLLOUT)
            try:
                data = data[os.write(self._stdin.fileno(), data) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                self.end()
                raise StoreError("The command of Sheepdog ended before it had read everything.") from None

    def read(self, size: int) -> bytes:
        """At most `size` bytes of its stdout; none at the end."""
        self._wait(self._stdout.fileno(), select.POLLIN)
        return os.read(self._stdout.fileno(), size)

    def end(self) -> None:
        """Wait for its end. Raises what it complains of."""
        self._stdin.close()
        while self._complaining:
            self._wait()
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise StoreTimeout from None
        if status:
            raise _explain(status, self._complaint.decode(errors="replace"))

    def close(self) -> None:
        """End it, however far it is. It may finish the one request it has under way: no write comes after a delete."""
        self._stdin.close()
        self._stdout.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def _wait(self, file: int | None = None, event: int = 0) -> None:
        """Until there is an event on a pipe, or (None) something on stderr. Raises StoreTimeout after PATIENCE.

        What it complains of is read meanwhile, or a full pipe would stop it.
        """
        complaints = self._stderr.fileno()
        poll = select.poll()
        if self._complaining:
            poll.register(complaints, select.POLLIN)
        if file is not None:
            poll.register(file, event)
        until = time.monotonic() + PATIENCE
        while True:
            ready = dict(poll.poll(max(0.0, until - time.monotonic()) * 1000))
            if not ready:
                self._process.kill()
                raise StoreTimeout
            if complaints in ready:
                block = os.read(complaints, 65536)
                self._complaint = (self._complaint + block)[-4096:]
                if not block:
                    self._complaining = False
                    poll.unregister(complaints)
            if file is None or file in ready:
                return


def _plain(text: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(text):
        raise MalformedLocation
    return text


def _explain(status: int, complaint: str) -> StoreError:
    """What an exit status and a text of the command mean. The texts are those of Sheepdog's own table of results."""
    if "VDI exists already" in complaint:
        return ObjectExists()
    if status == _FULL or any(text in complaint for text in _NO_ROOM):
        return StoreFull()
    if status == _MISSING or "No VDI found" in complaint:
        return ObjectNotFound()
    if status == _SYSTEM or any(text in complaint for text in _AWAY):
        return StoreUnreachable()
    lines = complaint.strip().splitlines()
    return StoreError(f"Sheepdog failed with status {status}: {lines[-1][:200] if lines else 'it says nothing'}")
