"""Images as files of a directory, or of several. Type `file`; URLs `file:///path/of/the/directory/<id>`.

Crash safety: an object is written under a temporary name beside its place, synced, and only then given its name, which
fails if that name is taken; then the directory is synced. So a name always stands for whole, durable bytes.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self
from urllib.parse import quote, unquote

from msgspec import Struct

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectExists,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreDenied,
    StoreError,
    StoreForbidden,
    StoreFull,
)
from fanlight.stores.driver import Added, Context, Opened, Source, Store, leave_to_discard
from fanlight.stores.filesystem_options import directories, file_mode, let_through, mountpoints
from fanlight.stores.patience import Patience

LOG = logging.getLogger(__name__)
BLOCK = 4 * 1024 * 1024
"""Bytes read and written at a time."""
WRITE_BACK = 8 * 1024 * 1024
"""Bytes after which the kernel is told to begin writing, so that the last sync finds little left."""
HOLE = 64 * 1024
"""Bytes of zeros that become a hole, with thin provisioning."""
_ZEROS = bytes(HOLE)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What file systems say that know no hard links: SMB, FAT, some in user space."""
_SYNC_FILE_RANGE_WRITE = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


class Address(Struct, frozen=True):
    """Where an object is: an absolute path, as it stands in the URL, which may be quoted (ours) or not (Glance's)."""

    quoted: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises MalformedLocation."""
        scheme, separator, path = url.partition("://")
        if not separator or scheme.lower() not in Filesystem.schemes or not path.startswith("/") or "\0" in path:
            raise MalformedLocation
        return cls(path)

    @classmethod
    def of(cls, path: str) -> Self:
        """The address of a file. Glance reads no quotes, so there are none but where nobody could do without."""
        is_plain = path.isprintable() and unquote(path) == path and not set(path) & set("?#")
        return cls(path if is_plain else quote(path))

    @property
    def url(self) -> str:
        return "file://" + self.quoted


class Filesystem(Store):
    """One store of local files."""

    schemes = ("file", "filesystem")

    def configure(self) -> None:
        """Find the directories. Raises BadStoreConfiguration for options that contradict each other."""
        self._directories = directories(self.options)
        also = self.options.get("filesystem_store_also_read") or []
        self._readable = [*self._directories, *(os.path.abspath(path) for path in also)]
        patience = Patience(
            self.id,
            self.options.get("filesystem_store_timeout", 0),
            self.options.get("filesystem_store_thread_pool_size", 10),
            self.options.get("filesystem_store_threadpool_threshold", 75),
        )
        self._in_time = patience.limit

    def configure_add(self) -> None:
        """Read what only new images need, and make the directories.

        Raises BadStoreConfiguration, also where a directory cannot be made or written.
        """
        self._mode = file_mode(self.options.get("filesystem_store_file_perm") or 0)
        self._thin = bool(self.options.get("filesystem_thin_provisioning"))
        self._mountpoints = mountpoints(self.options.get("filesystem_store_metadata_file"))
        for directory in self._directories:
            try:
                os.makedirs(directory, exist_ok=True)
                if self._mode and self._mode & (stat.S_IRWXG | stat.S_IRWXO):
                    let_through(directory, self._mode)
            except (OSError, ValueError) as error:
                raise BadStoreConfiguration(f"{directory!r} cannot be made: {error}") from error
            if not os.access(directory, os.W_OK | os.X_OK):
                raise BadStoreConfiguration(f"{directory} cannot be written.")

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """Open the file; its bytes may be sent from the descriptor."""
        return self._in_time(self._open, lambda late: late.close())(url, offset, length)

    def _open(self, url: str, offset: int, length: int | None) -> Opened:
        with _explained(reading=True):
            file = os.open(self._path(url), os.O_RDONLY | os.O_CLOEXEC)
            try:
                wanted = _wanted(file, offset, length)
                os.posix_fadvise(file, offset, wanted, os.POSIX_FADV_SEQUENTIAL)
            except BaseException:
                os.close(file)
                raise
        return Opened(wanted, _blocks(file, offset, wanted), _closer(file), (file, offset))

    def get_size(self, url: str, context: Context | None = None) -> int:
        """Size of the file."""
        return self._in_time(self._size)(url)

    def _size(self, url: str) -> int:
        with _explained(reading=True):
            return _regular(os.stat(self._path(url))).st_size

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        """Write under a temporary name, sync, link to the final name (which must be free), sync the directory."""
        directory = self._in_time(self._choose)(object_id, size or 0)
        final = os.path.join(directory, object_id)
        part = os.path.join(directory, f".{object_id}.{uuid.uuid4().hex}.part")
        with _explained():
            file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            written = self._fill(file, source, part, final)
        except FileExistsError:
            taken = ObjectExists()
            _take_back(taken, part)
            raise taken from None
        except BaseException as error:
            _take_back(error, part)
            raise
        try:
            with _explained():
                _forget(part)
                _sync_directory(directory)
        except StoreError as error:
            _take_back(error, part, final)
            raise
        return Added(Address.of(final).url, written, self._metadata(final))

    def _fill(self, file: int, source: Source, part: str, final: str) -> int:
        """Write, sync, close and name the file; how many bytes. Raises FileExistsError where the name is taken."""
        try:
            written = self._write(file, source)
            with _explained():
                if self._mode:
                    self._permit(file, final)
                os.fsync(file)
        finally:
            # Network file systems may tell of a quota only here.
            with _explained():
                os.close(file)
        with _explained():
            _link(part, final)
        return written

    def delete(self, url: str, context: Context | None = None) -> None:
        """Unlink the file."""
        directory = self._in_time(self._unlink)(url)
        with _explained():
            _sync_directory(directory)

    def _unlink(self, url: str) -> str:
        """Remove the file; its folder."""
        path = self._path(url)
        try:
            os.unlink(path)
        except FileNotFoundError:
            raise ObjectNotFound from None
        except OSError as error:
            raise StoreForbidden(f"The image data cannot be deleted: {error.strerror}") from error
        return os.path.dirname(path)

    def discard(self, object_id: str) -> None:
        """Remove the file and temporary files of an object from all directories."""
        part = re.compile(re.escape(f".{object_id}.") + r"[0-9a-f]{32}\.part")
        for directory in self._directories:
            self._in_time(_clear)(directory, lambda name: name == object_id or bool(part.fullmatch(name)))

    def planned_url(self, object_id: str) -> str | None:
        """Known where there is one directory."""
        if len(self._directories) > 1:
            return None
        return Address.of(os.path.join(next(iter(self._directories)), object_id)).url

    def check(self) -> str:
        """How much room there is."""
        room = {path: self._in_time(self._free)(path) for path in self._directories}
        return "; ".join(f"{free // 2**20} MiB free in {path}" for path, free in room.items())

    def owns(self, url: str) -> bool:
        """Whether the path lies in one of our directories."""
        try:
            self._in_time(self._path)(url)
        except StoreError:
            return False
        return True

    def _path(self, url: str) -> str:
        """The path of a location, which must lie in a directory of this store (or one of
        `filesystem_store_also_read`): no other file is ever read or removed.
        """
        quoted = Address.parse(url).quoted
        candidates = [path for path in dict.fromkeys((unquote(quoted), quoted)) if self._lies_within(path)]
        if not candidates:
            raise StoreForbidden("The location is outside of the store's directories.")
        if len(candidates) == 1:
            return candidates[0]
        return next((path for path in candidates if os.path.lexists(path)), candidates[0])

    def _lies_within(self, path: str) -> bool:
        folders = [os.path.realpath(directory) + os.sep for directory in self._readable]
        return os.path.realpath(path).startswith(tuple(folders))

    def _choose(self, object_id: str, size: int) -> str:
        """The directory for a new object: of the highest priority that has room, the one with most of it.

        Raises ObjectExists, StoreFull.
        """
        for directory in self._directories:
            if os.path.lexists(os.path.join(directory, object_id)):
                raise ObjectExists
        if self._thin and len(self._directories) == 1:
            # How much room the data takes shows when it is there.
            return next(iter(self._directories))
        for priority in sorted(set(self._directories.values()), reverse=True):
            group = [path for path, its in self._directories.items() if its == priority]
            room, path = max((self._free(path), path) for path in group)
            if room >= size:
                return path
        raise StoreFull

    def _write(self, file: int, source: Source) -> int:
        place = begun = 0
        while len(block := source.read(BLOCK)):
            with _explained():
                if self._thin:
                    _write_thinly(file, bytes(block))
                else:
                    _write_all(file, block)
            place += len(block)
            del block
            if place - begun >= WRITE_BACK:
                _LIBC.sync_file_range(
                    file, ctypes.c_int64(begun), ctypes.c_int64(place - begun), ctypes.c_uint(_SYNC_FILE_RANGE_WRITE)
                )
                begun = place
        if self._thin:
            with _explained():
                os.ftruncate(file, place)
        return place

    def _metadata(self, path: str) -> dict[str, Any]:
        for entry in self._mountpoints:
            if path.startswith(entry["mountpoint"].rstrip("/") + "/"):
                return dict(entry)
        if self._mountpoints:
            LOG.warning("store %s: no mountpoint of the metadata file has %s", self.id, path)
        return {}

    def _permit(self, file: int, path: str) -> None:
        """Set the mode that is asked for; some file systems have none."""
        try:
            os.fchmod(file, self._mode)
        except OSError as error:
            LOG.warning("store %s: the mode of %s cannot be set: %s", self.id, path, error.strerror)

    def _free(self, directory: str) -> int:
        with _explained():
            status = os.statvfs(directory)
        return status.f_bavail * status.f_frsize


def _regular(status: os.stat_result) -> os.stat_result:
    """That of a file. Raises ObjectNotFound for anything else."""
    if not stat.S_ISREG(status.st_mode):
        raise ObjectNotFound
    return status


def _wanted(file: int, offset: int, length: int | None) -> int:
    """How many bytes that is. Raises ObjectNotFound, RangeNotSatisfiable."""
    size = _regular(os.fstat(file)).st_size
    rest = size - offset
    if rest < 0 or (length is not None and length > rest):
        raise RangeNotSatisfiable(size=size)
    return rest if length is None else length


def _link(part: str, final: str) -> None:
    """Unlike rename, link never replaces what is there. Raises FileExistsError."""
    try:
        os.link(part, final)
    except FileExistsError:
        # A network file system may ask again when an answer was lost, and then meets what the first one has made.
        if not os.path.samestat(os.lstat(part), os.lstat(final)):
            raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _rename(part, final)


def _rename(part: str, final: str) -> None:
    """The same without links: an empty file takes the name, and the whole one replaces it. Raises FileExistsError.

    The empty file of a process that is killed in between goes with its upload: no image is active by then.
    """
    os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        os.rename(part, final)
    except BaseException:
        _forget(final)
        raise


def _forget(path: str) -> None:
    """Whoever took us for dead may have removed it."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def _take_back(reason: BaseException, *paths: str) -> None:
    """Remove what must not stay. Raises Leftovers, from the reason."""
    try:
        for path in paths:
            _forget(path)
    except OSError as error:
        LOG.warning("%s of a failed upload cannot be removed: %s", path, error.strerror)
        leave_to_discard(reason)


