"""A stand-in for `dog`, the command of Sheepdog: `vdi create|delete|list|read|write|resize`, VDIs as local files.

It answers as the command of Sheepdog 1.0 does with a cluster of one node: the same exit status, the same first line of
text. DOG_STATE is its folder, DOG_PORT the one port where it plays a gateway, DOG_FULL the bytes that fit into it.
"""

from __future__ import annotations

import getopt
import os
import sys
import time

# It is started for every step of a test: what takes time to import is imported where it is used.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

OBJECT = 4 * 1024 * 1024
"""Bytes of one object, the unit in which data is stored."""
LARGEST = 4 << 40
"""Bytes of the largest VDI without further options."""
FAILURE, SYSTEM, USAGE = 1, 2, 64
UNITS = {"K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "B": 0}


def leave(status: int, text: str) -> NoReturn:
    """End with a line on stderr."""
    print(text, file=sys.stderr)
    sys.exit(status)


def number(text: str) -> int:
    """A count of bytes, with or without a unit."""
    digits, unit = (text[:-1], UNITS[text[-1].upper()]) if text[-1:].upper() in UNITS else (text, 0)
    if not (digits.isascii() and digits.isdigit()):
        leave(USAGE, f"Invalid size '{text}'")
    return int(digits) << unit


def remove(folder: str) -> None:
    """Remove the folder of a VDI."""
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    os.rmdir(folder)


class Cluster:
    """The VDIs: a folder each, with the files `name` and `data`. A folder appears at once, with both."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.makedirs(folder, exist_ok=True)

    def place(self, name: str) -> str:
        """The folder of a VDI."""
        return os.path.join(self.folder, name.replace("%", "%25").replace("/", "%2f").replace(".", "%2e"))

    def data(self, name: str) -> str:
        """The file of a VDI that must be there."""
        path = os.path.join(self.place(name), "data")
        if not os.path.exists(path):
            leave(FAILURE, f"Failed to open VDI {name} (snapshot id: 0 snapshot tag: ): No VDI found")
        return path

    def used(self) -> int:
        """Bytes on the disk."""
        paths = [os.path.join(self.folder, place, "data") for place in os.listdir(self.folder)]
        return sum(os.stat(path).st_blocks * 512 for path in paths if os.path.exists(path))

    def create(self, name: str, args: Sequence[str]) -> None:
        if not args:
            leave(USAGE, "Please specify the VDI size")
        size = number(args[0])
        if size > LARGEST:
            leave(USAGE, "VDI size is larger than 4.0 TB bytes, please use '-y' to create a hyper volume")
        fresh = os.path.join(self.folder, f"new.{os.getpid()}.{time.monotonic_ns()}")
        os.mkdir(fresh)
        with open(os.path.join(fresh, "name"), "w") as file:
            file.write(name)
        with open(os.path.join(fresh, "data"), "wb") as data:
            data.truncate(size)
        try:
            os.rename(fresh, self.place(name))
        except OSError:
            remove(fresh)
            leave(FAILURE, f"Failed to create VDI {name}: VDI exists already")

    def delete(self, name: str, args: Sequence[str]) -> None:
        gone = os.path.join(self.folder, f"old.{os.getpid()}.{time.monotonic_ns()}")
        try:
            os.rename(self.place(name), gone)
        except FileNotFoundError:
            # As the real one: an error in its text only.
            leave(0, f"Failed to open VDI {name} (snapshot id: 0 snapshot tag: ): No VDI found")
        remove(gone)

    def list(self, wanted: str | None) -> None:
        for place in sorted(os.listdir(self.folder)):
            if "." in place:
                continue
            try:
                with open(os.path.join(self.folder, place, "name")) as file:
                    name = file.read()
                status = os.stat(os.path.join(self.folder, place, "data"))
            except FileNotFoundError:
                continue  # deleted meanwhile
            if wanted is None or name == wanted:
                used = -(-status.st_blocks * 512 // OBJECT) * OBJECT
                shown = name.replace("\\", "\\\\").replace(" ", "\\ ")
                print(f"= {shown} 0 {status.st_size} {used} 0 {int(status.st_mtime)} {status.st_ino:x} 1  22")

    def resize(self, name: str, args: Sequence[str]) -> None:
        if not args:
            leave(USAGE, "Please specify the new size for the VDI")
        path, size = self.data(name), number(args[0])
        if size < os.path.getsize(path):
            leave(USAGE, "Shrinking VDIs is not implemented")
        if size > LARGEST:
            leave(USAGE, f"New VDI size is too large. This volume's max size is {LARGEST}")
        os.truncate(path, size)

    def read(self, name: str, args: Sequence[str]) -> None:
        path = self.data(name)
        offset, left = stretch(os.path.getsize(path), args, "Read")
        with open(path, "rb") as file:
            file.seek(offset)
            while left:
                block = file.read(min(left, OBJECT - file.tell() % OBJECT))
                left -= len(block)
                try:
                    sys.stdout.buffer.write(block)
                except BrokenPipeError:
                    # At once: Python would try to flush again.
                    os._exit(SYSTEM)

    def write(self, name: str, args: Sequence[str]) -> None:
        path = self.data(name)
        offset, left = stretch(os.path.getsize(path), args, "Write")
        with open(path, "r+b", buffering=0) as file:
            file.seek(offset)
            while left:
                wanted = min(left, OBJECT - file.tell() % OBJECT)
                block = sys.stdin.buffer.read(wanted)
                if self.used() + wanted > int(os.environ.get("DOG_FULL", 1 << 62)):
                    leave(FAILURE, "Failed to write object 0: Server has no space for new objects\nFailed to write VDI")
                # Too little on stdin is filled with zeros to the end of the object, and is no error.
                file.write(block.ljust(wanted, b"\0"))
                left = left - wanted if len(block) == wanted else 0


def stretch(size: int, args: Sequence[str], verb: str) -> tuple[int, int]:
    """Offset and length in bytes, cut at the end of the VDI."""
    offset = number(args[0]) if args else 0
    if offset > size:
        leave(FAILURE, f"{verb} offset is beyond the end of the VDI")
    return offset, min(number(args[1]) if len(args) > 1 else size, size - offset)


def elsewhere(address: str, port: str, status: int) -> NoReturn:
    """There is no gateway: connect, and wait for an answer, as the real one does."""
    import socket

    try:
        with socket.create_connection((address, int(port))) as connection:
            connection.sendall(bytes(48))
            connection.recv(1)
    except socket.gaierror:
        leave(FAILURE if status else 0, f"Invalid ip address {address}")
    except OSError as error:
        leave(status, f"failed to connect to {address}:{port}: {error.strerror}")
    leave(status, "failed to read a response")


def main(argv: Sequence[str]) -> None:
    """Do what the arguments say."""
    if not argv:
        print("Sheepdog administrator utility (a stand-in)\nUsage: dog <command> <subcommand> [options]")
        return
    if argv[0] != "vdi" or len(argv) < 2 or argv[1] not in ("create", "delete", "list", "read", "resize", "write"):
        leave(USAGE, f"Invalid command '{' '.join(argv[:2])}'")
    try:
        given, args = getopt.gnu_getopt(list(argv[2:]), "a:p:rTh")
    except getopt.GetoptError as error:
        leave(USAGE, f"dog: invalid option -- '{error.opt}'")
    options = dict(given)
    address, port = options.get("-a", "127.0.0.1"), options.get("-p", "7000")
    if address not in ("127.0.0.1", "localhost") or port != os.environ["DOG_PORT"]:
        # `delete` ends with 0 whatever happens, in the real one too.
        elsewhere(address, port, 0 if argv[1] == "delete" else SYSTEM)
    cluster = Cluster(os.environ["DOG_STATE"])
    if argv[1] == "list":
        return cluster.list(args[0] if args else None)
    if not args:
        leave(USAGE, "")
    command: Callable[[str, Sequence[str]], None] = getattr(cluster, argv[1])
    command(args[0], args[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
