"""All kinds of stores in one service, each on its real back end, asked by Glance's own client library; and a back end
that dies in the middle of an upload.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from glanceclient.v2 import client as glance

from tests.bed.databases import needed
from tests.bed.servers import Server
from tests.durability.wire import SlowUpload
from tests.edge.raw import eventually
from tests.stores.relay import Relay

# Some of these back ends take seconds for what others do at once.
pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
MIB = 1 << 20
SIZES = (0, 1, 5 * MIB + 3)
PROJECT = "whole-service"


def stores(folder: Path, endpoint: str) -> dict[str, dict[str, object]]:
    """Sections of a configuration file, one for each store, as an operator writes them. `endpoint`: S3's."""
    bucket = f"whole-{uuid.uuid4().hex[:8]}"
    keystone = needed("FANLIGHT_TEST_KEYSTONE")
    return {
        "local": {"filesystem_store_datadir": str(folder / "local")},
        "objects": {
            "s3_store_host": endpoint,
            "s3_store_access_key": needed("FANLIGHT_TEST_RGW_ACCESS_KEY"),
            "s3_store_secret_key": needed("FANLIGHT_TEST_RGW_SECRET_KEY"),
            "s3_store_bucket": bucket,
            "s3_store_create_bucket_on_put": "true",
            "s3_store_bucket_url_format": "path",
            "s3_store_large_object_size": "5",
            "s3_store_large_object_chunk_size": "5",
        },
        "containers": {
            "swift_store_auth_address": keystone,
            "swift_store_user": "demo:demo",
            "swift_store_key": "demo",
            "swift_store_container": bucket,
            "swift_store_create_container_on_put": "true",
        },
        "blocks": {
            "rbd_store_ceph_conf": needed("FANLIGHT_TEST_CEPH_CONF"),
            "rbd_store_user": needed("FANLIGHT_TEST_CEPH_USER"),
            "rbd_store_pool": needed("FANLIGHT_TEST_CEPH_POOL"),
        },
        "volumes": {
            "cinder_catalog_info": "block-storage::publicURL",
            "cinder_store_auth_address": keystone,
            "cinder_store_user_name": "cinder",
            "cinder_store_password": "cinder",
            "cinder_store_project_name": "service",
            "cinder_volume_type": "ceph",
            "cinder_mount_point_base": str(folder / "mnt"),
        },
        "machines": {
            "vmware_server_host": needed("FANLIGHT_TEST_VSPHERE"),
            "vmware_server_username": "user",
            "vmware_server_password": "open&<sesame>",
            "vmware_datastores": "/DC0:LocalDS_0:100",
            "vmware_ca_file": needed("FANLIGHT_TEST_VSPHERE_CA"),
        },
        "herd": {"sheepdog_store_port": needed("FANLIGHT_TEST_DOG_PORT")},
        "documents": {
            "mongodb_store_uri": needed("FANLIGHT_TEST_MONGODB"),
            "mongodb_store_db": bucket,
        },
    }


TYPES = {
    "local": "file",
    "objects": "s3",
    "containers": "swift",
    "blocks": "rbd",
    "volumes": "cinder",
    "machines": "vmware",
    "herd": "sheepdog",
    "documents": "gridfs",
}


def serve(folder: Path, endpoint: str, flavor: str | None, **more: Any) -> Server:
    path = os.pathsep.join((needed("FANLIGHT_TEST_CINDER_PATH"), needed("FANLIGHT_TEST_DOG_PATH"), os.environ["PATH"]))
    sections: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": ", ".join(f"{name}:{kind}" for name, kind in TYPES.items())},
        "glance_store": {"default_backend": "local"},
        **stores(folder, endpoint),
        **more,
    }
    return Server(folder / "server", flavor=flavor, config=sections, environment={"PATH": path}).start()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = serve(tmp_path_factory.mktemp("whole"), needed("FANLIGHT_TEST_RGW"), None)
    yield one
    one.end()
    assert one.unexpected_tracebacks() == []


