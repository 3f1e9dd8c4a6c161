"""The Sheepdog store: the suite. One cluster has one list of names, so tests of several processes take turns."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fanlight.stores import sheepdog
from tests.bed import dog as stand_in
from tests.bed.databases import needed
from tests.stores.conformance import Backend, Conformance, closed_port, silent_port
from tests.stores.leaving import Leaving

pytestmark = pytest.mark.services

MIB = 1 << 20
WORD = "a-name"


class Cluster(Backend):
    type = "sheepdog"
    block = MIB
    memory = 32 * MIB
    malformed = (
        f"sheepdog:{WORD}",
        f"sheepdog://127.0.0.1:{WORD}",
        f"sheepdog://127.0.0.1:0:{WORD}",
        f"sheepdog://127.0.0.1:65536:{WORD}",
        f"sheepdog://127.0.0.1:7000:{WORD}:x",
        f"sheepdog://-a:7000:{WORD}",
        f"sheepdog://127.0.0.1;id:7000:{WORD}",
        f"sheepdog://[127.0.0.1]:7000:{WORD}",
        f"sheepdog://::1:7000:{WORD}",
        f"sheepdog://{WORD}/x",
        f"sheepdog://{WORD} x",
        f"sheepdog://{WORD}\n",
        f"sheepdog://$(id){WORD}",
        "sheepdog://.",
        "sheepdog://127.0.0.1:7000:",
        "file:///a",
    )

    def __init__(self, folder: Path, stack: ExitStack, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._stack, self._patch = folder, stack, patch
        self.port = int(needed("FANLIGHT_TEST_DOG_PORT"))
        self.dog = f"{needed('FANLIGHT_TEST_DOG_PATH')}/dog"

    def options(self) -> Mapping[str, Any]:
        return {"sheepdog_store_port": self.port}

    def small(self) -> Mapping[str, Any]:
        return {**self.options(), "sheepdog_store_chunk_size": 1}

    def leftovers(self) -> Sequence[str]:
        command = [self.dog, "vdi", "list", "-r", "-a", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.splitlines()

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        if fault == "denied":
            return "no permissions"
        if fault == "down":
            return {"sheepdog_store_port": closed_port()}
        if fault == "slow":
            self._patch.setattr(sheepdog, "PATIENCE", 1.0)
            return {"sheepdog_store_port": self._stack.enter_context(silent_port())}
        # A real cluster that is full cannot be had for one test: always the stand-in.
        port = closed_port()
        text = (
            f"DOG_STATE={self._folder}/vdi DOG_PORT={port} DOG_FULL={8 * MIB - 1}"
            f' exec {sys.executable} -I -S {stand_in.__file__} "$@"'
        )
        self._patch.setenv("PATH", f"{command(self._folder, text)}:{os.environ['PATH']}")
        return {"sheepdog_store_port": port}

    def spellings(self, url: str) -> Sequence[str]:
        name = url.rpartition(":")[2]
        return (f"sheepdog://{name}", url.replace("sheepdog:", "SHEEPDOG:"))


def command(folder: Path, text: str) -> Path:
    """A folder with a command `dog` that is this shell script."""
    path = folder / "bin"
    path.mkdir()
    (path / "dog").write_text(f"#!/bin/sh\n{text}\n")
    (path / "dog").chmod(0o755)
    return path


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    folder = needed("FANLIGHT_TEST_DOG_PATH")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    with open(f"{folder}/../lock", "w") as turn, ExitStack() as stack:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield Cluster(tmp_path, stack, monkeypatch)


class TestSheepdog(Leaving, Conformance):
    removal = "_remove"
