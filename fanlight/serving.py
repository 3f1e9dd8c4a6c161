"""`fanlight serve`: settings to a running supervisor. Between the command line and http/server.py."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanlight import logs
from fanlight.application import check_file_store, limits, make_application, make_schemas, prepare_folders
from fanlight.catalog import open_catalog
from fanlight.errors import SettingsError
from fanlight.http.identity import open_identity
from fanlight.http.server import Plan, bind, serve
from fanlight.operations.policy import open_policy
from fanlight.settings import Settings

LOG = logging.getLogger(__name__)


def run(read_settings: Callable[[], Settings], on_ready: Callable[[Settings, int], None]) -> int:
    """Serve until told to end; returns the exit code. Raises SettingsError and CatalogError before anything is served.

    `read_settings` is called now and at each reload. The database is migrated here, once, before workers start.
    """
    settings = read_settings()
    log = _configure_log(settings)
    check(settings)
    listeners = bind(settings.server.bind_host, settings.server.bind_port)
    port = int(listeners[0].getsockname()[1])

    def reload() -> Plan:
        fresh = read_settings()
        check(fresh)
        if (fresh.server.bind_host, fresh.server.bind_port) != (settings.server.bind_host, settings.server.bind_port):
            LOG.warning("the address stays as it is: bind_host and bind_port are read at the start only")
        log.look(*_look(fresh))
        return _plan(fresh, log)

    return serve(listeners, _plan(settings, log), reload=reload, on_ready=lambda: on_ready(settings, port))


def check(settings: Settings) -> None:
    """Whatever can be found wrong before the first request is found here; warnings are said aloud."""
    for warning in settings.warnings:
        LOG.warning("%s", warning)
    announcement = open_identity(settings, open_policy(settings.policy)).announcement
    if announcement:
        LOG.warning("%s", announcement)
    make_schemas(settings)
    for store in settings.stores.stores:
        if store.type == "file" and store.id == settings.stores.default:
            check_file_store(store)
    prepare_folders(settings)
    # A pool of connections must not be shared with children: it is closed before the first one starts.
    open_catalog(settings.database, migrate=settings.server.migrate).close()


def _plan(settings: Settings, log: logs.Log) -> Plan:
    def make_app() -> Any:
        return make_application(settings, log)

    return Plan(
        make_app=make_app,
        workers=max(1, settings.server.workers),
        limits=limits(settings),
        graceful_seconds=settings.server.graceful_seconds,
    )


def _look(settings: Settings) -> tuple[str, str]:
    """Style and level of the log."""
    return logs.JSON if settings.logging.use_json else logs.TEXT, "DEBUG" if settings.logging.debug else "INFO"


def _configure_log(settings: Settings) -> logs.Log:
    file = settings.logging.log_file
    style, level = _look(settings)
    try:
        return logs.configure(style, Path(file) if file else None, level, levels={"alembic": "WARNING"})
    except OSError as error:
        raise SettingsError(f"The log file {file} cannot be opened: {error.strerror or error}") from error
