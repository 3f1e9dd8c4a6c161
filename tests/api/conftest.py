"""Fixtures for locations that clients set.

web      the URL of a web server (tests/bed/web.py)
places   a service that many tests share
opened   opened(**options) starts a service of the test's own
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api import shop
from tests.api.placing import OpenPlaces, Places, config_of
from tests.bed.servers import Server
from tests.bed.web import serving
from tests.conftest import StartServer


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def opened(server: StartServer, web: str, tmp_path: Path) -> OpenPlaces:
    """opened(**options of [DEFAULT]) starts a service of the test's own."""

    def start(
        more: dict[str, dict[str, object]] | None = None, database: str | None = None, **options: object
    ) -> Places:
        objects, path = shop.install(tmp_path)
        config = config_of(web, objects, tmp_path / "images", **options) | (more or {})
        return Places(server(config=config, database=database, environment={"PYTHONPATH": path}), objects)

    return start


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, web: str) -> Iterator[Places]:
    """One that many tests share."""
    folder = tmp_path_factory.mktemp("places")
    objects, path = shop.install(folder)
    config = config_of(web, objects, folder / "images", image_location_quota=4)
    service = Server(folder / "service", config=config, environment={"PYTHONPATH": path}).start()
    yield Places(service, objects)
    service.end()
    assert service.unexpected_tracebacks() == []
