"""Why a database server does not let us in, in words for the operator. They hold nothing of what the server was told.

MariaDB and MySQL number their refusals. PostgreSQL has codes, but of a connection that does not come about its library
keeps only the text; a server that speaks another language than English is just one that cannot be reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import URL

from fanlight.errors import SettingsError

_DENIED = "The database refuses the user or the password of [database]connection."
_NO_RIGHT = "The database does not let the user into the database of that name: look at [database]connection."
_NO_DATABASE = "The database server has no database of that name: make it, or look at [database]connection."
_NOT_FROM_HERE = "The database server lets nobody in from this machine, or not this user: look at what it allows."
_UNREACHED = "The database server cannot be reached: "

_NUMBERS = {1045: _DENIED, 1698: _DENIED, 1044: _NO_RIGHT, 1049: _NO_DATABASE, 1130: _NOT_FROM_HERE}
"""What MariaDB and MySQL number -> what it means."""
_STATES = {"28P01": _DENIED, "28000": _DENIED, "3D000": _NO_DATABASE}
"""The same of PostgreSQL."""
_NO_CONNECTION = frozenset({2002, 2003, 2005})
"""MySQL's clients have no connection, and say why in text."""
_TEXTS = (
    (r"password authentication failed|no password supplied|role \".*\" does not exist", _DENIED),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", _NOT_FROM_HERE),
    (r"permission denied for database", _NO_RIGHT),
    (r"database \".*\" does not exist", _NO_DATABASE),
    (r"resolve host|not known|name resolution|Unknown .*host|No address associated", _UNREACHED + "name not known."),
    (r"Connection refused|\(111\)", _UNREACHED + "connection refused."),
    (r"timed out|timeout expired|\(110\)", _UNREACHED + "no answer in time."),
    (r"No route to host|Network is unreachable", _UNREACHED + "there is no way to its address."),
    (r"No such file or directory|\(2\)", _UNREACHED + "its socket is not there."),
)
"""What the text of a failure to connect has -> what it means."""


def refusal(error: BaseException | None) -> str | None:
    """Why a connection did not come about; None for whatever else the driver's `error` may be."""
    first = error.args[0] if error is not None and error.args else None
    if isinstance(first, int):
        return _NUMBERS.get(first) or (_in_text(error) if first in _NO_CONNECTION else None)
    state = getattr(error, "sqlstate", None)
    # Without a code it is the library's own word; with one the text may hold values that somebody sent.
    return _STATES.get(state) if state else _in_text(error)


def _in_text(error: BaseException | None) -> str | None:
    return next((told for pattern, told in _TEXTS if re.search(pattern, str(error))), None)


def require_database(url: URL) -> None:
    """Raise SettingsError for a URL of MariaDB or MySQL in which no database is named; PostgreSQL knows a default."""
    if not url.database and not {"database", "db", "read_default_file"} & set(url.query):
        raise SettingsError("[database]connection names no database: its URL ends in /NAME.")


def connect_in_words(engine: Engine) -> None:
    """Let what a driver cannot do anything with become a SettingsError when `engine` connects.

    Drivers check what stands behind the ? only then, and each raises something else.
    """

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _record: object, arguments: Any, options: Any) -> Any:
        with _understood(dialect.loaded_dbapi.ProgrammingError):
            return dialect.connect(*arguments, **options)


@contextmanager
def _understood(wrong: type[Exception]) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # not the network's: drivers make theirs of those
        raise SettingsError(
            f"A file that the URL of [database]connection names cannot be used: {error.strerror or 'no'}."
        ) from None
    except (TypeError, ValueError, AttributeError, LookupError, wrong) as error:
        raise SettingsError(not_understood(error)) from None


def not_understood(error: Exception) -> str:
    """For a URL with parts that cannot be used; unnamed, as one may be the rest of a password with a ? in it."""
    return (
        "[database]connection: the URL has a port, or a parameter behind the ?, that cannot be used "
        f"({type(error).__name__})."
    )
