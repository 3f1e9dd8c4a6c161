"""docs/security.md names tests that exist."""

from __future__ import annotations

import re

from tests.bed.servers import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`([a-z0-9_]+/test_[a-z0-9_]+\.py)::(test_[a-z0-9_]+)`", PAGE)


def test_every_test_that_is_named_exists() -> None:
    missing = [
        f"{file}::{name}"
        for file, name in NAMED
        if not (ROOT / "tests" / file).exists() or f"def {name}(" not in (ROOT / "tests" / file).read_text()
    ]
    assert missing == []
    assert len(NAMED) > 50


def test_every_advisory_has_a_row_that_says_something() -> None:
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| ")]
    for cells in rows:
        assert all(cell.strip() for cell in cells), cells
    names = " ".join(cells[0] for cells in rows)
    for advisory in ("OSSA-2012-017", "OSSA-2024-001", "OSSA-2026-004", "0005", "0108"):
        assert advisory in names
