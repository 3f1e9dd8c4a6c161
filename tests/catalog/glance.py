"""The real Glance over a database and a folder: its glance-manage, and its service under uWSGI."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL

import httpx

PIPELINE = "trusted = cors http_proxy_to_wsgi versionnegotiation context rootapp\n"
"""Glance's `keystone` pipeline without the token filter: the identity headers of the client are believed."""
START_SECONDS = 60.0


class Glance:
    """Glance of the virtual environment `venv`. Image files are in `images`; the rest is in `home`."""

    def __init__(self, venv: Path, home: Path, database: str, images: Path) -> None:
        self._venv, self._home = venv, home
        for folder in (home, images, home / "staging", home / "tasks"):
            folder.mkdir(parents=True, exist_ok=True)
        self.config = home / "glance-api.conf"
        self.config.write_text(
            "[DEFAULT]\nenabled_backends = local:file\n"
            f"[database]\nconnection = {database}\n"
            "[glance_store]\ndefault_backend = local\n"
            f"[local]\nfilesystem_store_datadir = {images}\n"
            f"[os_glance_staging_store]\nfilesystem_store_datadir = {home}/staging\n"
            f"[os_glance_tasks_store]\nfilesystem_store_datadir = {home}/tasks\n"
            "[paste_deploy]\nflavor = trusted\n"
        )
        shipped = (venv / "etc" / "glance" / "glance-api-paste.ini").read_text()
        factory = "paste.composite_factory = glance.api:pipeline_factory\n"
        assert factory in shipped
        more = "\n[composite:glance-api-trusted]\npaste.composite_factory = glance.api:root_app_factory\n"
        more += "/: api\n/healthcheck: healthcheck\n"
        (home / "glance-api-paste.ini").write_text(shipped.replace(factory, factory + PIPELINE) + more)

    def manage(self, *words: str, code: int = 0) -> str:
        """What `glance-manage` says; AssertionError if it ends with another code."""
        program = str(self._venv / "bin" / "glance-manage")
        done = subprocess.run(
            [program, "--config-file", str(self.config), *words],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == code, (
            f"glance-manage {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout + done.stderr

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its URL while it runs."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        words = [
            str(self._venv / "bin" / "uwsgi"),
            "--master",
            "--processes=1",
            "--threads=2",
            "--enable-threads",
            "--lazy-apps",
            "--need-app",
            "--die-on-term",
            "--buffer-size=65535",
            "--http-chunked-input",
            "--http-raw-body",
            "--add-header=Connection: close",
            "--module=glance.wsgi.api:application",
            f"--http-socket=127.0.0.1:{port}",
        ]
        environment = {**os.environ, "OS_GLANCE_CONFIG_DIR": str(self._home)}
        log = self._home / "log"
        with log.open("ab") as sink:
            process = subprocess.Popen(
                words, cwd=self._home, env=environment, stdout=sink, stderr=sink, start_new_session=True
            )
        url = f"http://127.0.0.1:{port}"
        try:
            _await(url, process, log)
            yield url
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, SIGKILL)
            process.wait()


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            httpx.get(url, trust_env=False, timeout=20)
            return
        time.sleep(0.1)
    raise AssertionError(f"Glance did not start:\n{log.read_text(errors='replace')[-3000:]}")
