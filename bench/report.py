"""The table of medians and ratios, the targets beside it, and the part of docs/performance.md that it fills."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.cases import Results
from bench.plan import FANLIGHT, FASTEST, FLOOR, GLANCE, MYSQLCLIENT, Options

BEGIN = "<!-- figures: begin (written by `make bench`; do not edit) -->"
END = "<!-- figures: end -->"


class Row(NamedTuple):
    """A line of the table. `glance` and `floor` are the least ratios wanted, `most` the largest own figure."""

    database: str
    case: str
    title: str
    unit: str
    glance: float | None = None
    aim: float | None = None
    floor: float | None = None
    most: float | None = None
    less: bool = False
    """Whether the smaller figure is the better one."""


ROWS = (
    Row("sqlite", "show", "show one image", "/s", glance=14, aim=20, floor=0.70),
    Row("sqlite", "list", "list of 25, of 1,000", "/s", glance=10, aim=20, floor=0.70),
    Row("sqlite", "show alone", "show one image, one client", "/s", floor=0.70),
    Row("sqlite", "list alone", "list of 25, one client", "/s", floor=0.70),
    Row("sqlite", "list 100k", "list of 25, of 100,000, as admin", "/s", glance=100),
    Row("sqlite", "list 100k by name", "… in the order of names", "/s"),
    Row("sqlite", "list member 100k", "list of 25, of 100,000, as member", "/s", glance=100),
    Row("sqlite", "create", "create ¹", "/s", glance=15, aim=20),
    Row("sqlite", "create alone", "create, one client ¹", "/s", glance=15, aim=20),
    Row("sqlite", "patch", "PATCH ¹", "/s"),
    Row("sqlite", "delete", "delete of a queued image ¹", "/s"),
    Row("sqlite", "disk fsync", "¹ the disk then: 4 KiB append and fsync", "ms", less=True),
    Row("sqlite", "upload", "upload ²", "MB/s", glance=2.5, aim=3, floor=0.85),
    Row("sqlite", "disk write", "² the disk then: sequential write and fsync", "MB/s"),
    Row("sqlite", "download", "download (floor: nginx sendfile)", "MB/s", glance=1),
    Row("sqlite", "memory idle", "memory of a worker, idle", "MB", most=150, less=True),
    Row("sqlite", "memory storm", "… while 32 uploads and 32 downloads run", "MB", most=300, less=True),
    Row("sqlite", "memory growth", "… its growth in the second half of that time", "MB", most=20, less=True),
    Row("sqlite", "storm p99", "p99 of a list of 25 meanwhile", "ms", glance=5, less=True),
    Row("sqlite", "storm lists", "lists answered meanwhile", "/s"),
    Row("sqlite", "storm written", "uploaded meanwhile, by all together", "MB/s"),
    Row("sqlite", "storm downloads", "downloads finished meanwhile", "in all"),
    Row("sqlite", "storm refused", "transfers told 503 meanwhile", "in all", less=True),
    Row("sqlite", "storm failed", "transfers that failed meanwhile", "in all", less=True),
    Row("sqlite", "show keystone", "show, behind Keystone and memcached", "/s", glance=5),
    Row("mariadb", "show", "show one image", "/s", glance=14, aim=20, floor=0.70),
    Row("mariadb", "list", "list of 25, of 1,000", "/s", glance=10, aim=20, floor=0.70),
    Row("mariadb", "list 100k", "list of 25, of 100,000, as admin", "/s", glance=100),
    Row("mariadb", "create", "create ¹", "/s", glance=15, aim=20),
    Row("mariadb", "create alone", "create, one client ¹", "/s", glance=15, aim=20),
    Row("mariadb", "patch", "PATCH ¹", "/s"),
    Row("mariadb", "delete", "delete of a queued image ¹", "/s"),
    Row("mariadb", "disk fsync", "¹ the disk then: 4 KiB append and fsync", "ms", less=True),
    Row(MYSQLCLIENT, "show", "show one image", "/s", glance=14, aim=20, floor=0.70),
    Row(MYSQLCLIENT, "list", "list of 25, of 1,000", "/s", glance=10, aim=20, floor=0.70),
    Row(MYSQLCLIENT, "list 100k", "list of 25, of 100,000, as admin", "/s", glance=100),
    Row(MYSQLCLIENT, "create", "create ¹", "/s", glance=15, aim=20),
    Row(MYSQLCLIENT, "create alone", "create, one client ¹", "/s", glance=15, aim=20),
    Row(MYSQLCLIENT, "patch", "PATCH ¹", "/s"),
    Row(MYSQLCLIENT, "delete", "delete of a queued image ¹", "/s"),
    Row(MYSQLCLIENT, "disk fsync", "¹ the disk then: 4 KiB append and fsync", "ms", less=True),
)  # fmt: skip

FLAT = 1.3
"""How much more than a page of 1,000 images a page of 100,000 may cost."""

LEGEND = f"""\
Medians; rates with 8 clients (wrk) that each keep one connection busy, where nothing else is said. *Glance* is
deployed as its documentation says: without Keystone, one request a connection, uWSGI's request log on (the list
of a member: the shipped `keystone` pipeline without its token filter). *Glance tuned* is the fastest that we
could make it: identity headers believed, no filter that can be left out, connections kept open, no request log,
on SQLite also WAL and `ANALYZE`. Fanlight runs as shipped, its request log on, and believes the same identity
headers. The floor is the same SQL through the same engine behind a bare Starlette route; for uploads both
hashes and a durable file behind one; for downloads nginx with sendfile. Targets compare with *Glance*; a list
of 25 of 100,000 must also stay within {FLAT}× of one of 1,000."""


TITLES = {"sqlite": "SQLite", "mariadb": "MariaDB", MYSQLCLIENT: "MariaDB, through mysqlclient"}


def figure(results: Results, database: str, case: str, contender: str) -> float | None:
    if database == MYSQLCLIENT and contender == GLANCE:
        database = "mariadb"  # the same server: Glance on the driver that its documentation names
    values = results.figures.get((database, case, contender))
    return statistics.median(values) if values else None


def ratio(ours: float | None, theirs: float | None, less: bool) -> float | None:
    """How many times better ours is; None where one is missing or nothing."""
    if not ours or not theirs:
        return None
    return theirs / ours if less else ours / theirs


def written(value: float | None, unit: str = "") -> str:
    if value is None:
        return "–"
    text = (
        f"{value:,.0f}"
        if abs(value) >= 100 or value == int(value)
        else f"{value:,.2f}"
        if value < 1
        else f"{value:,.1f}"
    )
    return f"{text} {unit}" if unit else text


def failures(results: Results, row: Row, contender: str) -> str:
    """How many answers were errors, in brackets; those are not in the rate."""
    share = figure(results, row.database, f"{row.case} failed", contender) or 0.0
    return f" ({share:.0%} failed)" if share >= 0.001 else ""


def verdicts(row: Row, results: Results) -> Iterator[tuple[str, bool | None]]:
    """Each target of a row in words, and whether it is met (None: not measured)."""
    ours = figure(results, row.database, row.case, FANLIGHT)
    for least, contender, words in (
        (row.glance, GLANCE, "≥ {:g}× Glance"),
        (row.floor, FLOOR, "≥ {:.0%} of the floor"),
    ):
        if least is not None:
            got = ratio(ours, figure(results, row.database, row.case, contender), row.less)
            yield words.format(least), None if got is None else got >= least
    if row.most is not None:
        yield f"≤ {row.most:g} {row.unit}", None if ours is None else ours <= row.most
    if row.case == "list 100k":
        got = ratio(figure(results, row.database, "list", FANLIGHT), ours, False)
        yield f"≤ {FLAT}× the cost at 1,000", None if got is None else got <= FLAT


def missed(results: Results) -> list[str]:
    """The targets that this run did not meet."""
    return [
        f"{row.database}: {row.title}: {words}" for row in ROWS for words, met in verdicts(row, results) if met is False
    ]


def line(row: Row, results: Results) -> str | None:
    """A row of the table, or None when nothing was measured for it."""
    names = (GLANCE, FASTEST, FANLIGHT, FLOOR)
    glance, tuned, ours, floor = (figure(results, row.database, row.case, name) for name in names)
    if all(value is None for value in (glance, tuned, ours, floor)):
        return None
    measured = [
        written(value) + failures(results, row, name)
        for value, name in zip((glance, tuned, ours, floor), names, strict=True)
    ]
    facts = row.case.startswith("disk")
    times = [None, None] if facts else [ratio(ours, glance, row.less), ratio(ours, tuned, row.less)]
    share = None if facts else ratio(ours, floor, row.less)
    targets = ", ".join(
        f"{words} {'' if met is None else '✓' if met else '**✗**'}".strip() for words, met in verdicts(row, results)
    )
    ratios = [f"{value:.1f}×" if value else "" for value in times]
    return " | ".join(
        ["", f"{row.title}, {row.unit}", *measured, *ratios, f"{share:.0%}" if share else "", targets, ""]
    ).strip()


def slowest(results: Results) -> Iterator[str]:
    """The p99 of the small requests, as a table of its own."""
    yield "| p99 with 8 connections, ms | Glance | Glance tuned | Fanlight | Floor |"
    yield "|---|--:|--:|--:|--:|"
    for row in ROWS:
        case = f"{row.case} p99"
        values = [figure(results, row.database, case, name) for name in (GLANCE, FASTEST, FANLIGHT, FLOOR)]
        if any(value is not None for value in values):
            yield f"| {row.database}: {row.title.rstrip(' ¹²')} | " + " | ".join(map(written, values)) + " |"


def render(results: Results, facts: Sequence[tuple[str, str]], options: Options) -> str:
    """The whole generated part, as Markdown that reads well on a terminal too."""
    lines = [f"- {what}: {words}" for what, words in facts]
    cpu = statistics.median(results.client_cpu) if results.client_cpu else 0.0
    lines.append(f"- images of {options.size / 2**20:.0f} MiB; wrk took {cpu:.0%} of a core (median of all rounds)")
    for database in dict.fromkeys(row.database for row in ROWS):
        rows = [text for row in ROWS if row.database == database and (text := line(row, results))]
        if rows:
            lines += ["", f"### {TITLES[database]}", ""]
            lines += ["| | Glance | Glance tuned | Fanlight | Floor | × Glance | × tuned | of floor | target |"]
            lines += ["|---|--:|--:|--:|--:|--:|--:|--:|---|", *(f"{text}" for text in rows)]
    lines += ["", LEGEND, "", *slowest(results)]
    open_targets, notes = missed(results), results.notes
    lines += ["", f"Targets missed in this run: {len(open_targets)}.", *(f"- {text}" for text in open_targets)]
    if notes:
        lines += ["", "Notes of this run:", *(f"- {' '.join(text.split())}" for text in notes)]
    return "\n".join(lines) + "\n"


def publish(document: Path, text: str) -> None:
    """Replaces what stands between the markers of the document; raises ValueError when they are not there."""
    old = document.read_text()
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document.name} lacks the markers of the generated part")
    document.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
