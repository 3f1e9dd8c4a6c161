"""Starts and stops what is measured: Glance under uWSGI, Fanlight, the floors; and what they need beside them.

Every server listens on a free loopback port, keeps its state below the workspace, and runs in a session of its own,
so that stopping it stops its workers and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.data import Database

WORKERS = 2
GLANCE_THREADS = 8
OPENED = ("get_image", "get_images", "add_image", "modify_image", "delete_image", "upload_image", "download_image")
"""Rules of Glance that its pipeline without authentication denies everybody, until a policy file opens them."""
START_LIMIT = 60.0
STOP_LIMIT = 15.0


class Missing(Exception):
    """Something that a case needs is not on this machine; the message says what and how to get it."""


class Server(NamedTuple):
    """A running server. `pid` is its first process; its workers are that one's children."""

    name: str
    url: str
    pid: int

    def resident(self) -> list[int]:
        """Bytes of memory resident in each worker, or in the one process that has none."""
        children = [pid for pid in processes() if parent(pid) == self.pid]
        return [resident(pid) for pid in children or [self.pid]]


class Keystone(NamedTuple):
    """Where tokens are checked: Keystone's `/v3` URL and memcached's `host:port`."""

    url: str
    memcached: str


def processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def parent(pid: int) -> int:
    """The parent of a process; 0 when it has gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def resident(pid: int) -> int:
    """VmRSS of a process in bytes; 0 when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    name: str, words: Sequence[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Starts a command, waits until its port accepts, and stops its whole session at the end."""
    log = folder / f"{name}.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            words, cwd=folder, env={**os.environ, **(environment or {})}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
        )  # fmt: skip
    try:
        await_port(name, process, port, log)
        yield Server(name, f"http://127.0.0.1:{port}", process.pid)
    finally:
        stop(process)


def await_port(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    limit = time.monotonic() + START_LIMIT
    while time.monotonic() < limit:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise Missing(f"{name} did not start:\n{log.read_text(errors='replace')[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Asks, waits, then kills what is left of the session that `running` made."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_LIMIT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def program(name: str, package: str) -> str:
    """The path of a program, also where only root's PATH has it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin")
    if not found:
        raise Missing(f"{name} is not installed (Debian package {package})")
    return found


class Bed:
    """Knows how to start each server over one workspace; holds no process itself."""

    def __init__(self, folder: Path, glance_venv: Path | None) -> None:
        self.folder, self.glance_venv = folder, glance_venv
        for name in ("images", "staging", "tasks"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def configure(self, name: str, database: Database, flavor: str, keystone: Keystone | None = None) -> Path:
        """Writes a glance-api.conf that Glance and Fanlight read alike; gives its folder."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        lines = [
            "[DEFAULT]", "enabled_backends = local:file", "debug = false",
            "[database]", f"connection = {database.url}",
            "[glance_store]", "default_backend = local",
            "[local]", f"filesystem_store_datadir = {self.folder}/images",
            "[os_glance_staging_store]", f"filesystem_store_datadir = {self.folder}/staging",
            "[os_glance_tasks_store]", f"filesystem_store_datadir = {self.folder}/tasks",
            "[paste_deploy]", f"flavor = {flavor}",
            "[oslo_policy]", f"policy_file = {home}/policy.yaml",
        ]  # fmt: skip
        if keystone is not None:
            lines += [
                "[keystone_authtoken]", f"www_authenticate_uri = {keystone.url}", f"auth_url = {keystone.url}",
                f"memcached_servers = {keystone.memcached}", "auth_type = password", "username = glance",
                "password = glance", "project_name = service",
                "user_domain_id = default", "project_domain_id = default",
            ]  # fmt: skip
        (home / "glance-api.conf").write_text("\n".join([*lines, ""]))
        (home / "policy.yaml").write_text("{}\n")
        return home

    # -- Glance --------------------------------------------------------------------------------------------------

    def glance_program(self, name: str) -> str:
        if self.glance_venv is None:
            raise Missing("FANLIGHT_TEST_GLANCE names no virtual environment with glance 33.0.0 and uwsgi")
        found = self.glance_venv / "bin" / name
        if not found.exists():
            raise Missing(f"{found} is missing: pip install glance==33.0.0 uwsgi pymysql python-memcached")
        return str(found)

    def glance_tables(self, database: Database) -> None:
        home = self.configure("glance-tables", database, "")
        words = [self.glance_program("glance-manage"), "--config-file", str(home / "glance-api.conf"), "db", "sync"]
        subprocess.run(words, check=True, capture_output=True)

    def glance(
        self, database: Database, flavor: str = "", *, fastest: bool = False, keystone: Keystone | None = None
    ) -> contextlib.AbstractContextManager[Server]:
        """Glance as its documentation deploys it, or with every setting that makes it faster.

        `flavor` is one of the shipped ones, or `trusted`: the shipped `keystone` pipeline without the token
        filter, so that the identity headers of the client are believed. `fastest` drops every filter that it can
        do without, keeps connections open and writes no request log.
        """
        home = self.configure("glance", database, flavor, keystone)
        self.glance_pipelines(home)
        if not flavor:
            (home / "policy.yaml").write_text("".join(f'"{rule}": "@"\n' for rule in OPENED))
        port = free_port()
        words = [
            self.glance_program("uwsgi"), "--master", f"--processes={WORKERS}", f"--threads={GLANCE_THREADS}",
            "--enable-threads", "--lazy-apps", "--thunder-lock", "--need-app", "--die-on-term",
            "--buffer-size=65535", "--http-chunked-input", "--http-raw-body", "--module=glance.wsgi.api:application",
        ]  # fmt: skip
        if fastest:
            words += [f"--http11-socket=127.0.0.1:{port}", "--disable-logging"]
        else:
            words += [f"--http-socket=127.0.0.1:{port}", "--add-header=Connection: close"]
        return running("glance", words, port, home, {"OS_GLANCE_CONFIG_DIR": str(home)})

    def glance_pipelines(self, home: Path) -> None:
        """Glance's own pipeline file with two more flavors, made of its own filters."""
        shipped = self.glance_program("glance-manage").removesuffix("bin/glance-manage") + "etc/glance"
        text = (Path(shipped) / "glance-api-paste.ini").read_text()
        more = (
            "trusted = cors http_proxy_to_wsgi versionnegotiation osprofiler context rootapp\n"
            "fastest = versionnegotiation context rootapp\n"
        )
        marker = "paste.composite_factory = glance.api:pipeline_factory\n"
        assert marker in text, "the shipped pipeline file has another shape"
        text = text.replace(marker, marker + more)
        factory = "paste.composite_factory = glance.api:root_app_factory"
        for flavor in ("trusted", "fastest"):
            text += f"\n[composite:glance-api-{flavor}]\n{factory}\n/: api\n"
        (home / "glance-api-paste.ini").write_text(text)

    # -- Fanlight and its floors ---------------------------------------------------------------------------------

    def fanlight_tables(self, database: Database) -> None:
        home = self.configure("fanlight-tables", database, "trusted")
        words = [sys.executable, "-m", "fanlight", "db", "sync", "--config-file", str(home / "glance-api.conf")]
        subprocess.run(words, check=True, capture_output=True, env=source_path())

    def fanlight(
        self, database: Database, flavor: str = "trusted", keystone: Keystone | None = None
    ) -> contextlib.AbstractContextManager[Server]:
        """Fanlight with the configuration that Glance gets."""
        home = self.configure("fanlight", database, flavor, keystone)
        port = free_port()
        words = [
            sys.executable, "-m", "fanlight", "serve", "--host", "127.0.0.1", "--port", str(port),
            "--workers", str(WORKERS), "--config-file", str(home / "glance-api.conf"),
        ]  # fmt: skip
        return running("fanlight", words, port, home, source_path())

    def floor(self, database: Database) -> contextlib.AbstractContextManager[Server]:
        """The bare routes of bench/floor.py on the same uvicorn."""
        home = self.folder / "floor"
        (home / "images").mkdir(parents=True, exist_ok=True)
        port = free_port()
        words = [
            sys.executable, "-m", "uvicorn", "--factory", "bench.floor:make", "--host", "127.0.0.1", "--port",
            str(port), "--workers", str(WORKERS), "--loop", "uvloop", "--http", "httptools", "--no-access-log",
            "--log-level", "warning", "--lifespan", "off", "--ws", "none",
        ]  # fmt: skip
        settings = {"FLOOR_DATABASE": database.url, "FLOOR_IMAGES": str(home / "images")}
        return running("floor", words, port, home, {**source_path(), **settings})

    def nginx(self) -> contextlib.AbstractContextManager[Server]:
        """nginx with sendfile over the floor's files: the floor of a download."""
        home = self.folder / "nginx"
        home.mkdir(exist_ok=True)
        port = free_port()
        account = "user root;" if os.geteuid() == 0 else ""
        (home / "nginx.conf").write_text(
            f"daemon off; {account} worker_processes {WORKERS}; pid {home}/pid; error_log {home}/error.log;\n"
            "events { worker_connections 256; }\n"
            f"http {{ access_log off; sendfile on; tcp_nopush on; client_body_temp_path {home}/body;\n"
            f"  proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi;\n"
            f"  scgi_temp_path {home}/scgi; default_type application/octet-stream;\n"
            f"  server {{ listen 127.0.0.1:{port}; root {self.folder}; }} }}\n"
        )
        words = [program("nginx", "nginx-light"), "-p", str(home), "-c", str(home / "nginx.conf")]
        return running("nginx", words, port, home)

    # -- what stands beside them ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def mariadb(self) -> Iterator[MariaDB]:
        """A MariaDB of its own, durable at every commit."""
        home = self.folder / "mariadb"
        home.mkdir(exist_ok=True)
        data = home / "data"
        server = program("mariadbd", "mariadb-server-core")
        account = []
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(home, nobody.pw_uid, nobody.pw_gid)
            account = ["--user=nobody"]
        install = [program("mariadb-install-db", "mariadb-server-core"), "--no-defaults", f"--datadir={data}", *account]
        install += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        subprocess.run(install, check=True, capture_output=True)
        port = free_port()
        words = [
            server, "--no-defaults", f"--datadir={data}", *account, "--bind-address=127.0.0.1", f"--port={port}",
            f"--socket={home}/s", f"--tmpdir={home}", "--skip-name-resolve", "--character-set-server=utf8mb4",
            "--max-connections=300", "--innodb-buffer-pool-size=512M", "--innodb-flush-log-at-trx-commit=1",
            "--performance-schema=OFF",
        ]  # fmt: skip
        with running("mariadb", words, port, home):
            yield MariaDB(port, home / "s")

    def memcached(self) -> contextlib.AbstractContextManager[Server]:
        port = free_port()
        words = [program("memcached", "memcached"), "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "2"]
        words += ["-u", "nobody"] if os.geteuid() == 0 else []
        return running("memcached", words, port, self.folder)


class MariaDB(NamedTuple):
    port: int
    socket: Path

    def create(self, name: str) -> Database:
        """An empty database that the account of the benchmark owns."""
        sql = (
            f"CREATE DATABASE {name} CHARACTER SET utf8mb3; CREATE USER IF NOT EXISTS os@'%' IDENTIFIED BY 'os'; "
            "GRANT ALL ON *.* TO os@'%';"
        )
        client = program("mariadb", "mariadb-client-core")
        words = [client, "--no-defaults", "-u", "root", "-S", str(self.socket), "-e", sql]
        subprocess.run(words, check=True, capture_output=True)
        return Database(f"mysql+pymysql://os:os@127.0.0.1:{self.port}/{name}?charset=utf8")


def source_path() -> dict[str, str]:
    """Lets a child import this checkout, wherever it was started."""
    root = str(Path(__file__).resolve().parent.parent)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
