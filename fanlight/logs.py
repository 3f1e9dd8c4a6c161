"""Where log lines go, how they look, and what must never be in them.

    log = configure(style="text", file=None, level="INFO")    # in the supervisor, before it forks
    log.start()                                               # in each worker: from now on writing blocks nobody
    ...                                                       # logging.getLogger(__name__) as everywhere
    logging.shutdown()                                        # writes what is left

All processes write to the same stream or file, whole lines in one system call each, so lines never mix. In a
worker a thread of its own writes: a log reader that has stopped costs lines (counted and reported), never an answer.
A file that was moved away (logrotate) is opened anew within a second.

Every line passes `redact`. It is the last net, not the rule: the rule is not to log secrets at all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path

import msgspec

TEXT, JSON = "text", "json"
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The request that this task or thread works for: whatever is logged meanwhile carries it."""
PENDING_LIMIT = 4 * 1024 * 1024
"""Bytes waiting for a reader that has stopped; more is dropped."""
PIECE = 4096
"""Bytes: a write to a pipe up to this is never mixed with another process's (POSIX PIPE_BUF on Linux)."""

_SECRET_NAMES = (
    r"(?:[\w.-]*(?:password|passwd|secret|credential|api[_-]?key|access[_-]?key|private[_-]?key|auth[_-]?key)[\w.-]*"
    r"|(?:x-)?[\w-]*token|authorization|proxy-authorization|cookie|set-cookie"
    r"|x-amz-signature|x-amz-credential|signature|temp_url_sig|temp_url_key|sig)"
)
_REDACTIONS: tuple[tuple[re.Pattern[str], str], ...] = (
    # The same in locations of S3 and Swift, whose passwords may hold slashes
    (re.compile(r"(\b(?:s3|swift)(?:\+[a-z]+)?://[^\s/:@'\"]*):[^\s'\"]*@", re.I), r"\1:***@"),
    # scheme://user:password@host, with anything up to the last @ before a slash as the password
    (re.compile(r"([a-z][a-z0-9+.-]*://[^\s/:@'\"]*):[^\s/'\"]*@", re.I), r"\1:***@"),
    # Authorization: Basic … in a header dump, a dict or a tuple of bytes
    (re.compile(r"\b(basic|bearer|digest|negotiate)\s+[A-Za-z0-9+/=._~-]{6,}", re.I), r"\1 ***"),
    # 'password': 'x', password=x, X-Auth-Token: x, (b'x-auth-token', b'x'). A comma parts name and value only after
    # quotation marks, and the file of users (".../htpasswd, line 5", "htpasswd_file = ...") is no password.
    (
        re.compile(
            rf"(\b(?!htpasswd(?:_file)?\b){_SECRET_NAMES}(?:[\"']\s*[:=,]|\s*[:=])\s*)"
            r"(b?\"[^\"]*\"|b?'[^']*'|(?!\*\*\*)[^\s\"',;&)}\]]+)",
            re.I,
        ),
        r"\1***",
    ),
    # Keystone's Fernet tokens, wherever they are
    (re.compile(r"\bgAAAAA[A-Za-z0-9_=-]{20,}"), "***"),
)


_HINT = re.compile(r"://|token|passw|secret|cred|key|sig|auth|cookie|basic|bearer|gAAAA", re.I)


def may_hold_secret(text: str) -> bool:
    """A quick look, for lines that are written by the thousand: False only where `redact` would change nothing."""
    return _HINT.search(text) is not None


def redact(text: str) -> str:
    """`text` without passwords, tokens, signatures and credentials in URLs."""
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    return text


