"""Which driver an address gets: that which is named if it is there, else the one that we ship."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from fanlight.catalog import engine as catalog_engine
from fanlight.errors import SettingsError

from .conftest import settings_of


def driver(address: str) -> str:
    made = catalog_engine.make_engine(settings_of(f"{address}://somebody:secret@127.0.0.1:1/images"))
    return made.dialect.driver


@pytest.mark.parametrize("address", ["mysql", "mysql+mysqldb", "mysql+pymysql", "mysql+mysqlconnector"])
def test_without_mysqlclient_it_is_pymysql(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_engine, "find_spec", {}.get)
    assert driver(address) == "pymysql"


@pytest.mark.parametrize(("address", "wanted"), [("mysql", "mysqldb"), ("mysql+mysqldb", "mysqldb"),
                                                ("mysql+pymysql", "pymysql")])  # fmt: skip
def test_with_mysqlclient_it_is_what_the_address_says(
    address: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only its choice is looked at here; that it works is shown by the rest of this folder, on the test bed.
    module = ModuleType("MySQLdb")
    module.version_info = (2, 3, 2, "final", 0)  # type: ignore[attr-defined]
    module.paramstyle = "format"  # type: ignore[attr-defined]
    module.Error = Exception  # type: ignore[attr-defined]
    monkeypatch.setattr(catalog_engine, "find_spec", lambda name: module)
    monkeypatch.setitem(sys.modules, "MySQLdb", module)
    assert driver(address) == wanted


@pytest.mark.parametrize("address", ["postgresql", "postgresql+psycopg2", "postgres"])
def test_postgresql_is_psycopg(address: str) -> None:
    assert driver(address) == "psycopg"


def test_another_database_is_refused_without_its_password() -> None:
    with pytest.raises(SettingsError) as refused:
        driver("oracle")
    assert "secret" not in str(refused.value)
