"""32 uploads and 32 downloads at once, as a process of its own: `python -m bench.storm` reads its order on stdin.

It goes on until it is killed, or until `seconds` have passed, and counts what it did on stdout as it goes.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from bench.load import Client


class Tally:
    """Counts shared by all clients; every change is printed, so that a killed storm has told everything."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts = {"uploads": 0, "downloads": 0, "refused": 0, "failed": 0}

    def add(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1
            print(json.dumps(self.counts), flush=True)


def upload(client: Client, source: Path, until: float, tally: Tally) -> None:
    while time.monotonic() < until:
        try:
            made = client.call("POST", "/v2/images", {"name": "s", "disk_format": "raw", "container_format": "bare"})
            path = json.loads(made.body)["id"]
            answer, _ = client.upload(f"/v2/images/{path}/file", source)
        except (OSError, ValueError, KeyError):
            tally.add("failed")
            time.sleep(0.2)
            continue
        count(answer.status == 204, answer.status, "uploads", tally)


def download(client: Client, path: str, size: int, until: float, tally: Tally) -> None:
    while time.monotonic() < until:
        try:
            answer, total, _ = client.download(path)
        except OSError:
            tally.add("failed")
            time.sleep(0.2)
            continue
        count(answer.status == 200 and total == size, answer.status, "downloads", tally)


def count(done: bool, status: int, what: str, tally: Tally) -> None:
    """A 503 is an answer that a client can act on; anything else but success is a failure."""
    tally.add(what if done else "refused" if status == 503 else "failed")
    if not done:
        time.sleep(0.5)


def main() -> None:
    order = json.load(sys.stdin)
    client, source, tally = Client(order["url"], order["headers"]), Path(order["source"]), Tally()
    until, size = time.monotonic() + order["seconds"], source.stat().st_size
    clients = [threading.Thread(target=upload, args=(client, source, until, tally)) for _ in range(order["clients"])]
    clients += [
        threading.Thread(target=download, args=(client, order["path"], size, until, tally))
        for _ in range(order["clients"])
    ]
    for thread in clients:
        thread.daemon = True
        thread.start()
    for thread in clients:
        thread.join()


if __name__ == "__main__":
    main()
