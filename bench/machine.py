"""What the machine can do by itself, measured idle: the figures beside which every other figure is read."""

from __future__ import annotations

import hashlib
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

MIB = 1024 * 1024


class Disk(NamedTuple):
    """Sequential write with a last fsync in MB/s; a 4 KiB append and its fsync in milliseconds."""

    write: float
    fsync_p50: float
    fsync_p99: float

    def __str__(self) -> str:
        return f"{self.write:,.0f} MB/s written, fsync {self.fsync_p50:.2f} ms (p99 {self.fsync_p99:.2f} ms)"


def disk(folder: Path, size: int = 512 * MIB, syncs: int = 200) -> Disk:
    """Writes `size` bytes and syncs, then appends and syncs `syncs` times, in a file below `folder`."""
    path = folder / "disk-probe"
    block = os.urandom(4 * MIB)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        started = time.perf_counter()
        for _ in range(size // len(block)):
            os.write(handle, block)
        os.fsync(handle)
        written = size / 1e6 / (time.perf_counter() - started)
        waits = []
        for _ in range(syncs):
            started = time.perf_counter()
            os.write(handle, block[:4096])
            os.fsync(handle)
            waits.append(1000 * (time.perf_counter() - started))
    finally:
        os.close(handle)
        path.unlink()
    waits.sort()
    return Disk(written, statistics.median(waits), waits[int(len(waits) * 0.99) - 1])


def hashing(size: int = 256 * MIB) -> dict[str, float]:
    """MB/s of one core for the two hashes that every upload pays."""
    block = os.urandom(4 * MIB)
    rates = {}
    makers: dict[str, Callable[[], Any]] = {"MD5": hashlib.md5, "SHA-512": hashlib.sha512}
    for name, maker in makers.items():
        digest, started = maker(), time.perf_counter()
        for _ in range(size // len(block)):
            digest.update(block)
        rates[name] = size / 1e6 / (time.perf_counter() - started)
    return rates


def processor() -> str:
    """The name of the processor, as the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def summary(folder: Path) -> list[tuple[str, str]]:
    """Facts for the head of the report, as (what, figure)."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    hashes = ", ".join(f"{name} {rate:,.0f} MB/s" for name, rate in hashing().items())
    return [
        ("processor", f"{os.cpu_count()} × {processor()}, {memory:.0f} GiB of memory"),
        ("system", f"Linux {platform.release()}, Python {platform.python_version()}"),
        ("hashes, one core", hashes),
        ("disk, idle", str(disk(folder))),
        ("load average before", f"{os.getloadavg()[0]:.2f}"),
    ]
