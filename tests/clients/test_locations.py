"""Locations by real clients: the program `glance`, and its library as Nova and Cinder call it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from glanceclient import exc

from tests.bed.servers import Server
from tests.clients.cloud import RAW, Cloud, Disks, fields

ME = "demo"
pytestmark = pytest.mark.timeout(400)


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, and nothing on standard error."""

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def web(disks: Disks) -> Iterator[str]:
    """Where a web server has the raw disk, by any query."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(disks.raw.parent))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{disks.raw.name}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def placing(tmp_path_factory: pytest.TempPathFactory, web: str) -> Iterator[Cloud]:
    """A service whose clients may set locations."""
    folder = tmp_path_factory.mktemp("placing")
    port = web.split(":")[2].partition("/")[0]
    config: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": "local:file, web:http", "show_multiple_locations": True},
        "glance_store": {"default_backend": "local"},
        "local": {"filesystem_store_datadir": folder / "local"},
        "web": {"http_allowed_hosts": "127.0.0.1"},
        "import_filtering_opts": {"allowed_hosts": "[127.0.0.1]", "allowed_ports": f"[{port}]"},
    }
    server = Server(folder / "server", flavor=None, config=config).start()
    cloud = Cloud(server, folder)
    yield cloud
    cloud.close()
    server.end()
    assert not server.unexpected_tracebacks()


def test_the_program(placing: Cloud, disks: Disks, web: str, tmp_path: Path) -> None:
    empty = ("--disk-format", RAW, "--container-format", "bare")
    image_id = fields(placing.glance(ME, "image-create", *empty))["id"]
    hashes = ("--checksum", "a" * 32, "--hash-algo", "sha512", "--hash-value", "b" * 128)
    made = fields(placing.glance(ME, "location-add", "--url", web, *hashes, image_id))
    assert (made["status"], int(made["size"]), made["os_hash_algo"]) == ("active", disks.raw.stat().st_size, "sha512")
    placing.glance(ME, "location-add", "--url", web, image_id, code=1)
    placing.glance(ME, "location-add", "--url", f"{web}?more", "--metadata", '{"speed": "high"}', image_id)
    placing.glance(ME, "location-update", "--url", f"{web}?more", "--metadata", '{"speed": "low"}', image_id)
    found = placing.library(ME).images.get(image_id).locations
    assert [one["metadata"] for one in found] == [{"store": "web"}, {"speed": "low", "store": "web"}]
    placing.glance(ME, "location-delete", "--url", web, image_id)
    placing.glance(ME, "location-delete", "--url", f"{web}?more", image_id, code=1)
    assert [one["url"] for one in placing.library(ME).images.get(image_id).locations] == [f"{web}?more"]


def test_a_snapshot_that_nova_made_in_the_back_end(placing: Cloud, disks: Disks, web: str, tmp_path: Path) -> None:
    """The record, then where the data is; other records of the same data, as a copy of a volume makes them."""
    images = placing.library(ME).images
    made = images.create(name="snapshot", disk_format=RAW, container_format="bare", visibility="private")
    placed = images.add_location(made.id, web, {})
    assert (placed.status, placed.size, placed.checksum) == ("active", disks.raw.stat().st_size, None)
    copy = tmp_path / "copy"
    with copy.open("wb") as file:
        for piece in images.data(made.id):
            file.write(piece)
    assert copy.read_bytes() == disks.raw.read_bytes()
    with pytest.raises(exc.HTTPBadRequest):
        images.add_location(made.id, f"{web}.none", {})
    images.add_location(made.id, f"{web}?2", {})
    images.update_location(made.id, f"{web}?2", {"a": "b"})
    images.delete_locations(made.id, {web})
    assert [(one["url"], one["metadata"]["a"]) for one in images.get(made.id).locations] == [(f"{web}?2", "b")]
    with pytest.raises(exc.HTTPForbidden):
        images.delete_locations(made.id, {f"{web}?2"})
    images.delete(made.id)
