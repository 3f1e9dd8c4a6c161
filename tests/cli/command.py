"""The command `fanlight`, run as an operator runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bed.servers import ROOT

Sections = Mapping[str, Mapping[str, object]]


class Done(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def fanlight(
    folder: Path, *words: str, config: Sections | None = None, wrapper: Sequence[str] = (), seconds: float = 60.0
) -> Done:
    """Run `python -m fanlight` in `folder`, with `config` as its glance-api.conf where there is one.

    `wrapper`: words of another command to run it under.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = list(words)
    if config is not None:
        lines = []
        for group, options in config.items():
            lines.append(f"[{group}]")
            lines += [f"{name} = {value}" for name, value in options.items()]
        (folder / "glance-api.conf").write_text("\n".join(lines) + "\n")
        given += ["--config-file", "glance-api.conf"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "FANLIGHT_"))}
    done = subprocess.run(
        [*wrapper, sys.executable, "-m", "fanlight", *given],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def as_root_of_its_own(script: str) -> list[str]:
    """Words to run a command in its own space of mounts, after `script`, in which `mount` is allowed."""
    return ["unshare", "--map-root-user", "--mount", "sh", "-ec", f'{script}\nexec "$@"', "sh"]
