"""The supervisor: binds the address, starts the worker processes and keeps them running. It serves nothing itself.

    code = serve(listeners, plan, reload=..., on_ready=...)

- `bind(host, port)` makes the listening sockets, which all workers share: none is ever closed while one serves, so
  a reload refuses no connection.
- Workers are forked from a process without threads, and build their application themselves.
- A worker that dies is replaced, with growing delays when it dies again at once.
- SIGTERM or Ctrl-C: stop accepting, let requests and transfers end for at most `graceful_seconds`, then cut.
  A second one: cut now.
- SIGHUP: `reload()` gives a new plan, or raises and nothing changes; new workers start, and when all of them
  serve, the old ones retire.
- When the supervisor dies, the workers notice (their control pipe closes) and end.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from fanlight.errors import FanlightError, SettingsError
from fanlight.http.protocol import Limits
from fanlight.http.serving import ABSENT, CUT, DRAIN, RETIRE, STARTUP_FAILED, AppFactory, Loads, Worker

LOG = logging.getLogger(__name__)

START_SECONDS = 120.0
"""A worker that does not serve after this time is given up."""
STABLE_SECONDS = 10.0
"""A worker that lived this long is replaced at once when it dies."""
LONGEST_DELAY = 30.0
MOST_WORKERS = 256
"""Workers whose load is told apart, old generations included; with more, two share an entry."""
KILL_AFTER = 15.0
"""Seconds that workers have beyond their own limits before they are killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to serve: `make_app` is called once in every worker process and returns an ASGI application.

    Its lifespan events, if it takes them, tell it when the worker starts and ends; `lifespan.startup.failed` with a
    message stops the start. `workers` ≥ 1; `graceful_seconds` for running requests at the end.
    """

    make_app: AppFactory
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    graceful_seconds: float = 60.0


def bind(host: str, port: int, backlog: int = 2048) -> list[socket.socket]:
    """Listening sockets for every address of `host` (port 0: any free port, the same for all). Raises SettingsError."""
    listeners: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            chosen = port or listeners[0].getsockname()[1]
            listener.bind((address[0], chosen, *address[2:]))
            listener.listen(backlog)
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise SettingsError(f"Cannot listen on {host or '*'} port {port}: {error.strerror or error}") from error
    return listeners


def serve(
    listeners: Sequence[socket.socket],
    plan: Plan,
    *,
    reload: Callable[[], Plan] | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> int:
    """Serve until told to end; returns the exit code. Call in the main thread of a process without other threads.

    `reload` is called on SIGHUP, in the supervisor, and must not start threads; what it raises is logged.
    `on_ready` is called once, when every worker accepts connections.
    """
    return _Supervisor(list(listeners), plan, reload, on_ready).run()


class _Child:
    """A worker process as the supervisor sees it."""

    def __init__(self, pid: int, number: int, control: int, ready: int) -> None:
        self.pid = pid
        self.number = number
        self.control = control
        self.ready_pipe = ready
        self.ready = False
        self.born = time.monotonic()

    def tell(self, command: bytes) -> None:
        try:
            os.write(self.control, command)
        except BrokenPipeError:
            LOG.debug("worker %d has ended already", self.pid)

    def forget(self) -> None:
        os.close(self.control)
        os.close(self.ready_pipe)


class _Supervisor:
    def __init__(
        self,
        listeners: list[socket.socket],
        plan: Plan,
        reload: Callable[[], Plan] | None,
        on_ready: Callable[[], None],
    ) -> None:
        self._listeners = listeners
        self._plan = plan
        self._reload = reload
        self._on_ready = on_ready
        self._serving: list[_Child] = []
        self._coming: list[_Child] = []
        """The next generation, while a reload waits for it."""
        self._next_plan = plan
        self._leaving: list[_Child] = []
        self._announced = False
        self._reload_again = False
        """The signal to reload came while workers were starting."""
        self._ending = False
        self._kill_at = 0.0
        self._delay = 0.0
        self._start_at = 0.0
        self._code = 0
        self._signals: list[int] = []
        # Two generations of workers meet in a reload, and old ones may take long to leave.
        self._loads = Loads(MOST_WORKERS)
        self._selector = selectors.DefaultSelector()

    # -- the loop

    def run(self) -> int:
        reading, writing = os.pipe()
        for end in (reading, writing):
            os.set_blocking(end, False)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        handlers = {number: signal.signal(number, lambda number, _: self._signals.append(number)) for number in handled}
        self._selector.register(reading, selectors.EVENT_READ)
        try:
            gc.freeze()
            while not self._finished():
                self._turn(reading)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            self._selector.close()
            os.close(reading)
            os.close(writing)
        return self._code

    def _turn(self, wakeup: int) -> None:
        self._fill()
        for key, _ in self._selector.select(self._patience()):
            if key.fd == wakeup:
                os.read(wakeup, 4096)
            else:
                self._heard(key.data)
        while self._signals:
            self._signalled(self._signals.pop(0))
        self._reap()
        self._enforce()
        if self._reload_again and self._announced and not (self._coming or self._ending):
            self._begin_reload()

    def _patience(self) -> float:
        """How long nothing needs to be done by itself."""
        now = time.monotonic()
        moments = [self._kill_at] if self._ending else []
        moments += [child.born + START_SECONDS for child in self._serving + self._coming if not child.ready]
        if len(self._serving) < self._plan.workers and not self._ending:
            moments.append(self._start_at)
        return max(0.0, min(moments, default=now + 60.0) - now)

    def _finished(self) -> bool:
        return self._ending and not (self._serving or self._coming or self._leaving)

    def _signalled(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._end()
        elif number == signal.SIGHUP and not self._ending:
            self._begin_reload()

    # -- starting

    def _fill(self) -> None:
        """Start what is missing of the serving generation, unless it just died too often."""
        while not self._ending and len(self._serving) < self._plan.workers and time.monotonic() >= self._start_at:
            self._serving.append(self._start(self._plan))

    def _start(self, plan: Plan) -> _Child:
        control_reading, control = os.pipe()
        ready, ready_writing = os.pipe()
        taken = {child.number for child in self._serving + self._coming + self._leaving}
        number = next((number for number in range(MOST_WORKERS) if number not in taken), MOST_WORKERS - 1)
        _flush()
        pid = os.fork()
        if pid == 0:
            self._become_worker(plan, number, control_reading, ready_writing, (control, ready))
        os.close(control_reading)
        os.close(ready_writing)
        child = _Child(pid, number, control, ready)
        self._selector.register(ready, selectors.EVENT_READ, child)
        return child

    def _become_worker(self, plan: Plan, number: int, control: int, ready: int, foreign: Iterable[int]) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # Ctrl-C reaches the whole terminal group; what it means for a worker, the supervisor tells.
            for terminal_signal in (signal.SIGINT, signal.SIGHUP):
                signal.signal(terminal_signal, signal.SIG_IGN)
            # An open writing end here would hide the supervisor's death from the worker it belongs to.
            for descriptor in foreign:
                os.close(descriptor)
            for child in self._serving + self._coming + self._leaving:
                child.forget()
            self._selector.close()
            worker = Worker(plan.make_app, self._listeners, plan.limits, plan.graceful_seconds, self._loads, number)
            code = worker.run(control, lambda: _report(ready))
        except FanlightError as error:
            LOG.error("%s", error)
            code = STARTUP_FAILED
        except BaseException:
            traceback.print_exc()
        finally:
            logging.shutdown()
            _flush()
            os._exit(code)

    def _heard(self, child: _Child) -> None:
        """A worker serves, or its pipe closed because it died; then the signal of its death follows."""
        self._selector.unregister(child.ready_pipe)
        child.ready = bool(os.read(child.ready_pipe, 1))
        if not child.ready:
            return
        if child in self._coming:
            self._finish_reload()
        elif not self._announced and len(self._serving) == self._plan.workers and _all_ready(self._serving):
            self._announced = True
            self._delay = 0.0
            self._on_ready()
            notify_systemd("READY=1")

    # -- dying

    def _reap(self) -> None:
        for children in (self._serving, self._coming, self._leaving):
            for child in list(children):
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    children.remove(child)
                    if not child.ready and child.ready_pipe in self._selector.get_map():
                        self._selector.unregister(child.ready_pipe)
                    child.forget()
                    self._loads.tell(child.number, ABSENT)
                    self._died(child, children, os.waitstatus_to_exitcode(status))

    def _died(self, child: _Child, children: list[_Child], code: int) -> None:
        if self._ending or children is self._leaving:
            return
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
        if children is self._coming:
            LOG.error("a new worker did not start (%s); the old ones go on", reason)
            self._abort_reload()
        elif not self._announced:
            LOG.error("a worker did not start (%s)", reason)
            self._code = 1
            self._end()
        else:
            lived = time.monotonic() - child.born
            self._delay = 0.0 if lived > STABLE_SECONDS else min(LONGEST_DELAY, self._delay * 2 or 0.1)
            self._start_at = time.monotonic() + self._delay
            LOG.error("worker %d died (%s); another starts in %.1f s", child.pid, reason, self._delay)

    def _enforce(self) -> None:
        now = time.monotonic()
        if self._ending and now >= self._kill_at:
            LOG.error("killing the workers that do not end")
            for child in self._serving + self._coming + self._leaving:
                os.kill(child.pid, signal.SIGKILL)
            self._kill_at = now + KILL_AFTER
        for child in self._serving + self._coming:
            if not child.ready and now - child.born >= START_SECONDS:
                LOG.error("worker %d does not become ready", child.pid)
                os.kill(child.pid, signal.SIGKILL)
                child.born = now

    # -- reloading

    def _begin_reload(self) -> None:
        if self._reload is None:
            LOG.warning("the signal to reload is ignored: there is nothing to reload")
            return
        if self._coming or not self._announced:
            self._reload_again = True
            return
        self._reload_again = False
        try:
            self._next_plan = self._reload()
        except Exception as error:
            LOG.error("the new configuration is refused, the old one stays: %s", error)
            return
        LOG.info("reloading")
        gc.freeze()
        for _ in range(self._next_plan.workers):
            self._coming.append(self._start(self._next_plan))

    def _finish_reload(self) -> None:
        if not _all_ready(self._coming):
            return
        for child in self._serving:
            child.tell(RETIRE)
        self._leaving += self._serving
        self._serving, self._coming, self._plan = self._coming, [], self._next_plan
        LOG.info("reloaded: %d new workers serve", len(self._serving))

    def _abort_reload(self) -> None:
        for child in self._coming:
            child.tell(CUT)
        self._leaving += self._coming
        self._coming = []

    # -- ending

    def _end(self) -> None:
        command = CUT if self._ending else DRAIN
        if not self._ending:
            self._ending = True
            for listener in self._listeners:
                listener.close()
            notify_systemd("STOPPING=1")
        patience = self._plan.graceful_seconds if command == DRAIN else 0.0
        self._kill_at = time.monotonic() + patience + KILL_AFTER
        for child in self._serving + self._coming + self._leaving:
            child.tell(command)


def _all_ready(children: list[_Child]) -> bool:
    return all(child.ready for child in children)


def _report(ready: int) -> None:
    os.write(ready, b"1")
    os.close(ready)


def notify_systemd(state: str) -> None:
    """Tell systemd, if it started us and waits for it (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
        except OSError as error:
            LOG.warning("systemd could not be told %s: %s", state, error)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # None where it was closed before the start.
        if stream is not None:
            stream.flush()
