"""The smallest service over the edge: its uploads are counted and hashed, its downloads come from any file.

Run as a program with one JSON argument: {"port", "workers", "limits": {...}, "graceful", "budget", "threads", ...}.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from fanlight import logs
from fanlight.errors import Busy, ClientGone, FanlightError, LimitExceeded, SettingsError
from fanlight.http import body
from fanlight.http.pools import Pools
from fanlight.http.protocol import Limits
from fanlight.http.server import Plan, bind, serve

Send = Callable[[dict[str, Any]], Awaitable[None]]
MIB = 1024 * 1024
STATUS = {LimitExceeded: 413, Busy: 503}


class FileReader:
    """A file to download: by descriptor, or in blocks."""

    def __init__(self, path: str, in_blocks: bool) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._descriptor).st_size
        if not in_blocks:
            self.file = (self._descriptor, 0)

    def __iter__(self) -> Iterator[bytes]:
        while block := os.read(self._descriptor, MIB):
            yield block

    def close(self) -> None:
        os.close(self._descriptor)


class BareApp:
    """An ASGI application with one path for everything that the edge can do."""

    def __init__(self, options: dict[str, Any], generation: int) -> None:
        self.options, self.generation = options, generation
        self.pools = Pools(transfer_threads=options.get("threads", 512))
        self.budget = body.Budget(**options.get("budget", {}))
        self.outcomes: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
            return
        name, _, rest = scope["path"][1:].partition("/")
        try:
            await getattr(self, f"do_{name}")(scope, receive, send, rest)
        except ClientGone as error:
            self.outcomes.append(f"gone: {error}")
        except FanlightError as error:
            self.outcomes.append(f"{error.code}: {error}")
            if not scope["extensions"]["fanlight.cycle"].response_started:
                await answer(send, str(error), STATUS.get(type(error), 400))

    async def lifespan(self, receive: Any, send: Send) -> None:
        await receive()
        if self.options.get("failing"):
            await send({"type": "lifespan.startup.failed", "message": "the bare app fails on purpose"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def do_hello(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        await answer(send, rest or "hello")

    async def do_generation(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        await answer(send, str(self.generation))

    async def do_hop(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        await answer(send, await self.pools.metadata(str, os.getpid()))

    async def do_sleep(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        await asyncio.sleep(float(rest))
        await answer(send, str(os.getpid()))

    async def do_outcomes(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        await answer(send, json.dumps(self.outcomes))

    async def do_state(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        state = {
            "pid": os.getpid(),
            "threads": threading.active_count(),
            "memory": pages * os.sysconf("SC_PAGE_SIZE"),
            "budget": self.budget.used,
            "transfers": self.pools.transfers,
            "files": len(os.listdir("/proc/self/fd")),
        }
        await answer(send, json.dumps(state))

    async def do_refuse(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        await answer(send, "no", 413)

    async def do_late(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        """Answers after a while without having read the body."""
        await asyncio.sleep(0.3)
        await answer(send, "late")

    async def do_asgi(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        """An upload by ASGI's own events, as small JSON bodies are read."""
        data = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone("by asgi")
            data += message["body"]
            if not message["more_body"]:
                break
        self.outcomes.append(f"asgi {len(data)}")
        await answer(send, f"{len(data)} {hashlib.md5(data).hexdigest()}")

    async def do_upload(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        """Counts and hashes; the path may name the announced size, a cap and a pause per block."""
        options = dict(part.split("=") for part in rest.split("/") if part)
        source = body.upload(scope, self.budget, int(options["size"]) if "size" in options else None)
        cap, pause = int(options.get("cap", 1 << 60)), float(options.get("pause", 0))
        text = await self.pools.transfer(consume, source, cap, pause)
        self.outcomes.append(f"uploaded {text}")
        await answer(send, text)

    async def do_unwanted(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        """Takes the body, and then does not want it."""
        source = body.upload(scope, self.budget)
        await self.pools.transfer(time.sleep, 0.1)
        source.close()
        await answer(send, "no", 413)

    async def do_reads(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        """An upload read like a file, `rest` bytes at a time."""
        source = body.upload(scope, self.budget)

        def read() -> str:
            digest, count = hashlib.md5(), 0
            while piece := source.read(int(rest)):
                assert len(piece) <= int(rest)
                digest.update(piece)
                count += len(piece)
            return f"{count} {digest.hexdigest()}"

        await answer(send, await self.pools.transfer(read))

    async def do_closing(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        """An upload that another thread ends after `rest` seconds, as the keeper of leases does."""
        source = body.upload(scope, self.budget)
        threading.Timer(float(rest), source.close).start()
        try:
            await self.pools.transfer(consume, source, 1 << 60, 0.0)
        except ClientGone:
            await answer(send, "ended by the service", 410)

    async def do_file(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        await self.download(scope, FileReader("/" + rest, False))

    async def do_blocks(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        await self.download(scope, FileReader("/" + rest, True))

    async def do_short(self, scope: Any, receive: Any, send: Send, rest: str) -> None:
        """A download whose file is a byte shorter than the catalogue says."""
        reader = FileReader("/" + rest, False)
        reader.size += 1
        await self.download(scope, reader)

    async def download(self, scope: Any, reader: FileReader) -> None:
        headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % reader.size)]
        await body.download(scope, self.pools.sending("files"), 200, headers, reader, reader.size)
        self.outcomes.append("downloaded")


def consume(source: body.BlockSource, cap: int, pause: float) -> str:
    digest, count = hashlib.md5(), 0
    while block := source.read_block():
        count += len(block)
        if count > cap:
            raise LimitExceeded("too much")
        digest.update(block)
        time.sleep(pause)
        del block
    return f"{count} {digest.hexdigest()}"


async def answer(send: Send, text: str, status: int = 200) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def main(options: dict[str, Any]) -> int:
    log = logs.configure(level="DEBUG")
    if "files" in options:
        resource.setrlimit(resource.RLIMIT_NOFILE, (options["files"], options["files"]))
    generation = 1

    def plan() -> Plan:
        def make_app() -> BareApp:
            log.start()
            return BareApp(options, generation)

        return Plan(
            make_app=make_app,
            workers=options.get("workers", 1),
            limits=Limits(**options.get("limits", {})),
            graceful_seconds=options.get("graceful", 10.0),
        )

    def reload() -> Plan:
        nonlocal generation
        refusal = Path(options["refusal"]) if "refusal" in options else None
        if refusal is not None and refusal.exists():
            raise SettingsError("the new settings are wrong")
        generation += 1
        return plan()

    try:
        listeners = bind(options.get("host", "127.0.0.1"), options.get("port", 0))
    except SettingsError as error:
        print(error, flush=True)
        return 2
    port = listeners[0].getsockname()[1]
    return serve(listeners, plan(), reload=reload, on_ready=lambda: print(f"ready {port}", flush=True))


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