class Sink:
    """The end of every log line: a file or a stream, written in whole lines. Safe in any thread.

    `file`: a path, or None for the standard error stream.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._descriptor = 2 if file is None else -1
        self._inode = (0, 0)
        self._looked = 0.0
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._dropped = 0
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._thread: threading.Thread | None = None
        self._ending = False
        if file is not None:
            self._open(file)

    def start(self) -> None:
        """Write from a thread of its own from now on. Once per process, after it was forked."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> None:
        """Write whole lines, each with its line end. Never waits for the reader once `start` was called."""
        if self._thread is None or self._ending:
            self._put(lines)
            return
        with self._lock:
            if self._pending_bytes + len(lines) > PENDING_LIMIT:
                self._dropped += lines.count(b"\n")
                return
            self._pending.append(lines)
            self._pending_bytes += len(lines)
        self._work.set()

    def close(self, seconds: float = 2.0) -> None:
        """Write what is left, for at most `seconds`; later lines are written directly."""
        thread = self._thread
        if thread is None or self._ending:
            return
        self._ending = True
        self._work.set()
        thread.join(seconds)

    def _run(self) -> None:
        while not self._ending or self._pending:
            self._work.wait()
            self._work.clear()
            with self._lock:
                lines, dropped = b"".join(self._pending), self._dropped
                self._pending.clear()
                self._pending_bytes = self._dropped = 0
            if dropped:
                lines += b"%d log lines were dropped: the reader of the log is too slow\n" % dropped
            self._put(lines)

    def _put(self, lines: bytes) -> None:
        # Where a new file cannot be made, the one that was moved away still takes lines.
        with contextlib.suppress(OSError):
            self._reopen_if_moved()
        try:
            for piece in _pieces(lines):
                while piece:
                    piece = piece[os.write(self._descriptor, piece) :]
        except OSError:
            # A full disk or a closed stream: there is no place left to say so.
            self._dropped += lines.count(b"\n")

    def _reopen_if_moved(self) -> None:
        if self._file is None or time.monotonic() - self._looked < 1.0:
            return
        self._looked = time.monotonic()
        try:
            found = self._file.stat()
        except FileNotFoundError:
            self._open(self._file)
            return
        if (found.st_dev, found.st_ino) != self._inode:
            self._open(self._file)

    def _open(self, file: Path) -> None:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if self._descriptor > 2:
            os.close(self._descriptor)
        self._descriptor = descriptor
        found = os.fstat(descriptor)
        self._inode = (found.st_dev, found.st_ino)


def _pieces(lines: bytes) -> list[bytes]:
    """Whole lines in pieces of at most PIECE bytes; a longer line is a piece of its own."""
    if len(lines) <= PIECE:
        return [lines]
    pieces: list[bytes] = []
    begin = 0
    while begin < len(lines):
        end = lines.rfind(b"\n", begin, begin + PIECE) + 1
        if not end:
            end = lines.find(b"\n", begin) + 1 or len(lines)
        pieces.append(lines[begin:end])
        begin = end
    return pieces


class _Handler(logging.Handler):
    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._sink.write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._sink.close()
        super().close()


class TextFormatter(logging.Formatter):
    """`time pid LEVEL logger [request id] message`; a traceback follows, indented. No message can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = (
            f"{timestamp(record.created)} {record.process} {record.levelname} {record.name} "
            f"[{one_line(REQUEST_ID.get() or '-')}] {one_line(record.getMessage())}"
        )
        return redact("\n    ".join([line, *map(one_line, _traceback(record).splitlines())]))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, pid, level, logger, request_id, message, exception."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": timestamp(record.created),
            "pid": record.process,
            "level": record.levelname,
            "logger": record.name,
            "request_id": REQUEST_ID.get(),
            "message": redact(record.getMessage()),
        }
        trouble = _traceback(record)
        if trouble:
            document["exception"] = redact(trouble)
        return msgspec.json.encode(document).decode()


def _traceback(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")


def timestamp(moment: float) -> str:
    """Seconds since the epoch as UTC with milliseconds (RFC 3339)."""
    whole = int(moment)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((moment - whole) * 1000):03d}Z"


def one_line(text: str) -> str:
    """`text` with control characters escaped, so that it stays one line and moves no cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Log:
    """The configured logging of this process."""

    def __init__(self, sink: Sink, handler: logging.Handler) -> None:
        self.sink = sink
        self.style = TEXT
        self._handler = handler

    def look(self, style: str, level: str) -> None:
        """How lines look, and which are written, from now on. Raises ValueError for an unknown level or style."""
        if style not in (TEXT, JSON):
            raise ValueError(f"Unknown log style {style!r}.")
        self.style = style
        self._handler.setFormatter(TextFormatter() if style == TEXT else JsonFormatter())
        logging.getLogger().setLevel(level)

    def start(self) -> None:
        """In a worker, after the fork: write from a thread of its own."""
        self.sink.start()


def configure(
    style: str = TEXT, file: Path | None = None, level: str = "INFO", levels: Mapping[str, str] | None = None
) -> Log:
    """Send all logging of this process to `file` (None: standard error) as `text` or `json` lines.

    `levels` by logger name. Replaces what was configured before. Raises OSError when the file cannot be opened,
    ValueError for an unknown level or style.
    """
    sink = Sink(file)
    handler = _Handler(sink)
    log = Log(sink, handler)
    log.look(style, level)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    for name, its_level in {"uvicorn": "WARNING", "asyncio": "WARNING", **(levels or {})}.items():
        logging.getLogger(name).setLevel(its_level)
    logging.captureWarnings(True)
    # Libraries of OpenStack import eventlet where it is installed (os-brick brings it), and it complains of itself.
    warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
    sys.excepthook = _log_uncaught
    return log


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: object) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("fanlight").critical("uncaught exception", exc_info=error)
