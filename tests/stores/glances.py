"""Glance's own drivers beside ours, on the same back end."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bed.databases import needed


def glance_store(kind: str, options: Mapping[str, Any], *tasks: Sequence[Any]) -> list[Any]:
    """Let glance_store do these tasks with one store, in a process of its own; what comes of each.

    ["add", id, data, size or None]: the URL; ["read", URL]: SHA-512 of what is there; ["delete", URL].
    """
    own = kind == "swift"
    python = needed("FANLIGHT_TEST_SWIFT_PYTHON") if own else f"{needed('FANLIGHT_TEST_GLANCE')}/bin/python"
    told = [[each.hex() if isinstance(each, bytes) else each for each in task] for task in tasks]
    done = subprocess.run(
        [python, "-W", "ignore", str(Path(__file__).with_name("glances_program.py"))],
        input=json.dumps([kind, dict(options), "" if own else sysconfig.get_path("purelib"), told]),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers
