"""A real `python -m fanlight serve` in processes of its own, with its files, its log and clients for it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy

from tests.bed.callers import Client, identity_headers

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 20.0
TRACEBACK = "Traceback (most recent call last)"

Config = Mapping[str, Mapping[str, object]]
"""Sections of a glance-api.conf: group -> option -> value. A list or tuple becomes one line for each element."""


class Server:
    """One service: parent and workers, in a session of their own, over one folder.

    `flavor` is that of `[paste_deploy]`; None leaves the section out. `policy` is the text of a policy.yaml or its
    rules. `database` is an SQLAlchemy URL; by default the service makes its SQLite database below its data folder.
    `arguments` are further words for `fanlight serve`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        flavor: str | None = "fakeauth",
        config: Config | None = None,
        policy: str | Mapping[str, str] | None = None,
        database: str | None = None,
        data_dir: Path | None = None,
        workers: int = 1,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.flavor = flavor or ""
        self.data_dir = data_dir or folder / "data"
        self.config_file = folder / "glance-api.conf"
        self.policy_file = folder / "policy.yaml"
        self.log_file = folder / "server.log"
        self.database = database or f"sqlite:///{self.data_dir}/fanlight.db"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._workers = workers
        self._arguments = [*arguments]
        self._environment = dict(environment or {})
        self._allowed: list[str] = []
        self._clients: list[Client] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(_merged(config, flavor, database))
        if policy is not None:
            self.write_policy(policy)

    # -- its life ------------------------------------------------------------------------------------------------

    def start(self) -> Server:
        """Start and wait until it is ready. Raises AssertionError with the log when it ends instead."""
        assert not self.running, "it runs already"
        begin = self.log_size()
        words = [sys.executable, "-m", "fanlight", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--workers", str(self._workers), "--data-dir", str(self.data_dir)]
        words += ["--config-file", str(self.config_file), *self._arguments]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                words, cwd=self.folder, env=self._variables(), stdout=log, stderr=log, start_new_session=True
            )
        ready = self.wait_for_log(r"^Ready.*:(\d+)/?$", START_SECONDS, since=begin)
        self.port = int(ready[1])
        return self

    def stop(self, number: int = signal.SIGTERM, seconds: float = STOP_SECONDS) -> int:
        """Ask it to end, as an operator does, and wait; returns its exit code."""
        assert self.process is not None, "it was never started"
        self._hang_up()
        if self.running:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.kill()

    def kill(self) -> None:
        """End parent and workers at once, as a power cut would; none of them runs any more afterwards."""
        if self.process is None:
            return
        deadline = time.monotonic() + STOP_SECONDS
        while left := self.processes():
            assert time.monotonic() < deadline, f"they cannot be killed: {left}"
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        self.process.wait()

    def processes(self) -> list[int]:
        """Parent and workers that run, by id."""
        found = []
        for entry in os.listdir("/proc"):
            # "pid (name) state parent group session ...": a zombie runs no more, it only waits to be counted.
            with suppress(OSError):
                state, _, _, session = _after_name(entry)[:4] if entry.isdigit() else ("Z", "", "", "")
                if self.process is not None and state != "Z" and session == str(self.process.pid):
                    found.append(int(entry))
        return sorted(found)

    def restart(self, number: int = signal.SIGTERM) -> Server:
        """Stop and start again, on the same port and the same data."""
        self.stop(number)
        return self.start()

    def signal(self, number: int) -> None:
        """Send a signal to the parent alone, as a service supervisor does."""
        assert self.process is not None, "it was never started"
        self.process.send_signal(number)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end(self) -> None:
        """Whatever state it is in: nothing of it is left afterwards."""
        if self.running:
            self.stop(signal.SIGINT)
        self._hang_up()
        self.kill()

    # -- what it is told -----------------------------------------------------------------------------------------

    def configure(self, config: Config) -> None:
        """Write the configuration file; the server reads it at its next start or reload."""
        lines = []
        for group, options in config.items():
            lines.append(f"[{group}]")
            for name, value in options.items():
                values = value if isinstance(value, list | tuple) else [value]
                lines += [f"{name} = {each}" for each in values]
        self.config_file.write_text("\n".join(lines) + "\n")

    def write_policy(self, policy: str | Mapping[str, str]) -> None:
        """Write the policy file beside the configuration."""
        if not isinstance(policy, str):
            policy = "".join(f'"{rule}": "{check}"\n' for rule, check in policy.items())
        self.policy_file.write_text(policy)

    def _variables(self) -> dict[str, str]:
        # Without compiled modules on disk every start would cost another second.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self._environment}

    # -- who asks ------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        assert self.port, "it was never started"
        return f"http://127.0.0.1:{self.port}"

    def client(self, headers: Mapping[str, str] | None = None) -> Client:
        """A client with exactly these headers; nobody in particular."""
        client = Client(self.url, headers or {})
        self._clients.append(client)
        return client

    def as_admin(self, project: str = "admin") -> Client:
        return self.as_caller(project, ("admin", "member", "reader"))

    def as_member(self, project: str, user: str | None = None) -> Client:
        return self.as_caller(project, ("member", "reader"), user)

    def as_reader(self, project: str, user: str | None = None) -> Client:
        return self.as_caller(project, ("reader",), user)

    def as_caller(self, project: str, roles: Sequence[str], user: str | None = None) -> Client:
        """Somebody with these roles in a project; for the flavors that believe what they are told."""
        return self.client(identity_headers(self.flavor, user or f"{roles[0]}-of-{project}", project, roles))

    def _hang_up(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    # -- what it left behind -------------------------------------------------------------------------------------

    def log_text(self, since: int = 0) -> str:
        """What it wrote to standard output and standard error, from byte `since` on."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as log:
            log.seek(since)
            return log.read().decode(errors="replace")

    def log_size(self) -> int:
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    def wait_for_log(self, pattern: str, seconds: float = 10.0, since: int = 0) -> re.Match[str]:
        """Wait until a line of the log matches. Raises AssertionError with the log's end if none does."""
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + seconds
        while True:
            ended = not self.running
            found = expression.search(self.log_text(since))
            if found:
                return found
            if ended or time.monotonic() > deadline:
                what = "ended" if ended else f"did not say {pattern!r} within {seconds} seconds"
                raise AssertionError(f"the server {what}:\n{self.log_text(since)[-4000:]}")
            time.sleep(0.02)

    def allow_traceback(self, pattern: str) -> None:
        """From now on, tracebacks whose text matches are no failure of the test."""
        self._allowed.append(pattern)

    def unexpected_tracebacks(self, since: int = 0) -> list[str]:
        """Tracebacks in the log that no pattern of `allow_traceback` matches, each with what follows it."""
        found = []
        for part in self.log_text(since).split(TRACEBACK)[1:]:
            if not any(re.search(pattern, part) for pattern in self._allowed):
                found.append(TRACEBACK + part[:4000])
        return found

    def files(self, folder: str = "images") -> dict[str, int]:
        """Every file below a folder of its data, by relative path, with its size in bytes."""
        top = self.data_dir / folder
        return {str(path.relative_to(top)): path.stat().st_size for path in sorted(top.rglob("*")) if path.is_file()}

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Rows of its database, read past the server; a statement that changes some is committed."""
        engine = sqlalchemy.create_engine(self.database, poolclass=sqlalchemy.NullPool)
        with engine.begin() as connection:
            result = connection.execute(sqlalchemy.text(statement), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []


def _after_name(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _merged(config: Config | None, flavor: str | None, database: str | None) -> Config:
    """The wanted sections, and what the other arguments say where those don't."""
    sections: dict[str, dict[str, object]] = {group: dict(options) for group, options in (config or {}).items()}
    if flavor is not None:
        sections.setdefault("paste_deploy", {}).setdefault("flavor", flavor)
    if database is not None:
        sections.setdefault("database", {}).setdefault("connection", database)
    return sections
