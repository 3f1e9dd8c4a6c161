"""Those of four stores that are up: adding and reading with Fanlight's driver, glance_store's, and the raw library as
the floor.

    python -m bench.stores [--size MIB] [--rounds N] [--write] [STORE...]

Three processes stand on one back end and take turns, in another order each round. `--write` puts the table into
docs/performance-stores.md. The servers are found as the tests find them; BENCH_GLANCE_STORE is an environment with
glance_store and its libraries.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import machine

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance-stores.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
SIDES = ("raw", "ours", "theirs")
VERBS = ("add", "get")
MIB = 1 << 20
Options = Callable[[contextlib.ExitStack], dict[str, Any]]


def file_options(stack: contextlib.ExitStack) -> dict[str, Any]:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-stores.", dir=ROOT / ".state"))
    return {"filesystem_store_datadir": folder}


def s3_options(stack: contextlib.ExitStack) -> dict[str, Any]:
    import boto3
    from botocore.config import Config

    url, bucket = os.environ["FANLIGHT_TEST_RGW"], f"bench-{uuid.uuid4().hex[:12]}"
    key, secret = os.environ["FANLIGHT_TEST_RGW_ACCESS_KEY"], os.environ["FANLIGHT_TEST_RGW_SECRET_KEY"]
    client = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=bucket)

    def remove() -> None:
        for one in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=one["Key"])
        client.delete_bucket(Bucket=bucket)

    stack.callback(remove)
    return {
        "s3_store_host": url,
        "s3_store_access_key": key,
        "s3_store_secret_key": secret,
        "s3_store_bucket": bucket,
        "s3_store_bucket_url_format": "path",
        "s3_store_region_name": "us-east-1",
    }


def swift_options(stack: contextlib.ExitStack) -> dict[str, Any]:
    from swiftclient.client import Connection

    url, container = os.environ["FANLIGHT_TEST_KEYSTONE"], f"bench-{uuid.uuid4().hex[:12]}"
    domains = {"project_name": "demo", "user_domain_id": "default", "project_domain_id": "default"}
    connection = Connection(url, "demo", "demo", auth_version="3", os_options=domains)
    connection.put_container(container)
    stack.callback(connection.delete_container, container)
    return {
        "swift_store_auth_address": url,
        "swift_store_user": "demo:demo",
        "swift_store_key": "demo",
        "swift_store_container": container,
    }


def rbd_options(_stack: contextlib.ExitStack) -> dict[str, Any]:
    return {
        "rbd_store_ceph_conf": os.environ["FANLIGHT_TEST_CEPH_CONF"],
        "rbd_store_pool": os.environ["FANLIGHT_TEST_CEPH_POOL"],
        "rbd_store_user": os.environ["FANLIGHT_TEST_CEPH_USER"],
    }


STORES: dict[str, tuple[str | None, Options]] = {
    "file": (None, file_options),
    "s3": ("FANLIGHT_TEST_RGW", s3_options),
    "swift": ("FANLIGHT_TEST_SWIFT_V3", swift_options),
    "rbd": ("FANLIGHT_TEST_CEPH_CONF", rbd_options),
}
"""Store -> the variable without which its server is not there, and its options."""


class Worker:
    """A process of one side."""

    def __init__(self, python: str, side: str, store: str, size: int, options: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [python, str(ROOT / "bench" / "store_worker.py"), side, store, str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._say(json.dumps(options))

    def ask(self, verb: str) -> float:
        """Seconds that it took."""
        self._say(verb)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a worker ended; what it says stands above")
        return float(line)

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # it has ended before
                    pipe.close()
        self._process.wait(60)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def workers(store: str, size: int) -> Iterator[dict[str, Worker]]:
    """A worker for each side, on one back end."""
    with contextlib.ExitStack() as stack:
        options = STORES[store][1](stack)
        pythons = dict.fromkeys(SIDES, sys.executable)
        pythons["theirs"] = str(Path(os.environ["BENCH_GLANCE_STORE"]) / "bin" / "python")
        found = {}
        for side in SIDES:
            found[side] = Worker(pythons[side], side, store, size, options)
            stack.callback(found[side].close)
        yield found


def measure(store: str, size: int, rounds: int) -> dict[tuple[str, str], list[float]]:
    """MB/s of every side and verb. The first round is not counted."""
    rates: dict[tuple[str, str], list[float]] = {(side, verb): [] for side in SIDES for verb in VERBS}
    with workers(store, size) as found:
        for turn in range(rounds + 1):
            for place in range(len(SIDES)):
                side = SIDES[(turn + place) % len(SIDES)]
                for verb in VERBS:
                    rate = size / 1e6 / found[side].ask(verb)
                    if turn:
                        rates[side, verb].append(rate)
                found[side].ask("delete")
    return rates


def row(store: str, verb: str, rates: dict[tuple[str, str], list[float]]) -> str:
    """A row of the table: medians, their spread, and ratios."""
    medians = {side: statistics.median(rates[side, verb]) for side in SIDES}
    cells = [f"{medians[side]:,.0f} ({min(rates[side, verb]):,.0f}–{max(rates[side, verb]):,.0f})" for side in SIDES]
    ratios = [f"{medians['ours'] / medians[side]:.2f}" for side in ("raw", "theirs")]
    return f"| {store} | {verb} | " + " | ".join(cells + ratios) + " |"


def write(lines: list[str]) -> None:
    """Put the figures between the markers of the page."""
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no markers")
    PAGE.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stores")
    parser.add_argument("--size", type=int, default=256, help="MiB of an object")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance-stores.md")
    parser.add_argument("stores", nargs="*", help=" ".join(STORES))
    given = parser.parse_args()
    up = [store for store, (variable, _) in STORES.items() if variable is None or variable in os.environ]
    (ROOT / ".state").mkdir(exist_ok=True)
    lines = [
        f"{given.size} MiB, medians of {given.rounds} rounds in MB/s (slowest–fastest). "
        f"Disk at the beginning: {machine.disk(ROOT / '.state')}.",
        "",
        "| store | | raw library | Fanlight | glance_store | Fanlight / raw | Fanlight / glance_store |",
        "|---|---|---|---|---|---|---|",
    ]
    for store in given.stores or up:
        rates = measure(store, given.size * MIB, given.rounds)
        lines += [row(store, verb, rates) for verb in VERBS]
        print(*lines[-2:], sep="\n", flush=True)
    print(*lines, sep="\n")
    if given.write:
        write(lines)


if __name__ == "__main__":
    main()
