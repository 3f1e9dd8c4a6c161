"""Small and closed file systems for tests: mounted where this process may, else what everybody can have."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CAP_SYS_ADMIN = 21


def may_mount() -> bool:
    """Whether this process may mount file systems; in most containers root may not."""
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> CAP_SYS_ADMIN & 1)


def require_mounts() -> None:
    """Raises AssertionError where this process may not mount: a test that must is not to be left out."""
    assert may_mount(), "this test mounts a file system, which needs root with CAP_SYS_ADMIN"


@contextmanager
def small(folder: Path, size: int) -> Iterator[None]:
    """Room for `size` bytes in a folder; without mounts, in any one file."""
    folder.mkdir(parents=True, exist_ok=True)
    if may_mount():
        with _mounted("-t", "tmpfs", "-o", f"size={size}", "none", folder):
            yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def closed(folder: Path) -> Iterator[Path]:
    """A folder in which nothing can be made: below `folder`, or one of the kernel's for a root without mounts."""
    folder.mkdir(parents=True, exist_ok=True)
    if may_mount():
        with _mounted("-t", "tmpfs", "-o", "ro", "none", folder):
            yield folder
    elif os.geteuid():
        folder.chmod(0o555)
        try:
            yield folder
        finally:
            folder.chmod(0o755)
    else:
        yield Path("/proc/self")


@contextmanager
def ext4(folder: Path, size: int) -> Iterator[None]:
    """A real ext4 of `size` bytes on a loop device. Raises AssertionError where this process may not mount."""
    require_mounts()
    folder.mkdir(parents=True, exist_ok=True)
    image = folder.parent / (folder.name + ".ext4")
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True, timeout=60)
    with _mounted("-o", "loop", str(image), folder):
        yield
    image.unlink()


def remount(folder: Path, how: str) -> None:
    """`ro` or `rw`."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True, timeout=20)


@contextmanager
def _mounted(*words: str | Path) -> Iterator[None]:
    subprocess.run(["mount", *map(str, words)], check=True, timeout=20)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(words[-1])], check=True, timeout=20)
