"""The filesystem store: the suite, and what only it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.stores import disks
from tests.stores.conformance import Backend, Conformance

MIB = 1 << 20


class Folder(Backend):
    type = "file"
    malformed = ("file://relative/path", "file:/no/slashes", "file:///a\0b", "http:///a")

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._images, self._folder, self._stack = folder / "images", folder, stack
        self._images.mkdir()

    def options(self) -> Mapping[str, Any]:
        return {"filesystem_store_datadir": str(self._images)}

    def leftovers(self) -> Sequence[str]:
        return sorted(str(path) for path in self._images.rglob("*"))

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        if fault == "full":
            self._stack.enter_context(disks.small(self._folder / "full", 4 * MIB))
            return {"filesystem_store_datadir": str(self._folder / "full")}
        if fault == "denied":
            closed = self._stack.enter_context(disks.closed(self._folder / "closed"))
            return {"filesystem_store_datadir": str(closed / "images")}
        return "local"

    def spellings(self, url: str) -> Sequence[str]:
        return (url.replace("file://", "filesystem://"), url.replace("file://", "FILE://"))


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    with ExitStack() as stack:
        yield Folder(tmp_path, stack)


class TestFilesystem(Conformance):
    pass
