"""PATCH of `locations`, asked of Fanlight and of the real Glance side by side, over the same web server.

What differs on purpose (docs/differences.md) is in the table with both answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.bed.servers import Server
from tests.bed.web import serving
from tests.catalog.glance import Glance

from .conftest import Client
from .tables import DRAFT_10

pytestmark = pytest.mark.timeout(300)
HASHES = {"checksum": "a" * 32, "os_hash_algo": "sha512", "os_hash_value": "b" * 128}
SHOWN = ("status", "size", "virtual_size", "locations", "direct_url", "stores", *HASHES)


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with serving() as url:
        yield url


def filtering(web: str) -> dict[str, object]:
    return {"allowed_hosts": "[127.0.0.1]", "allowed_ports": f"[80,{web.rpartition(':')[2]}]"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, web: str) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("ours")
    options = {"show_multiple_locations": True, "show_image_direct_url": True, "image_location_quota": 4}
    config: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": "local:file, web:http", **options},
        "glance_store": {"default_backend": "local"},
        "local": {"filesystem_store_datadir": folder / "images"},
        "web": {"http_allowed_hosts": "127.0.0.1"},
        "import_filtering_opts": filtering(web),
    }
    server = Server(folder, flavor="trusted", config=config).start()
    client = Client(server.port)
    yield client
    client.close()
    server.end()


@pytest.fixture(scope="module")
def theirs(glance: Path, tmp_path_factory: pytest.TempPathFactory, web: str) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("glance")
    one = Glance(glance, folder / "home", f"sqlite:///{folder}/glance.db", folder / "images")
    text = one.config.read_text().replace("local:file\n", "local:file, web:http\nimage_location_quota = 4\n")
    text = text.replace("[DEFAULT]\n", "[DEFAULT]\nshow_multiple_locations = true\nshow_image_direct_url = true\n", 1)
    lists = "".join(f"{name} = {value}\n" for name, value in filtering(web).items())
    one.config.write_text(f"{text}[web]\n[import_filtering_opts]\n{lists}")
    one.manage("db", "sync")
    with one.serving() as url:
        client = Client(int(str(urlsplit(url).port)))
        yield client
        client.close()


class Row(NamedTuple):
    """One PATCH. `on`: of a new image (`queued`, `bare`: without formats), of one with two locations (`two`), or of one
    with uploaded data (`data`). `glance`: the status with which Glance answers where it differs.
    """

    status: int
    on: str
    operations: list[dict[str, Any]]
    who: str = "alice"
    glance: int | None = None


def add(url: str, place: str = "-", metadata: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"op": "add", "path": f"/locations/{place}", "value": {"url": url, "metadata": metadata or {}, **more}}


def replace(*urls: str, **metadata: str) -> dict[str, Any]:
    return {"op": "replace", "path": "/locations", "value": [{"url": url, "metadata": metadata} for url in urls]}


def remove(place: object) -> dict[str, Any]:
    return {"op": "remove", "path": f"/locations/{place}"}


RENAME = {"op": "replace", "path": "/name", "value": "n"}
ROWS = (
    Row(200, "queued", [add("WEB/5")]),
    Row(200, "queued", [add("WEB/5", metadata={"a": "b", "store": "nowhere"})]),
    Row(200, "queued", [add("WEB/5"), RENAME]),
    Row(200, "queued", [add("WEB/5#new")]),
    Row(200, "queued", [replace("WEB/5")]),
    Row(200, "queued", [add("WEB/5"), add("WEB/5/x"), remove(0)], "admin"),
    Row(400, "queued", [add("WEB/5"), add("WEB/5")]),
    Row(409, "queued", [add("WEB/5"), {**RENAME, "path": "/nothing"}]),
    Row(200, "queued", [replace("WEB/5", "WEB/5/x")]),
    Row(400, "bare", [add("WEB/5")]),
    Row(409, "queued", [remove(0)], "admin"),
    Row(403, "queued", [replace()]),
    Row(200, "two", [add("WEB/5/c", "99")]),
    Row(200, "two", [add("WEB/5", metadata={"other": "metadata"})]),
    Row(400, "two", [add("WEB/5")]),
    Row(413, "two", [add("WEB/5/c"), add("WEB/5/d"), add("WEB/5/e")]),
    Row(400, "two", [add("WEB/6")], glance=200),
    Row(200, "two", [replace("WEB/5/b", "WEB/5", x="y")]),
    Row(400, "two", [replace("WEB/5")]),
    Row(400, "two", [replace("WEB/5", "WEB/5/b", "WEB/5")]),
    Row(400, "two", [replace("WEB/5", "WEB/5/c")]),
    Row(403, "two", [replace()]),
    Row(403, "two", [remove(0)]),
    Row(200, "two", [remove(0)], "admin"),
    Row(200, "two", [remove("-")], "admin"),
    Row(403, "two", [remove(0), remove(0)], "admin"),
    *(Row(400, "two", [remove(place)], "admin") for place in ("2", "abc", "-1")),
    Row(404, "two", [add("WEB/5/c")], "bob"),
    Row(403, "data", [remove(0)], "admin"),
    Row(200, "data", [add("WEB/4")]),
    *(Row(400, "queued", [add("WEB/5", place)]) for place in ("abc", "-1", "0.5")),
    *(Row(400, "queued", [add(f"WEB/{path}")]) for path in ("0", "none", "5?" + "a" * 300)),
    *(
        Row(400, "queued", [add(url)])
        for url in (
            *(
                "file:///etc/passwd",
                "FILE:///etc/passwd",
                "filesystem:///etc/passwd",
                "swift+config://ref/c/o",
                "x",
                "",
            ),
            *("nothing://x", "http://127.0.0.1:1/x", "http://169.254.169.254/x", "http://no.such.host.invalid/x"),
            *("rbd://a/b/c/d", "file:/etc/passwd", "HTTP://127.0.0.1/5"),
        )
    ),
    Row(400, "queued", [{"op": "add", "path": "/locations/-", "value": {"url": "WEB/5"}}]),
    Row(200, "queued", [add("WEB/5", validation_data=HASHES)]),
    Row(200, "queued", [add("WEB/5", validation_data={**HASHES}), add("WEB/5/b", validation_data=HASHES)]),
    Row(
        409,
        "queued",
        [add("WEB/5", validation_data=HASHES), add("WEB/5/b", validation_data={**HASHES, "checksum": "c" * 32})],
    ),
    Row(409, "two", [add("WEB/5/c", validation_data=HASHES)]),
    Row(409, "data", [add("WEB/4", validation_data=HASHES)]),
    *(
        Row(409, "queued", [add("WEB/5", validation_data=HASHES | wrong)])
        for wrong in (
            {"os_hash_algo": "md5", "os_hash_value": "b" * 32},
            {"os_hash_algo": "nope"},
            {"os_hash_value": "b" * 64},
            {"os_hash_value": "z" * 128},
            {"checksum": "z" * 32},
        )
    ),
    Row(400, "queued", [add("WEB/5", validation_data={"checksum": "a" * 32})]),
    Row(400, "queued", [add("WEB/5", validation_data={**HASHES, "x": "y"})]),
)


def patched(client: Client, web: str, image_id: str, operations: list[Any], who: str) -> Any:
    body = json.dumps(operations).replace("WEB", web)
    return client.ask("PATCH", f"/v2/images/{image_id}", body, {"content-type": DRAFT_10}, who)


def told(client: Client, web: str, row: Row) -> tuple[int, dict[str, Any]]:
    """The status, and what the image is afterwards, for whoever comes next."""
    formats = {} if row.on == "bare" else {"disk_format": "raw", "container_format": "bare"}
    image_id = client.create(**formats)
    if row.on == "two":
        assert patched(client, web, image_id, [add("WEB/5"), add("WEB/5/b")], "alice").status == 200
    if row.on == "data":
        content_type = {"content-type": "application/octet-stream"}
        assert client.ask("PUT", f"/v2/images/{image_id}/file", b"1234", content_type).status == 204
    status = patched(client, web, image_id, row.operations, row.who).status
    image = client.ask("GET", f"/v2/images/{image_id}", who="admin").json()
    found = {name: image.get(name) for name in SHOWN}
    own = re.compile(r"file://[^\"]*")
    return status, json.loads(own.sub("file://", json.dumps(found)))


def test_every_change_as_glance_does_it(ours: Client, theirs: Client, web: str) -> None:
    wrong: list[tuple[object, ...]] = []
    for row in ROWS:
        here, there = told(ours, web, row), told(theirs, web, row)
        if (here[0], there[0]) != (row.status, row.glance or row.status):
            wrong.append((row, here[0], there[0]))
        elif row.glance is None and here[1] != there[1]:
            wrong.append((row, here[1], there[1]))
    assert not wrong, "\n".join(str(each)[:900] for each in wrong)
