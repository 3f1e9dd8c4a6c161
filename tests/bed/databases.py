"""Databases of one's own: a SQLite file, or one on the MariaDB or PostgreSQL of the test bed."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import sqlalchemy

SERVERS = {
    "mariadb": "FANLIGHT_TEST_MARIADB",
    "mysqlclient": "FANLIGHT_TEST_MARIADB",
    "postgresql": "FANLIGHT_TEST_POSTGRESQL",
}
"""Engine -> the variable with its server's URL, ending in `/`. `mysqlclient` is MariaDB through the other driver."""


def engines() -> list[str]:
    """The engines that tests run on: what FANLIGHT_TEST_ENGINES says, else SQLite."""
    return os.environ.get("FANLIGHT_TEST_ENGINES", "sqlite").split(",")


def needed(variable: str) -> str:
    """A variable of the test bed. Raises AssertionError where it is not set: such a test is not to be left out."""
    value = os.environ.get(variable)
    assert value, f"{variable} is not set; this test needs the test bed: scripts/bed run pytest …"
    return value


class Database:
    """An empty database. `url` is for SQLAlchemy and for `[database] connection`."""

    def __init__(self, engine: str, folder: Path) -> None:
        self.engine = engine
        self._name = f"t{uuid.uuid4().hex}"
        if engine == "sqlite":
            folder.mkdir(parents=True, exist_ok=True)
            self.url = f"sqlite:///{folder}/{self._name}.db"
            return
        server = needed(SERVERS[engine])
        mysql = engine != "postgresql"
        self._ask(f"CREATE DATABASE {self._name}" + (" CHARACTER SET utf8mb3" if mysql else ""))
        self.url = f"{server}{self._name}" + ("?charset=utf8" if mysql else "")
        if engine == "mysqlclient":
            self.url = self.url.replace("mysql+pymysql:", "mysql+mysqldb:", 1)

    def drop(self) -> None:
        """Remove it, whoever is still connected. A file stays: its folder is a test's own."""
        if self.engine != "sqlite":
            self._ask(f"DROP DATABASE {self._name}" + (" WITH (FORCE)" if self.engine == "postgresql" else ""))

    def _ask(self, statement: str) -> None:
        url = needed(SERVERS[self.engine]) + ("postgres" if self.engine == "postgresql" else "")
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
