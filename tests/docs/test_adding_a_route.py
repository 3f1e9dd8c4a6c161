"""docs/adding-a-route.md, step by step, on a copy of the tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fanlight.http.routes import ROUTES
from tests.docs.pages import ROOT, block, blocks, pages
from tests.docs.tree import copy_to

PAGE = "docs/adding-a-route.md"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree as it is now; its virtual environment is ours."""
    top = tmp_path / "tree"
    copy_to(top)
    (top / ".venv").symlink_to(Path(sys.executable).parent.parent, target_is_directory=True)
    return top


def change(text: str, difference: str) -> str:
    """A text after a difference of lines that stand together and occur once."""
    lines = difference.splitlines()
    before = "\n".join(line[1:] for line in lines if line[0] != "+")
    after = "\n".join(line[1:] for line in lines if line[0] != "-")
    assert text.count(before) == 1, before
    return text.replace(before, after)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_route_of_the_page_can_be_added(copy: Path) -> None:
    for one in blocks(PAGE):
        kind, _, name = one.mark.partition(": ")
        if kind == "file":
            assert not (copy / name).exists(), f"{name} is not new"
            (copy / name).write_text(one.text)
        elif kind == "change":
            (copy / name).write_text(change((copy / name).read_text(), one.text))
    script = block(PAGE, "$ .venv/bin/ruff format").script()
    # Without the servers of the test bed: SQLite is enough to show that the page is right.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FANLIGHT_", "PYTEST_"))}
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=copy,
        env={**kept, "PYTHONPATH": str(copy)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "| GET | `/v2/tags` |" in (copy / "docs/routes.md").read_text()


def test_the_way_of_the_route_that_exists() -> None:
    page = pages()[PAGE]
    method, path = re.findall(r"^`(GET) (/v2/[^`]+)`: who", page, re.MULTILINE)[0]
    route = next(one for one in ROUTES if (one.method, one.path) == (method, path))
    assert (
        f'Route("{method}", "{path}", sharing.{route.function.__name__})'
        in (ROOT / "fanlight/http/routes.py").read_text()
    )
    for file, function in re.findall(r"\| `(fanlight/[\w/]+\.py)` `(\w+)` \|", page):
        assert f"\ndef {function}(" in (ROOT / file).read_text(), f"{file} {function}"
