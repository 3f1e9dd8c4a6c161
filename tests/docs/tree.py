"""The files of the project, as a clean checkout has them: without what tools and runs have made beside them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import ROOT

KEPT = frozenset({".ci", ".gitignore", ".github"})
"""What begins with a dot and belongs to the project; nothing else does."""
MADE = frozenset({"__pycache__", "build", "data", "dist"})


def files() -> Iterator[Path]:
    """Every file, by its path from the top. Does not ask git, which may not be there where tests run."""
    for folder, folders, names in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        folders[:] = sorted(name for name in folders if _belongs(name))
        yield from (here / name for name in sorted(names) if _belongs(name))


def _belongs(name: str) -> bool:
    if name.startswith("."):
        return name in KEPT
    return name not in MADE and not name.endswith((".egg-info", ".pyc"))


def copy_to(top: Path) -> None:
    """A copy of the project in the folder `top`, which must not be there yet."""
    top.mkdir()
    for name in files():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, top / name)
