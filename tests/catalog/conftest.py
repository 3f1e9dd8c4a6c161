"""Catalogues on each engine in turn, and small records to put into them.

catalog    an empty, migrated catalogue: its database is shared by the tests of one process, its rows are not
unmade     opens catalogues over the empty `database` of the test and closes them again
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanlight.catalog import Catalog, make_engine, open_catalog
from fanlight.catalog.rows import now
from fanlight.catalog.tables import METADATA, OURS, alembic_version
from fanlight.model import Image, Lease
from fanlight.settings import DatabaseSettings
from tests.bed.databases import Database, engines

OpenCatalog = Callable[..., Catalog]


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(name, marks=[pytest.mark.services] if name != "sqlite" else [])
        for name in engines() + ["mysqlclient"] * ("mariadb" in engines())
    ],
)
def engine(request: pytest.FixtureRequest) -> str:
    """MariaDB also through mysqlclient: whatever the drivers differ in shows in the catalogue."""
    name: str = request.param
    return name


def settings_of(url: str, **options: Any) -> DatabaseSettings:
    return DatabaseSettings(connection=url, **options)


@pytest.fixture(scope="session")
def migrated(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """One database for each engine, as a first start makes it."""
    database = Database(engine, tmp_path_factory.mktemp(f"catalog-{engine}"))
    catalog = open_catalog(settings_of(database.url), migrate=True)
    yield catalog
    catalog.close()
    database.drop()


@pytest.fixture
def catalog(migrated: Catalog) -> Iterator[Catalog]:
    yield migrated
    empty(migrated)


def empty(catalog: Catalog) -> None:
    """Remove all rows, children first."""
    with catalog.write() as connection:
        for table in (*reversed(METADATA.sorted_tables), *OURS.sorted_tables):
            if table is not alembic_version:
                connection.execute(table.delete())


@pytest.fixture
def unmade(database: Database) -> Iterator[OpenCatalog]:
    opened: list[Catalog] = []

    def open_one(**options: Any) -> Catalog:
        opened.append(Catalog(make_engine(settings_of(database.url, **options))))
        return opened[-1]

    yield open_one
    for catalog in opened:
        catalog.close()


def new_image(**fields: Any) -> Image:
    """An image of project `p`, queued, made now."""
    moment = now()
    given = {"id": str(uuid.uuid4()), "owner": "p", "status": "queued", "created_at": moment, "updated_at": moment}
    return Image(**{**given, **fields})


def new_lease(image_id: str, **fields: Any) -> Lease:
    given: dict[str, Any] = {
        "token": uuid.uuid4().hex,
        "kind": "upload",
        "image_id": image_id,
        "store": "local",
        "url": f"file:///images/{image_id}",
        "holder": "one",
        "expires_at": now(),
    }
    return Lease(**{**given, **fields})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the test's own, also where a database is in `tmp_path`."""
    made = tmp_path / "folder"
    made.mkdir()
    return made
