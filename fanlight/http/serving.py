"""One worker process: its event loop, the accepting of connections, the sweep of time limits, and its end.

Started by the supervisor (server.py) with a listening socket that it shares with its siblings. A control pipe tells
it to end: DRAIN (stop accepting, finish what runs within `graceful_seconds`), RETIRE (the same however long it takes,
and leave idle clients the time to notice), CUT (now). When the pipe closes, the supervisor has died, and the worker
drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import mmap
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any

import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from fanlight.http.cycle import BODY
from fanlight.http.protocol import Connection, Limits

LOG = logging.getLogger(__name__)

DRAIN, RETIRE, CUT = b"d", b"r", b"c"
STARTUP_FAILED = 3
LEAST_CONNECTIONS = 16
"""Connections at once, however few descriptors there are; else half of them are for connections."""
IDLE_GRACE = 2.0
"""Seconds that a retiring worker keeps an idle connection: a request just on its way still gets its answer."""
ABSENT = 0xFFFFFFFF
"""The load of a worker that accepts no connections."""
LONGEST_YIELD = 10
"""Milliseconds that a busier worker leaves a connection to others: one for each connection that it has more."""
UNDO_SECONDS = 10.0
"""After the cut: for operations to undo what they were doing."""

AppFactory = Callable[[], Any]


class Loads:
    """How many connections each worker has, in memory that all of them share: the least busy one accepts the next.

    Without it whoever wakes first takes nearly all of a burst, and the other processors idle. Made by the supervisor
    before it forks; worker number n owns entry n.
    """

    def __init__(self, workers: int) -> None:
        self._entries = memoryview(mmap.mmap(-1, 4 * workers)).cast("I")
        for number in range(workers):
            self._entries[number] = ABSENT

    def tell(self, number: int, connections: int) -> None:
        """Worker `number` has so many connections; ABSENT when it accepts none."""
        self._entries[number] = connections

    @property
    def least(self) -> int:
        return min(self._entries)


class Worker:
    """Serves one ASGI application on shared listening sockets. `run` returns the exit code of the process."""

    def __init__(
        self,
        make_app: AppFactory,
        sockets: Sequence[socket.socket],
        limits: Limits,
        graceful_seconds: float,
        loads: Loads,
        number: int,
    ) -> None:
        self._loads, self._number = loads, number
        self._make_app = make_app
        self._sockets = list(sockets)
        self._limits = limits
        self._graceful = graceful_seconds
        self._state = ServerState()
        self._connecting: set[asyncio.Task[Any]] = set()
        self._open = 0
        self._told = b""
        self._yielded = 0
        self._most = 0
        self._accepting = False
        self._wake: asyncio.Event
        """Set when there is something to do; the drain clears it, so that it does not say whether the end has begun."""

    def run(self, control: int, ready: Callable[[], None]) -> int:
        """Serve until told to end by `control` (a pipe's reading end) or SIGTERM; call `ready` once it accepts."""
        self._most = max(LEAST_CONNECTIONS, raise_open_files() // 2)
        # The loop takes the interpreter back from a computing thread after this time: below 5 ms listings wait less
        # while images are hashed, and below 1 ms the switching itself costs more than it gives.
        sys.setswitchinterval(0.001)
        return uvloop.run(self._run(control, ready))

    async def _run(self, control: int, ready: Callable[[], None]) -> int:
        loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, self._tell, DRAIN)
        loop.add_reader(control, self._controlled, control)
        config = Config(
            self._make_app(),
            lifespan="auto",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        config.load()
        lifespan = config.lifespan_class(config)
        await lifespan.startup()
        if lifespan.should_exit:
            return STARTUP_FAILED
        sweep = loop.create_task(self._sweep())

        def make() -> Connection:
            return Connection(self._limits, config, self._state, loop, lambda: self._count(-1))

        for listener in self._sockets:
            listener.setblocking(False)
            loop.add_reader(listener, self._accept, listener, make)
        self._accepting = True
        self._loads.tell(self._number, 0)
        ready()
        await self._wake.wait()
        self._accepting = False
        for listener in self._sockets:
            loop.remove_reader(listener)
            listener.close()
        self._loads.tell(self._number, ABSENT)
        await self._drain()
        sweep.cancel()
        await lifespan.shutdown()
        return 0

    # -- being told

    def _tell(self, command: bytes) -> None:
        self._told = CUT if CUT in (command, self._told) else command
        self._wake.set()

    def _controlled(self, control: int) -> None:
        command = os.read(control, 1)
        if not command:
            asyncio.get_running_loop().remove_reader(control)
            LOG.warning("the supervisor has died; this worker ends")
        self._tell(command or DRAIN)

    # -- connections

    def _accept(self, listener: socket.socket, factory: Callable[[], Connection]) -> None:
        if self._yielded < min(self._open - self._loads.least, LONGEST_YIELD):
            # Leave it to the less busy one; if that does not take it soon, it is ours after all.
            self._yielded += 1
            self._pause(listener, factory, 0.001)
            return
        self._yielded = 0
        if self._open >= self._most and not self._make_room():
            # They wait in the listener's queue; all that are here are at work.
            self._pause(listener, factory, 0.1)
            return
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            # Out of descriptors, most likely. Without a pause the loop would turn idly until one is free.
            LOG.error("a connection could not be accepted: %s", error)
            self._pause(listener, factory, 0.5)
            return
        self._count(1)
        connection.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._connect(connection, factory))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _make_room(self) -> bool:
        """End those connections without a request that have been so for the longest time. Whether there were any.

        What else needs a descriptor, as the file and the socket of a transfer, must find one.
        """
        idle = [one for one in self._connections() if one.idle and one.phase != BODY]
        idle.sort(key=lambda one: one.since)
        for connection in idle[: len(idle) // 16 + 1]:
            connection.abort()
        return bool(idle)

    def _count(self, more: int) -> None:
        self._open += more
        if self._accepting:
            self._loads.tell(self._number, self._open)

    async def _connect(self, connection: socket.socket, factory: Callable[[], Connection]) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(factory, connection)
        except OSError as error:
            LOG.debug("a connection was lost while it was accepted: %s", error)
            connection.close()
            self._count(-1)

    def _pause(self, listener: socket.socket, factory: Callable[[], Connection], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)

        def resume() -> None:
            if self._accepting:
                loop.add_reader(listener, self._accept, listener, factory)

        loop.call_later(seconds, resume)

    async def _sweep(self) -> None:
        """Once a second: the time limits of all connections, and the Date header of all answers."""
        loop = asyncio.get_running_loop()
        while True:
            self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
            now = loop.time()
            for connection in list(self._state.connections):
                if isinstance(connection, Connection):
                    connection.sweep(now)
            await asyncio.sleep(1.0)

    # -- the end

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        end = math.inf
        while self._busy() and self._told != CUT and loop.time() < end:
            grace = IDLE_GRACE
            if self._told != RETIRE:
                # A retired worker may be told later that the service ends.
                grace, end = 0.0, min(end, loop.time() + self._graceful)
            for connection in self._connections():
                connection.retire()
                if loop.time() - connection.since >= grace:
                    connection.shutdown()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 0.05)
        if self._busy():
            LOG.warning("cutting %d connections that did not end in time", len(self._state.connections))
            await self._cut()

    async def _cut(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + UNDO_SECONDS
        for connection in self._connections():
            connection.abort()
        while self._busy() and loop.time() < end:
            await asyncio.sleep(0.02)
        for task in list(self._state.tasks):
            task.cancel("the service ends")

    def _busy(self) -> bool:
        return bool(self._state.connections or self._state.tasks or self._connecting)

    def _connections(self) -> list[Connection]:
        return [connection for connection in self._state.connections if isinstance(connection, Connection)]


def raise_open_files() -> int:
    """Allow this process as many descriptors as the system lets it, and tell how many: a running upload needs three."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return wanted if soft == resource.RLIM_INFINITY else soft
