"""`python -m bench`: reads the command line, runs the plan, prints the report and keeps it in the docs."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench import machine, plan, report
from bench.load import wrk_available
from bench.servers import Bed

QUICK = ("small", "write", "bytes", "large")
GROUPS = ("small", "write", "bytes", "storm", "large", "keystone")
CONTENDERS = (plan.GLANCE, plan.FASTEST, plan.FANLIGHT, plan.FLOOR)
MIB = 1024 * 1024
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description="Runs the same work against Glance 33, Fanlight and the floors, each in turn, and prints medians, "
        "ratios and whether the targets are met. A full run takes about 12 minutes and wants the machine for itself.",
        epilog="FANLIGHT_TEST_GLANCE: a virtual environment with glance 33.0.0, uwsgi, pymysql and python-memcached. "
        "FANLIGHT_TEST_KEYSTONE: the /v3 URL of a Keystone with the users glance (service) and demo. What is "
        "missing is noted in the report, and its figures stay empty.",
    )
    made.add_argument("--quick", action="store_true", help="one short pass on SQLite, no storm: under 3 minutes")
    made.add_argument("--only", action="append", choices=GROUPS, help="measure only this group (may be repeated)")
    made.add_argument("--server", action="append", choices=CONTENDERS, help="measure only this one (may be repeated)")
    made.add_argument("--database", action="append", choices=("sqlite", "mariadb"), help="default: both")
    made.add_argument("--passes", type=int, help="how often all servers take their turn")
    made.add_argument("--rounds", type=int, help="rounds of each case in each pass")
    made.add_argument("--seconds", type=int, help="length of a round of small requests, whole seconds")
    made.add_argument("--transfers", type=int, help="uploads in each pass (and half as many as downloads)")
    made.add_argument("--size", type=int, default=256, metavar="MIB", help="size of the image sent (default 256 MiB)")
    made.add_argument("--storm", type=float, metavar="SECONDS", help="how long 32 uploads and 32 downloads run")
    made.add_argument("--glance", type=Path, help="instead of FANLIGHT_TEST_GLANCE")
    made.add_argument("--folder", type=Path, help="where to work; on the disk that is to be measured, not tmpfs")
    made.add_argument("--json", type=Path, metavar="FILE", help="writes every figure of every round there")
    made.add_argument("--no-docs", action="store_true", help="leave docs/performance.md as it is")
    return made


def options(chosen: argparse.Namespace) -> plan.Options:
    """The full plan, or the quick one, with what the command line says instead."""
    quick = chosen.quick
    groups = tuple(chosen.only or (QUICK if quick else GROUPS))
    return plan.Options(
        passes=chosen.passes or (1 if quick else 2),
        rounds=chosen.rounds or 2,
        seconds=chosen.seconds or (1 if quick else 2),
        transfers=chosen.transfers or (2 if quick else 3),
        size=chosen.size * MIB,
        storm=chosen.storm or (10.0 if quick else 25.0),
        databases=tuple(chosen.database or (("sqlite",) if quick else ("sqlite", "mariadb"))),
        contenders=tuple(contender for contender in CONTENDERS if contender in (chosen.server or CONTENDERS)),
        groups=groups,
        keystone=os.environ.get("FANLIGHT_TEST_KEYSTONE"),
    )


def whole(chosen: argparse.Namespace) -> bool:
    """Whether this run measures everything: only such a run may replace the published figures."""
    return not (chosen.quick or chosen.only or chosen.server or chosen.database or chosen.no_docs)


def main() -> int:
    chosen = parser().parse_args()
    if not wrk_available():
        print("wrk is not installed (Debian package wrk)", file=sys.stderr)
        return 2
    venv = chosen.glance or (Path(os.environ["FANLIGHT_TEST_GLANCE"]) if "FANLIGHT_TEST_GLANCE" in os.environ else None)
    folder = Path(tempfile.mkdtemp(prefix="fanlight-bench-", dir=chosen.folder or "/var/tmp"))
    folder.chmod(0o755)
    started = time.monotonic()
    try:
        facts = machine.summary(folder)
        run = plan.Run(options(chosen), Bed(folder, venv))
        results = run.run()
        if plan.workspace_is_memory(folder):
            results.note("the workspace is on tmpfs: nothing was durable, figures of writes mean nothing")
        facts.append(("disk, idle, after", str(machine.disk(folder))))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    facts.append(("run", f"{time.strftime('%Y-%m-%d')}, {(time.monotonic() - started) / 60:.0f} minutes"))
    text = report.render(results, facts, run.options)
    print(text)
    if chosen.json:
        figures = {" | ".join(key): values for key, values in results.figures.items()}
        chosen.json.write_text(json.dumps({"facts": facts, "figures": figures, "notes": results.notes}, indent=1))
    if whole(chosen):
        report.publish(DOCUMENT, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
