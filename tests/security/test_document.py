"""docs/security.md names tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.bed.servers import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`([a-z0-9_]+/test_[a-z0-9_]+\.py)::(test_[a-z0-9_]+)`", PAGE)
ADVISORIES = """
    OSSA-2012-017 OSSA-2013-002 OSSA-2013-007 OSSA-2013-018 OSSA-2013-027 OSSA-2013-029 OSSA-2014-004 OSSA-2014-012
    OSSA-2014-028 OSSA-2014-041 OSSA-2015-002 OSSA-2015-003 OSSA-2015-004 OSSA-2015-009 OSSA-2015-013 OSSA-2015-014
    OSSA-2015-019 OSSA-2015-020 OSSA-2016-006 OSSA-2016-012 OSSA-2023-002 OSSA-2023-003 OSSA-2024-001 OSSA-2024-003
    OSSA-2026-002 OSSA-2026-004
""".split()
NOTES = """
    0005 0013 0015 0025 0033 0048 0052 0055 0057 0060 0061 0063 0065 0075 0076 0078 0088 0090 0092 0105 0108
""".split()
SAID = ("not built yet", "not tested")
"""What a row says that names no test."""


def test_every_test_that_is_named_exists() -> None:
    missing = [
        f"{file}::{name}"
        for file, name in NAMED
        if not (ROOT / "tests" / file).exists() or f"def {name}(" not in (ROOT / "tests" / file).read_text()
    ]
    assert missing == []
    assert len(NAMED) > 50


def rows(section: str) -> list[list[str]]:
    """Cells of the rows of a section's table, without its head."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize(("section", "published"), [("Advisories (OSSA)", ADVISORIES), ("Notes (OSSN)", NOTES)])
def test_every_advisory_has_a_row(section: str, published: list[str]) -> None:
    found = [name for cells in rows(section) for name in cells[0].split(", ") if not name.startswith("LP ")]
    assert sorted(found) == sorted(published)


@pytest.mark.parametrize("section", ["Advisories (OSSA)", "Notes (OSSN)", "Smaller holes"])
def test_every_row_names_a_test_or_says_that_there_is_none(section: str) -> None:
    assert rows(section)
    for cells in rows(section):
        assert all(cells), cells
        assert re.search(r"::test_", cells[-1]) or any(word in cells[-1] for word in SAID), cells
