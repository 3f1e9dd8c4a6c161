"""Every error has one code, one place in the tree that errors.py draws, and one answer."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

import fanlight
from fanlight import errors
from fanlight.errors import FanlightError, StoreError
from fanlight.http import faults
from fanlight.http.faults import STORE_TABLES, TABLE
from fanlight.http.routes import ROUTES

pytestmark = pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning")
"""WebOb, which the modules of identity and Keystone bring in."""
DECLARED = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, FanlightError)]
OF_THE_EDGE = [kind for _, kind in inspect.getmembers(faults, inspect.isclass) if issubclass(kind, FanlightError)]
NOT_OURS = ("fanlight.__main__", "fanlight.catalog.migrations")
"""Modules that do something when they are imported."""


@pytest.fixture(scope="module")
def everywhere() -> list[type[FanlightError]]:
    """Every error class of the package, wherever it is defined."""
    for module in pkgutil.walk_packages(fanlight.__path__, "fanlight."):
        if not module.name.startswith(NOT_OURS):
            import_module(module.name)
    return [kind for kind in below(FanlightError) if kind.__module__.startswith("fanlight.")]


def below(kind: type[Any]) -> Iterator[type[Any]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


@pytest.mark.parametrize("kind", [*DECLARED, *OF_THE_EDGE], ids=lambda kind: kind.__name__)
def test_every_class_has_its_line_in_the_table(kind: type[FanlightError]) -> None:
    assert kind in TABLE
    assert 400 <= TABLE[kind].status < 600


def test_every_store_error_has_its_line(everywhere: list[type[FanlightError]]) -> None:
    missing = [kind for kind in everywhere if issubclass(kind, StoreError) and kind not in TABLE]
    # A driver's own class is answered as the one it comes from: it must come from more than the root.
    assert [kind for kind in missing if StoreError in kind.__bases__ or kind.__module__ == errors.__name__] == []


def test_an_error_of_another_module_comes_from_one_with_a_line(everywhere: list[type[FanlightError]]) -> None:
    lost = [kind for kind in everywhere if kind not in TABLE and FanlightError in kind.__bases__]
    assert lost == []


def test_the_tables_name_only_errors_that_exist() -> None:
    operations = {route.doing for route in ROUTES if route.doing}
    assert operations <= set(STORE_TABLES)
    for table in STORE_TABLES.values():
        assert set(table) <= set(TABLE)
        for kind, fault in table.items():
            assert fault != TABLE[kind] or kind is errors.ObjectNotFound, f"{kind.__name__} says nothing new"


def test_every_503_says_when_to_come_back() -> None:
    for table in (TABLE, *STORE_TABLES.values()):
        for kind, fault in table.items():
            if fault.status == 503:
                assert fault.retry_after or issubclass(kind, errors.Busy), kind.__name__


def test_codes_are_unique_and_spelled_alike() -> None:
    codes = [kind.__dict__.get("code") for kind in [*DECLARED, *OF_THE_EDGE]]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", str(code)) for code in codes)


def test_the_drawing_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    above: list[str] = ["FanlightError"]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"((?:│   |    )*)[├└]── ([A-Z]\w+(?:, [A-Z]\w+)*)", line)
        if found:
            depth = len(found[1]) // 4
            names = found[2].split(", ")
            above[depth + 1 :] = [names[0]]
            drawn |= dict.fromkeys(names, above[depth])
    classes = {kind.__name__: kind.__bases__[0].__name__ for kind in DECLARED if kind is not FanlightError}
    # The drawing keeps the stores' errors in one level.
    flat = {name: "StoreError" if base == "StoreReadUnsupported" else base for name, base in classes.items()}
    assert drawn == flat
