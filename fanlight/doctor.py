"""`fanlight doctor`: looks at everything that the service depends on, and says what is wrong and what to do.

Beside the command line; uses the same parts as the service, but changes nothing: no table is made, no image written.
"""

from __future__ import annotations

import http.client
import logging
import os
import shutil
import socket
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from fanlight import application
from fanlight.errors import Busy, FanlightError
from fanlight.logs import one_line, redact
from fanlight.settings import Settings, StoreSettings

SMALLEST_FREE = 1024**3
"""Bytes: a store or database with less room than this is called full."""
LARGEST_SKEW = 30.0
"""Seconds between our clock and Keystone's, beyond which tokens may be taken for expired."""
PATIENCE = 5.0
"""Seconds that one look over the network may take."""


class Level(Enum):
    """How a finding stands; the value is what its line begins with."""

    OK = "ok"
    WARN = "WARN"
    """The service works, but not all that was written has an effect."""
    BAD = "BAD"


class Finding(NamedTuple):
    """What was looked at, how it stands, and in words what was found or is to be done."""

    name: str
    level: Level
    text: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, one finding after the other; a failing look is a finding too."""
    warned = _Warned()
    ours = logging.getLogger("fanlight")
    ours.addHandler(warned)
    try:
        for finding in _examine(settings):
            yield from warned.news()
            yield finding
    finally:
        ours.removeHandler(warned)


class _Warned(logging.Handler):
    """What our own parts warn of when they are made: at the start of the service it would be in the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep warnings only: what is worse makes a look fail, which says more."""
        text = one_line(redact(record.getMessage()))
        if record.levelno == logging.WARNING and text not in self._told:
            self._told.add(text)
            self._texts.append(text)

    def news(self) -> Iterator[Finding]:
        """What has come since the last time."""
        while self._texts:
            yield Finding("start", Level.WARN, self._texts.pop(0))


def _examine(settings: Settings) -> Iterator[Finding]:
    yield from _options(settings)
    for rule in application.idle_rules(settings):
        yield Finding("policy", Level.WARN, f"nothing asks for the rule {rule}: misspelt, or of what is not built yet")
    looks: list[tuple[str, Callable[[], str]]] = [
        ("database", lambda: application.check_database(settings)),
        ("policy", lambda: application.check_policy(settings)),
        ("identity", lambda: application.check_identity(settings)),
        *((f"store {store.id}", _look_at_store(settings, store)) for store in settings.stores.stores),
    ]
    if settings.database.connection.startswith("sqlite"):
        looks.append(("database file", lambda: _look_at_database_file(settings)))
    if settings.api.schema_image_file:
        looks.append(("custom properties", lambda: application.check_schemas(settings)))
    if settings.logging.log_file:
        looks.append(("log file", lambda: _appendable(Path(str(settings.logging.log_file)))))
    if settings.identity.mode == "keystone":
        looks.append(("keystone", lambda: _keystone(settings)))
        looks += [(f"memcached {address}", _look_at_memcached(address)) for address in _memcached(settings)]
    for name, look in looks:
        yield _finding(name, look)


class Trouble(Exception):
    """A look that found something wrong; its text says what to do."""


def _finding(name: str, look: Callable[[], str]) -> Finding:
    try:
        level, text = Level.OK, look()
    except (Trouble, FanlightError) as error:
        level, text = Level.BAD, str(error)
    except OSError as error:
        level, text = Level.BAD, f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
    except Exception as error:
        # Of a library, most likely, and not foreseen here. What comes after must be looked at all the same.
        level, text = Level.BAD, f"it cannot be looked at ({type(error).__name__}: {error})"
    # What a server or a driver says of its trouble may repeat what it was given.
    return Finding(name, level, one_line(redact(text)))


def _options(settings: Settings) -> Iterator[Finding]:
    for warning in settings.warnings:
        yield Finding("options", Level.WARN, warning)
    if not settings.warnings:
        yield Finding("options", Level.OK, f"{len(settings.files)} configuration files, every option is honoured")


# -- stores


def _look_at_store(settings: Settings, store: StoreSettings) -> Callable[[], str]:
    def look() -> str:
        if store.type != "file":
            return application.check_store(settings, store)
        application.check_file_store(store)
        options = store.options
        folders = [item.rpartition(":")[0] or item for item in options.get("filesystem_store_datadirs") or []]
        return "; ".join(_writable(Path(name)) for name in folders or [options["filesystem_store_datadir"]])

    return look


def _writable(folder: Path) -> str:
    if not folder.exists():
        parent = next(one for one in folder.absolute().parents if one.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            raise Trouble(f"{folder} does not exist and cannot be made: give us the right to write in {parent}.")
        return f"{folder} will be made; {_room(parent)}"
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            pass
    except OSError as error:
        raise Trouble(
            f"{folder} cannot be written ({error.strerror}): make it ours, or mount it for writing."
        ) from error
    return f"{folder} can be written; {_room(folder)}"


def _room(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    if free < SMALLEST_FREE:
        raise Trouble(f"{folder} has {free // 1024**2} MiB left: make room, or uploads will be refused with 413.")
    return f"{free // 1024**3} GiB free"


def _look_at_database_file(settings: Settings) -> str:
    """SQLite writes beside its file, too."""
    path = Path(settings.database.connection.partition("///")[2]).absolute()
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise Trouble(f"{path} cannot be written: make it ours, or mount it for writing.")
    return _writable(path.parent)


def _appendable(path: Path) -> str:
    if path.exists():
        if not path.is_file() or not os.access(path, os.W_OK):
            raise Trouble(f"{path} cannot be written: make it a file of ours, or choose another log_file.")
        return f"{path} can be written; {_room(path.parent)}"
    if not path.parent.is_dir():
        raise Trouble(f"The folder {path.parent} does not exist: make it, or choose another log_file.")
    return _writable(path.parent)


# -- Keystone and memcached


def _keystone(settings: Settings) -> str:
    url = str(settings.keystone.get("auth_url") or settings.keystone.get("www_authenticate_uri") or "")
    if not url.lower().startswith(("http://", "https://")):
        raise Trouble("[keystone_authtoken]auth_url is not set: tokens cannot be validated.")
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE, context=_tls(settings)) as answer:
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise Trouble(f"Keystone at {url} answers {error.code}: look at its log.") from error
        date = error.headers.get("Date")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Trouble(f"Keystone at {url} cannot be reached ({error}): is it running, is auth_url right?") from error
    skew = abs(time.time() - _seconds(date)) if date else 0.0
    if skew > LARGEST_SKEW:
        raise Trouble(
            f"Our clock and Keystone's differ by {skew:.0f} s: tokens may seem expired. Synchronise the clocks."
        )
    try:
        application.check_keystone_user(settings)
    except Busy as error:
        raise Trouble(
            f"Keystone at {url} does not let our own user in, so no token can be validated: look at username, "
            "password, project_name and the domains in [keystone_authtoken]."
        ) from error
    return f"{url} answers and knows us; the clocks differ by {skew:.0f} s"


def _tls(settings: Settings) -> ssl.SSLContext:
    """Whom the middleware would believe to be Keystone. Raises OSError for files that cannot be used."""
    options = application.keystone_options(settings)
    context = ssl.create_default_context(cafile=options.cafile)
    if options.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if options.certfile:
        context.load_cert_chain(options.certfile, options.keyfile)
    return context


def _seconds(date: str) -> float:
    found: datetime = parsedate_to_datetime(date)
    return found.timestamp()


def _memcached(settings: Settings) -> list[str]:
    servers = settings.keystone.get("memcached_servers") or settings.keystone.get("memcache_servers") or ""
    return [address.strip() for address in str(servers).split(",") if address.strip()]


def _look_at_memcached(address: str) -> Callable[[], str]:
    def look() -> str:
        family, place = application.memcached_address(address)
        try:
            with socket.socket(family) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(place)
                connection.sendall(b"version\r\n")
                answer = connection.recv(100)
        except OSError as error:
            raise Trouble(f"{address} cannot be reached ({error}): every request will ask Keystone instead.") from error
        if not answer.startswith(b"VERSION"):
            raise Trouble(f"What listens at {address} is not memcached.")
        return answer.decode("ascii", "replace").strip()

    return look
