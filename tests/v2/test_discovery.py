"""Import methods and stores, as clients read them below /v2/info."""

from __future__ import annotations

from typing import Any

import pytest

from fanlight.errors import NotFound
from fanlight.http.v2 import discovery
from fanlight.settings import ApiSettings, Settings, StoreSettings, StoresSettings


def settings(*stores: StoreSettings, multi_store: bool = True, methods: tuple[str, ...] = ()) -> Settings:
    return Settings(
        api=ApiSettings(enabled_import_methods=methods),
        stores=StoresSettings(stores=stores, default="local", multi_store=multi_store),
    )


TWO = settings(
    StoreSettings(
        id="local",
        type="file",
        options={"filesystem_store_datadir": "/d", "filesystem_thin_provisioning": True},
        weight=3,
    ),
    StoreSettings(id="web", type="http", description="elsewhere"),
    StoreSettings(id="os_glance_staging_store", type="file"),
)


def test_stores() -> None:
    assert discovery.stores_info(TWO) == {
        "stores": [
            {"id": "local", "default": "true"},
            {"id": "web", "description": "elsewhere", "read-only": "true"},
        ]
    }


def test_stores_in_detail() -> None:
    assert discovery.stores_detail(TWO) == {
        "stores": [
            {
                "id": "local",
                "default": "true",
                "type": "file",
                "weight": 3,
                "properties": {"data_dir": "/d", "chunk_size": 65536, "thin_provisioning": True},
            },
            {
                "id": "web",
                "description": "elsewhere",
                "read-only": "true",
                "type": "http",
                "weight": 0,
                "properties": {},
            },
        ]
    }


@pytest.mark.parametrize("function", [discovery.stores_info, discovery.stores_detail])
def test_a_single_store_has_no_id(function: Any) -> None:
    with pytest.raises(NotFound):
        function(settings(StoreSettings(id="local", type="file"), multi_store=False))


def test_store_ids() -> None:
    assert discovery.store_ids(TWO) == ("local", "web")
    assert discovery.store_ids(settings(StoreSettings(id="local", type="file"), multi_store=False)) == ()


def test_only_methods_that_exist_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that are enabled, in the order in which they are."""
    monkeypatch.setattr(discovery, "IMPORT_METHODS", ("glance-direct", "copy-image", "web-download"))
    enabled = settings(methods=("web-download", "teleport", "glance-direct"))
    info = discovery.import_info(enabled)["import-methods"]
    assert info["type"] == "array"
    assert info["description"]
    assert info["value"] == ["web-download", "glance-direct"]
    assert discovery.import_info(settings())["import-methods"]["value"] == []