@pytest.mark.parametrize("store", TYPES)
def test_upload_by_name_download_and_delete(service: Server, store: str, tmp_path: Path) -> None:
    """What Glance's client sends to a store by its name comes back from there, byte by byte, and goes away."""
    client = glance.Client(service.url)
    for size in SIZES:
        data = os.urandom(size)
        image = client.images.create(name=store, disk_format="raw", container_format="bare")
        client.images.upload(image.id, io.BytesIO(data), backend=store)
        image = client.images.get(image.id)
        assert (image.status, image.size, image.stores) == ("active", size, store)
        assert image.os_hash_value == hashlib.sha512(data).hexdigest()
        assert b"".join(client.images.data(image.id) if size else ()) == data
        if size > 1:
            member = service.client()
            part = member.get(f"/v2/images/{image.id}/file", headers={"Range": f"bytes={MIB - 3}-{3 * MIB}"})
            assert (part.status_code, part.content) == (206, data[MIB - 3 : 3 * MIB + 1])
        client.images.delete(image.id)
        assert service.client().get(f"/v2/images/{image.id}").status_code == 404
    assert service.rows("SELECT * FROM fanlight_leases") == []


def test_discovery_tells_them_all(service: Server) -> None:
    listed = service.client().get("/v2/info/stores").json()["stores"]
    assert [one["id"] for one in listed] == list(TYPES)
    assert [one["id"] for one in listed if one.get("default")] == ["local"]
    detail = service.client().get("/v2/info/stores/detail").json()["stores"]
    assert {one["id"]: one["type"] for one in detail} == TYPES
    assert "testsecret" not in str(detail)


def test_unknown_store(service: Server) -> None:
    member = service.client()
    image = member.create()
    headers = {"Content-Type": "application/octet-stream", "X-Image-Meta-Store": "nowhere"}
    answer = member.put(f"/v2/images/{image['id']}/file", content=b"x", headers=headers)
    assert answer.status_code == 400
    assert member.show(image["id"])["status"] == "queued"


def test_a_back_end_that_dies_in_the_middle(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The image is queued at once. What the back end holds goes when it is back, and then the image takes data."""
    with Relay(needed("FANLIGHT_TEST_RGW")) as relay:
        one = serve(tmp_path, relay.url, "fakeauth", fanlight={"lease_seconds": 3})
        [bucket] = re.findall(r"s3_store_bucket = (\S+)", one.config_file.read_text())
        s3 = boto3.client(
            "s3",
            endpoint_url=needed("FANLIGHT_TEST_RGW"),
            aws_access_key_id=needed("FANLIGHT_TEST_RGW_ACCESS_KEY"),
            aws_secret_access_key=needed("FANLIGHT_TEST_RGW_SECRET_KEY"),
            region_name="us-east-1",
        )
        s3.create_bucket(Bucket=bucket)
        request.addfinalizer(one.end)
        member = one.as_member(PROJECT)
        image = member.create()
        with SlowUpload(one, image["id"], None, PROJECT, "X-Image-Meta-Store: objects\r\n") as upload:
            upload.send(b"a" * (12 * MIB))
            eventually(lambda: s3.list_multipart_uploads(Bucket=bucket).get("Uploads"))
            relay.cut()
            upload.send(b"b" * (12 * MIB))
            assert upload.end() == 503
        assert member.show(image["id"])["status"] == "queued"
        assert one.rows("SELECT kind FROM fanlight_leases") == [{"kind": "discard"}]
        assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
        assert upload_to(member, image["id"], b"too early").status_code == 503
        relay.mend()
        eventually(lambda: one.rows("SELECT kind FROM fanlight_leases") == [], 40)
        assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
        assert upload_to(member, image["id"], b"at last").status_code == 204
        assert member.get(f"/v2/images/{image['id']}/file").content == b"at last"
        assert member.delete(f"/v2/images/{image['id']}").status_code == 204


def upload_to(client: httpx.Client, image_id: str, data: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/octet-stream", "X-Image-Meta-Store": "objects"}
    return client.put(f"/v2/images/{image_id}/file", content=data, headers=headers)
