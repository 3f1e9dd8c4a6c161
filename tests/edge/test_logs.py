"""The log: lines that are whole, prompt and without secrets, and a slow reader that slows nobody down."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import re
import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fanlight import logs
from fanlight.http.access import AccessLog
from fanlight.http.identity.head import RequestHead
from fanlight.model import Caller

LOG = logging.getLogger("fanlight.tests.edge")

SECRETS = {
    "https://user:{}@host/v3": "a url",
    "swift+https://acc%3Auser:{}@auth/v1/container": "a swift location",
    "mysql+pymysql://glance:{}@db/glance?charset=utf8": "a database",
    "X-Auth-Token: {}": "a header line",
    "{{'X-Auth-Token': '{}', 'Accept': '*/*'}}": "a dictionary of headers",
    "[(b'x-auth-token', b'{}'), (b'host', b'x')]": "raw headers",
    "(b'authorization', b'Basic {}')": "a raw authorization",
    "Authorization: Bearer {}": "a bearer",
    "password={} user=x": "a key and its value",
    '{{"admin_password": "{}"}}': "json",
    "s3_store_secret_key = {}": "an option",
    "'swift_store_key': x, 'secret': '{}'": "a secret",
    "GET /x?X-Amz-Signature={}&a=b": "a signed url",
    "GET /x?temp_url_sig={}&temp_url_expires=1": "a temporary url",
    "X-Service-Token={}": "a service token",
    "token {}": "",
    '("password", "{}")': "a pair",
    "['admin_password' , '{}']": "a list",
    "token: {}": "a token",
    "s3://AKIAX:{}/with/slash+@host:80/bucket/key": "a location of S3",
    "swift+https://account:user:{}/x@auth/v1/container": "an old location of Swift",
    "htpasswd_password = {}": "an option that begins like a file",
    "https://u:{}@h/htpasswd": "a url of a file of users",
}


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in list(root.handlers):
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    for handler in handlers:
        if handler not in root.handlers:
            root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.parametrize("pattern", [pattern for pattern, what in SECRETS.items() if what])
@pytest.mark.parametrize("secret", ["s3cr3tPassw0rd", "gAAAAABmZ0123456789abcdefghijklmnopqrstuvwxyz", "Zm9vOmJhcg=="])
def test_no_secret_is_written(tmp_path: Path, pattern: str, secret: str) -> None:
    for style in (logs.TEXT, logs.JSON):
        file = tmp_path / style
        logs.configure(style, file)
        try:
            raise RuntimeError("inside: " + pattern.format(secret))
        except RuntimeError:
            LOG.exception("arguments: %s", pattern.format(secret))
        text = file.read_text()
        assert secret not in text
        assert text.count("***") >= 2


@pytest.mark.parametrize(
    "text",
    [
        "GET /v2/images/0f3e2c1a 200",
        "image 3 of 5 at https://host:9292/v2/images",
        "the keyboard of the monkey is basic",
        "lease 4711 expires at 12:30:01",
        "/etc/fanlight/htpasswd, line 5: the hash is not bcrypt",
        "/etc/fanlight/htpasswd: no such file",
        "[fanlight]htpasswd_file = /etc/fanlight/htpasswd is wrong",
        "no password, no token, no key",
        "EVERY CALLER IS WHOEVER ITS TOKEN CLAIMS (user:project:role in X-Auth-Token). For tests only",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert logs.redact(text) == text


def test_a_line_cannot_be_forged(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logs.configure(logs.TEXT, file)
    LOG.info("name: %s", "x\n2026-01-01T00:00:00.000Z 1 ERROR root [-] forged\x1b[2J")
    assert file.read_text().count("\n") == 1
    assert "\x1b" not in file.read_text()


def test_a_traceback_forges_no_line(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logs.configure(logs.TEXT, file)
    try:
        raise ValueError("x\r2026-01-01T00:00:00.000Z 1 ACCESS forged\x1b[2J")
    except ValueError:
        LOG.exception("failed")
    lines = file.read_bytes().decode().split("\n")
    assert all(line.startswith("    ") for line in lines[1:-1])
    assert not {"\r", "\x1b"} & set("".join(lines))


def warn_for(request_id: str) -> None:
    logs.REQUEST_ID.set(request_id)
    LOG.warning("careful")


def test_the_request_id_is_in_the_line(tmp_path: Path) -> None:
    for style in (logs.TEXT, logs.JSON):
        file = tmp_path / style
        logs.configure(style, file)
        copy_context().run(warn_for, "req-1")
        LOG.info("quiet")
        lines = file.read_text().splitlines()
        if style == logs.JSON:
            document = json.loads(lines[0])
            assert (document["request_id"], document["level"], document["message"]) == ("req-1", "WARNING", "careful")
        else:
            assert lines[0].endswith(f"{os.getpid()} WARNING fanlight.tests.edge [req-1] careful")


def test_levels(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logs.configure(logs.TEXT, file, "WARNING", {"fanlight.tests.edge": "DEBUG"})
    LOG.debug("seen")
    logging.getLogger("another").info("unseen")
    assert "seen" in file.read_text()
    assert "unseen" not in file.read_text()
    with pytest.raises(ValueError, match="style"):
        logs.configure("xml")


def test_a_moved_file_is_opened_anew(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logs.configure(logs.TEXT, file)
    LOG.info("before")
    file.rename(tmp_path / "log.1")
    time.sleep(1.1)
    LOG.info("after")
    assert "before" in (tmp_path / "log.1").read_text()
    assert "after" in file.read_text()


def test_where_no_new_file_can_be_made_the_moved_one_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = logs.configure(logs.TEXT, folder / "log")
    folder.rename(tmp_path / "moved")
    for number in range(3):
        log.sink._looked = float("-inf")
        LOG.info("line %d", number)
    assert (tmp_path / "moved" / "log").read_text().count("line ") == 3


def test_how_lines_look_can_change(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = logs.configure(logs.TEXT, file)
    of_its_own = logging.getLogger("fanlight.tests.changing")
    of_its_own.debug("not yet")
    log.look(logs.JSON, "DEBUG")
    of_its_own.debug("now")
    [line] = file.read_text().splitlines()
    assert (json.loads(line)["message"], log.style) == ("now", logs.JSON)


def write_many(sink: logs.Sink, name: str) -> None:
    sink.start()
    for number in range(2000):
        sink.write(f"{name} {number} {name * 100}\n".encode())
    sink.close(10)


def test_processes_do_not_mix_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "log"
    sink = logs.Sink(file)
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=write_many, args=(sink, name)) for name in "abcd"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    lines = file.read_text().splitlines()
    assert len(lines) == 8000
    assert all(re.fullmatch(r"(\w) \d+ \1{100}", line) for line in lines)


def test_a_reader_that_stops_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    sink = logs.Sink()
    monkeypatch.setattr(sink, "_descriptor", writing)
    sink.start()
    line = b"x" * 999 + b"\n"
    began = time.monotonic()
    for _ in range(20_000):
        sink.write(line)
    assert time.monotonic() - began < 2
    text = b""
    while b"were dropped" not in text:
        text = text[-100:] + os.read(reading, 65536)
        sink.write(b"again\n")
    # What is left must go into the pipe: the number of a closed one may soon be another file's.
    reader = threading.Thread(target=lambda: all(iter(lambda: os.read(reading, 65536), b"")))
    reader.start()
    sink.close(10)
    os.close(writing)
    reader.join(10)
    assert not reader.is_alive()
    os.close(reading)


def exchange(**changes: Any) -> Any:
    head = RequestHead("GET", "/v2/images", "limit=2", [(b"x-auth-token", b"s3cr3t")], ("10.0.0.1", 4711), "http")
    known: dict[str, Any] = {
        "head": head,
        "caller": Caller(user_id="u1", project_id="p1"),
        "request_id": "req-1",
        "status": 200,
        "received": 3,
        "sent": 4,
    }
    return SimpleNamespace(**known | changes)


def written(style: str, file: Path, *exchanges: Any) -> list[str]:
    log = logs.configure(style, file)

    async def write() -> None:
        access = AccessLog(log)
        for one in exchanges:
            access.write(one, 0.0123)
        await asyncio.sleep(0.2)

    asyncio.run(write())
    return file.read_text().splitlines()


def test_an_access_line_has_everything(tmp_path: Path) -> None:
    [line] = written(logs.TEXT, tmp_path / "text", exchange())
    assert line.endswith("ACCESS 10.0.0.1 [req-1] u1 p1 GET /v2/images?limit=2 200 in=3 out=4 0.0123s")
    [line] = written(logs.JSON, tmp_path / "json", exchange())
    document = json.loads(line)
    del document["time"], document["pid"]
    assert document == {
        "level": "ACCESS",
        "client": "10.0.0.1",
        "request_id": "req-1",
        "user": "u1",
        "project": "p1",
        "method": "GET",
        "path": "/v2/images?limit=2",
        "status": 200,
        "bytes_in": 3,
        "bytes_out": 4,
        "seconds": 0.0123,
    }


@pytest.mark.parametrize("style", [logs.TEXT, logs.JSON])
def test_an_access_line_holds_no_secret_and_stays_one_line(tmp_path: Path, style: str) -> None:
    head = RequestHead("GET", "/v2/x\nforged line", "token=s3cr3t&a=\x1b", [], None, "http")
    lines = written(style, tmp_path / "log", exchange(head=head, caller=Caller(user_id="u\n1"), request_id="r\n2"))
    assert len(lines) == 1
    assert "s3cr3t" not in lines[0]
    assert "\x1b" not in lines[0]
