"""Counts what one request costs: calls into our own files, how deep they nest, statements and transactions.

The application runs as it does in a worker process, behind its own protocol and a real socket, but in a thread of this
process, so that every call can be seen. Not counted is what stands where another service has its WSGI server (the
protocol, the log's writer), and what happens once a second whatever is asked: of several equal requests the cheapest
counts.
"""

from __future__ import annotations

import asyncio
import dis
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx
import uvloop
from sqlalchemy import Engine, event
from uvicorn.config import Config
from uvicorn.server import ServerState

import fanlight
from fanlight import application, logs
from fanlight.http.pipeline import Pipeline
from fanlight.http.protocol import Connection
from fanlight.settings.load import load
from tests.bed.callers import NO_TLS

OWN = str(Path(fanlight.__file__).parent) + "/"
SERVER = frozenset({"http/protocol.py", "http/cycle.py", "http/serving.py", "logs.py"})
"""Our own files that are not the application: they do what uWSGI does elsewhere."""
INSIDE = ("http/v2/", "operations/", "catalog/", "stores/")
"""What does the work of a request, and what a comparison can be about: the edge above it (request id, routes, CORS,
threads, access log) is ours, where another service has it from libraries and its WSGI server."""
INLINED = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>"})
"""No calls any more from Python 3.12 on."""
LOOP = "_Pool._run"
"""The bottom of each worker thread: it was there before the request."""
RESUME = dis.opmap["RESUME"]
SECONDS = 20.0


class Cost:
    """What one request has cost."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.depth = 0
        self.statements: list[str] = []
        self.transactions = 0

    @property
    def whole(self) -> int:
        """All calls into our own files."""
        return self.calls.total()

    @property
    def frames(self) -> int:
        """Calls of the handler and of everything below it."""
        return sum(count for name, count in self.calls.items() if name.startswith(INSIDE))

    def __str__(self) -> str:
        lines = [
            f"{self.frames} calls of {self.whole}, depth {self.depth}, {len(self.statements)} SQL / "
            f"{self.transactions} tx"
        ]
        lines += [f"{count:4} {name}" for name, count in sorted(self.calls.items())]
        return "\n".join([*lines, *self.statements])


class Watch:
    """Sees calls in all threads that start while it is installed, and the statements of one SQLite engine."""

    def __init__(self) -> None:
        self.cost: Cost | None = None
        self.answered = threading.Event()
        self._names: dict[CodeType, str | None] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        threading.setprofile(self._profile)
        try:
            yield
        finally:
            threading.setprofile(None)

    def watch(self, engine: Engine) -> None:
        """Hear what is sent to SQLite over any connection that is taken from now on."""

        @event.listens_for(engine, "checkout")
        def checkout(connection: Any, _record: object, _proxy: object) -> None:
            connection.set_trace_callback(self._hear)

    def _hear(self, statement: str) -> None:
        cost, first = self.cost, statement.split(None, 1)[0]
        if cost is None or first in ("COMMIT", "ROLLBACK"):
            return
        if first == "BEGIN":
            cost.transactions += 1
        else:
            cost.statements.append(statement)

    def _profile(self, frame: FrameType, kind: str, _argument: object) -> None:
        if self.cost is None:
            return
        if kind == "call":
            name = self._name(frame.f_code)
            if name is not None and _begins(frame):
                self.cost.calls[name] += 1
                self.cost.depth = max(self.cost.depth, self._depth(frame))
        elif kind == "return" and frame.f_code is Pipeline.__call__.__code__ and _ends(frame):
            self.answered.set()

    def _depth(self, frame: FrameType | None) -> int:
        depth = 0
        while frame is not None:
            depth += self._name(frame.f_code) is not None
            frame = frame.f_back
        return depth

    def _name(self, code: CodeType) -> str | None:
        """What a call is counted as; None where it is none of ours."""
        if code not in self._names:
            path = code.co_filename.removeprefix(OWN)
            own = path != code.co_filename and path not in SERVER
            own = own and code.co_name not in INLINED and code.co_qualname != LOOP
            self._names[code] = f"{path} {code.co_qualname}" if own else None
        return self._names[code]


def _begins(frame: FrameType) -> bool:
    """Whether a call is one, and not a generator or coroutine that goes on."""
    operation, argument = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
    return operation == RESUME and argument & 3 == 0


def _ends(frame: FrameType) -> bool:
    """Whether a coroutine returns, and does not only wait."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN")


class Running:
    """The service in a thread of this process, and a client that keeps its connection."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counter = Watch()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._port = 0

    @contextmanager
    def serve(self) -> Iterator[Running]:
        """Run until the block ends."""
        with self._counter.installed():
            thread = threading.Thread(target=self._run, name="counted-loop")
            thread.start()
            assert self._ready.wait(SECONDS), "it did not start"
            if self._failure is not None:
                raise self._failure
            try:
                base = f"http://127.0.0.1:{self._port}"
                with httpx.Client(base_url=base, trust_env=False, timeout=SECONDS, verify=NO_TLS) as self._client:
                    yield self
            finally:
                self._loop.call_soon_threadsafe(self._stop.set)
                thread.join(SECONDS)
                assert not thread.is_alive(), "it did not end"

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:
            self._failure = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        options = {"data_dir": str(self._folder), "lease_seconds": 3600.0}
        settings = load(overrides=options)
        # Without a handler of Python's own logging, which would outlive the test.
        log = logs.Log(logs.Sink(self._folder / "log"), logging.NullHandler())
        pipeline = application.make_application(settings, log)
        self._counter.watch(pipeline._edge.service.catalog.engine)
        config = Config(pipeline, lifespan="on", ws="none", log_config=None, access_log=False, proxy_headers=False)
        config.load()
        lifespan, state = config.lifespan_class(config), ServerState()
        await lifespan.startup()
        limits = application.limits(settings)
        server = await self._loop.create_server(
            lambda: Connection(limits, config, state, self._loop, lambda: None), "127.0.0.1", 0
        )
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        await lifespan.shutdown()

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request that is not counted."""
        answer = self._client.request(method, path, **more)
        assert answer.is_success, answer.text
        return answer

    def cost(self, method: str, path: str, **more: Any) -> Cost:
        """One request, counted to the end of the application's work."""
        counter, cost = self._counter, Cost()
        counter.answered.clear()
        counter.cost = cost
        try:
            self.ask(method, path, **more)
            assert counter.answered.wait(SECONDS), "the application does not end"
        finally:
            counter.cost = None
        return cost


def cheapest(costs: list[Cost]) -> Cost:
    """Without what happened once a second and met one of them."""
    return min(costs, key=lambda cost: cost.whole)
