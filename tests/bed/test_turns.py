"""Tests that want to be alone are, and everybody gets a turn."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

from tests.bed.turns import turn


def _work(folder: Path, alone: bool, number: int) -> None:
    for round_ in range(10):
        with turn(folder, alone=alone):
            me = folder / f"in-{number}-{round_}-{'alone' if alone else 'with others'}"
            me.touch()
            time.sleep(0.002)
            others = [path for path in folder.glob("in-*") if path != me]
            if (alone and others) or any(path.name.endswith("alone") for path in others):
                (folder / "crowded").touch()
            me.unlink()


def test_alone_means_alone(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(tmp_path, number == 0, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert not (tmp_path / "crowded").exists()
