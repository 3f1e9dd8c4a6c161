"""Services whose clients may set locations: over a real web server, and a store of the tests' own (shop.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.bed.servers import Server


class Places:
    """A service with a web store and a shop, and the folder of the shop's objects."""

    def __init__(self, service: Server, objects: Path) -> None:
        self.service, self.objects = service, objects
        self.member, self.admin = service.as_member("p"), service.as_admin("a")

    def put(self, name: str, data: bytes = b"shop!") -> str:
        """The URL of a new object."""
        (self.objects / name).write_bytes(data)
        return f"shop://{name}"

    def tell(self, name: str, what: str) -> Path:
        """Let the shop refuse (`used`), be `away` or `slow` about an object; until the file that this gives is gone."""
        file = (self.objects / name).with_suffix(f".{what}")
        file.touch()
        return file

    def placed(self, *urls: str) -> str:
        """The id of an active image that lies at these URLs."""
        image_id: str = self.member.create()["id"]
        answer = self.member.change(image_id, *[add(url) for url in urls])
        assert answer.status_code == 200, answer.text
        return image_id

    def urls(self, image_id: str) -> list[str]:
        return [location["url"] for location in self.admin.show(image_id)["locations"]]

    def owed(self) -> list[str]:
        return [row["url"] for row in self.service.rows("SELECT url FROM fanlight_leases")]


OpenPlaces = Callable[..., Places]


def config_of(web: str, objects: Path, images: Path, **options: object) -> dict[str, dict[str, object]]:
    port = web.rpartition(":")[2]
    return {
        "DEFAULT": {
            "enabled_backends": "local:file, web:http, shop:shop",
            "show_multiple_locations": True,
            "show_image_direct_url": True,
            **options,
        },
        "glance_store": {"default_backend": "local"},
        "local": {"filesystem_store_datadir": images},
        "web": {"http_allowed_hosts": "127.0.0.1"},
        "shop": {"shop_folder": objects},
        "import_filtering_opts": {"allowed_hosts": "[127.0.0.1]", "allowed_ports": f"[80,{port}]"},
        "fanlight": {"lease_seconds": 3},
    }


def add(url: str, place: str = "-", metadata: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"op": "add", "path": f"/locations/{place}", "value": {"url": url, "metadata": metadata or {}, **more}}


def replace(*locations: dict[str, Any]) -> dict[str, Any]:
    return {"op": "replace", "path": "/locations", "value": [*locations]}


def remove(place: object) -> dict[str, Any]:
    return {"op": "remove", "path": f"/locations/{place}"}


def done(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document
