"""Files stay short and are named after what they are about: a name that fits anything attracts everything."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.docs.pages import ROOT
from tests.docs.tree import files

LONGEST_FILE = 500
LONGEST_FUNCTION, LONGEST_TEST = 40, 60
"""Lines, docstring and blank lines included; a test may walk through a longer story."""
LONG_FILES: dict[str, int] = {}
"""Files that may be longer, each with its length: it may not grow."""
LONG_FUNCTIONS = {
    "fanlight/application.py make_edge": "a list of parts, not a row of steps",
}
"""Functions that may be longer, each with the reason."""
EMPTY_WORDS = frozenset({"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"})


def every(ending: str) -> list[Path]:
    return [ROOT / name for name in files() if name.name.endswith(ending)]


def test_files_are_short() -> None:
    found = {}
    for path in [*every(".py"), *every(".sh")]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        name = str(path.relative_to(ROOT))
        if lines > LONG_FILES.get(name, LONGEST_FILE):
            found[name] = lines
    assert found == {}


def test_no_exception_is_stale() -> None:
    for name, lines in LONG_FILES.items():
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) == lines, name


def test_functions_are_short() -> None:
    found = {}
    for path in every(".py"):
        most = LONGEST_TEST if path.is_relative_to(ROOT / "tests") else LONGEST_FUNCTION
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > most:
                    found[f"{path.relative_to(ROOT)} {node.name}"] = lines
    assert {name: lines for name, lines in found.items() if name not in LONG_FUNCTIONS} == {}
    assert set(LONG_FUNCTIONS) <= set(found), "an exception that nobody needs any more"


def test_names_say_something() -> None:
    for path in every(""):
        for part in path.relative_to(ROOT).parts:
            words = part.partition(".")[0].replace("-", "_").split("_")
            assert not EMPTY_WORDS & set(words), path
