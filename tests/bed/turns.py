"""Tests marked `alone` measure time: while one runs, no other process of this test run works on a test.

A readers-writer lock of two files. Everybody passes the gate; a test that wants to be alone keeps it shut, and waits
until the room is empty.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold the room, with others or alone."""
    with (folder / "room").open("ab") as room, (folder / "gate").open("ab") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        yield
