"""The field's own client programs, run as an operator runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Programs:
    """`openstack`, `glance` and others of this virtual environment, with one set of variables to log in."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        self._environment = {**kept, "no_proxy": "127.0.0.1", **environment}

    def run(self, program: str, *words: str, code: int = 0, seconds: float = 60.0) -> str:
        """Standard output of a command; AssertionError with everything it said if it ends with another code."""
        path = Path(sys.executable).parent / program
        done = subprocess.run(
            [str(path), *words],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == code, f"{program} {' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def openstack(self, *words: str) -> Any:
        """What `openstack … -f json` prints; None where it prints nothing."""
        out = self.run("openstack", *words, "-f", "json")
        return json.loads(out) if out.strip() else None
