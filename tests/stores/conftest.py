"""The table of store and check that `scripts/stores` prints, made of what the suite's tests report.

FANLIGHT_STORES_TABLE   file to write it to
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.stores.faults import Faults
from tests.stores.place import REASONS

STORE, REASON = "store", "reason"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say to which store a test of the suite belongs."""
    report = yield
    kind = getattr(item, "cls", None)
    if kind is not None and issubclass(kind, Faults):
        report.user_properties.append((STORE, kind.__name__.removeprefix("Test")))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    name = os.environ.get("FANLIGHT_STORES_TABLE")
    if name:
        reports = [report for reports in terminalreporter.stats.values() for report in reports]
        Path(name).write_text(table([each for each in reports if isinstance(each, pytest.TestReport)]))


def table(reports: list[pytest.TestReport]) -> str:
    """Checks in rows, stores in columns: how many passed, how many failed, or why there is nothing to check."""
    cells: dict[tuple[str, str], Counter[str]] = {}
    for report in reports:
        facts = dict(report.user_properties)
        if STORE not in facts or (report.when != "call" and report.passed):
            continue
        match = re.search(r"::test_(\w+)", report.nodeid)
        check = match[1].replace("_", " ") if match else report.nodeid
        said = facts.get(REASON) or facts.get("grew")
        found = cells.setdefault((check, str(facts[STORE])), Counter())
        found[report.outcome] += 1
        if said and report.passed:
            found[str(said)] += 1
    stores = sorted({store for _, store in cells})
    checks = list(dict.fromkeys(check for check, _ in cells))
    lines = ["| check | " + " | ".join(stores) + " |", "|---" * (len(stores) + 1) + "|"]
    for check in checks:
        lines.append(f"| {check} | " + " | ".join(_cell(cells.get((check, store))) for store in stores) + " |")
    used = sorted({word for found in cells.values() for word in found if word in REASONS})
    lines += ["", "A dash: the store cannot add, or the check is not asked of it. Reasons:", ""]
    lines += [f"- {word}: {REASONS[word]}" for word in used]
    return "\n".join(lines) + "\n"


def _cell(found: Counter[str] | None) -> str:
    if found is None:
        return "–"
    words = [word for word in found if word not in ("passed", "failed")]
    if found["failed"]:
        return f"**{found['failed']} FAILED**, {found['passed']} passed"
    return ", ".join(words) or str(found["passed"])