def _clear(directory: str, is_meant: Callable[[str], bool]) -> None:
    """Remove the files whose names are meant."""
    with _explained():
        for name in os.listdir(directory):
            if is_meant(name):
                _forget(os.path.join(directory, name))
        _sync_directory(directory)


def _write_all(file: int, block: bytes | memoryview) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(file, view) :]


def _write_thinly(file: int, block: bytes) -> None:
    """Leave holes where pieces are zeros. The file must get its length at the end."""
    begun = 0
    for at in range(0, len(block), HOLE):
        piece = block[at : at + HOLE]
        if piece == _ZEROS[: len(piece)]:
            _write_all(file, memoryview(block)[begun:at])
            os.lseek(file, len(piece), os.SEEK_CUR)
            begun = at + len(piece)
    _write_all(file, memoryview(block)[begun:])


def _sync_directory(directory: str) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _blocks(file: int, offset: int, length: int) -> Iterator[bytes]:
    end = offset + length
    while offset < end:
        with _explained(reading=True):
            block = os.pread(file, min(BLOCK, end - offset), offset)
        if not block:
            raise StoreError("The stored data ends before its recorded size.")
        offset += len(block)
        yield block


def _closer(file: int) -> Any:
    opened = [file]

    def close() -> None:
        if opened:
            os.close(opened.pop())

    return close


@contextmanager
def _explained(*, reading: bool = False) -> Iterator[None]:
    """What the operating system's errors mean; a taken name goes through as it is."""
    try:
        yield
    except FileExistsError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise (ObjectNotFound() if reading else StoreDenied("A directory of the store is gone.")) from error
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull from error
        if error.errno in _DENIED:
            raise (StoreForbidden() if reading else StoreDenied()) from error
        raise StoreError(f"The file system failed: {error.strerror}") from error
