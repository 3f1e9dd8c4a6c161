"""The access log: one line for every request, written when its answer is out.

Called by the pipeline on the event loop, so it must cost microseconds and never wait: lines gather for a tenth of a
second and go to the log's writing thread together.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Protocol

import msgspec

from fanlight.http.identity.head import RequestHead
from fanlight.logs import JSON, Log, may_hold_secret, one_line, redact
from fanlight.model import Caller

FLUSH_SECONDS = 0.1
FLUSH_LINES = 256


class Answered(Protocol):
    """What the pipeline knows of a request at its end. `status` is 0 where no answer was begun; bodies in bytes."""

    head: RequestHead
    caller: Caller
    request_id: str
    status: int
    received: int
    sent: int


class AccessLog:
    """One per worker, made in it. `write` from the event loop only; `flush` at the end."""

    def __init__(self, log: Log) -> None:
        self._sink = log.sink
        self._json = log.style == JSON
        self._encode = msgspec.json.Encoder().encode
        self._pid = os.getpid()
        self._lines: list[bytes] = []
        self._second = 0
        self._second_text = ""

    def write(self, exchange: Answered, seconds: float) -> None:
        """One request that took `seconds`. From the event loop."""
        head, caller = exchange.head, exchange.caller
        target = f"{head.path}?{head.query}" if head.query else head.path
        if head.query and may_hold_secret(head.query):
            target = redact(target)
        # The path is decoded here; as one word it cannot be mistaken for other fields.
        target = one_line(target).replace(" ", "%20")
        client = head.client[0] if head.client else None
        if self._json:
            line = self._json_line(exchange, target, seconds, client)
        else:
            text = (
                f"{self._time()} {self._pid} ACCESS {client or '-'} [{exchange.request_id or '-'}] "
                f"{caller.user_id or '-'} {caller.project_id or '-'} {head.method} {target} "
                f"{exchange.status} in={exchange.received} out={exchange.sent} {seconds:.4f}s"
            )
            line = one_line(text).encode("utf-8", "backslashreplace") + b"\n"
        self._lines.append(line)
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        elif len(self._lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Hand what has gathered to the log."""
        lines, self._lines = self._lines, []
        if lines:
            self._sink.write(b"".join(lines))

    def _json_line(self, exchange: Answered, target: str, seconds: float, client: str | None) -> bytes:
        document = {
            "time": self._time(),
            "pid": self._pid,
            "level": "ACCESS",
            "client": client,
            "request_id": exchange.request_id,
            "user": exchange.caller.user_id,
            "project": exchange.caller.project_id,
            "method": exchange.head.method,
            "path": target,
            "status": exchange.status,
            "bytes_in": exchange.received,
            "bytes_out": exchange.sent,
            "seconds": round(seconds, 6),
        }
        return self._encode(document) + b"\n"

    def _time(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((now - second) * 1000):03d}Z"
