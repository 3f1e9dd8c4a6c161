"""Plain HTTP with a token of Keystone, as Tempest, Rally and scripts without a client library send it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.clients.cloud import Cloud
from tests.clients.conftest import FindCloud

pytestmark = pytest.mark.services
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
OCTETS = {"Content-Type": "application/octet-stream"}
DATA = bytes(range(256)) * 512


@pytest.fixture
def keystone_cloud(clouds: FindCloud) -> Cloud:
    return clouds("keystone")


@pytest.fixture
def http(keystone_cloud: Cloud) -> Iterator[httpx.Client]:
    with asking(keystone_cloud, "demo") as client:
        yield client


def asking(cloud: Cloud, user: str) -> httpx.Client:
    assert cloud.keystone
    headers = {"X-Auth-Token": cloud.keystone.token(user), "Accept": "application/json"}
    return httpx.Client(base_url=cloud.server.url, headers=headers, timeout=30.0, trust_env=False)


def create(http: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = http.post("/v2/images", json={"container_format": "bare", "disk_format": "raw", **more})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    assert answer.headers["Location"].endswith(f"/v2/images/{document['id']}")
    return document


def test_register_upload_read_and_delete(http: httpx.Client) -> None:
    wanted = str(uuid.uuid4())
    image = create(http, id=wanted, name="first", visibility="private", ramdisk_id=str(uuid.uuid4()))
    assert (image["id"], image["status"], image["visibility"]) == (wanted, "queued", "private")
    path = f"/v2/images/{wanted}"
    assert http.get(f"{path}/file").status_code == 204

    # An iterator goes out in chunks, without a length, as Tempest's raw upload does.
    sent = http.put(f"{path}/file", content=iter([DATA[:70000], DATA[70000:]]), headers=OCTETS)
    assert (sent.status_code, sent.content) == (204, b"")
    shown = http.get(path).json()
    assert (shown["status"], shown["size"], shown["checksum"]) == ("active", len(DATA), hashlib.md5(DATA).hexdigest())
    file = http.get(f"{path}/file")
    assert file.content == DATA
    assert file.headers["Content-MD5"] == shown["checksum"]
    part = http.get(f"{path}/file", headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, DATA[1000:2000])
    assert part.headers["Content-Range"] == f"bytes 1000-1999/{len(DATA)}"
    assert http.put(f"{path}/file", content=DATA, headers=OCTETS).status_code == 409

    assert http.delete(path).status_code == 204
    assert http.get(path).status_code == 404
    assert http.delete(path).status_code == 404
    assert http.post("/v2/images", json={"id": wanted}).status_code == 409


def test_patch_in_every_form(http: httpx.Client) -> None:
    path = f"/v2/images/{create(http, name='before', colour='blue')['id']}"
    operations = [
        {"op": "replace", "path": "/name", "value": "after"},
        {"op": "add", "path": "/key~1with~0signs", "value": "v"},
        {"op": "replace", "path": "/tags", "value": ["a", "b"]},
        {"op": "remove", "path": "/colour"},
    ]
    changed = http.patch(path, json=operations, headers=PATCH)
    assert changed.status_code == 200
    assert changed.json()["name"] == "after"
    assert changed.json()["key/with~signs"] == "v"
    assert sorted(changed.json()["tags"]) == ["a", "b"]
    assert "colour" not in changed.json()
    assert http.patch(path, json=[{"op": "remove", "path": "/colour"}], headers=PATCH).status_code == 409
    assert http.patch(path, json=[{"op": "replace", "path": "/id", "value": "x"}], headers=PATCH).status_code == 403
    assert http.patch(path, json=[{"replace": "/name", "value": "old"}], headers=PATCH).status_code == 400
    old = {"Content-Type": "application/openstack-images-v2.0-json-patch"}
    assert http.patch(path, json=[{"replace": "/name", "value": "old"}], headers=old).json()["name"] == "old"
    assert http.patch(path, json=[], headers={"Content-Type": "application/json"}).status_code == 415


def test_pages_are_followed_to_the_end(http: httpx.Client) -> None:
    tag = uuid.uuid4().hex
    ids = [create(http, name=f"image {n}", tags=[tag])["id"] for n in range(5)]
    found: list[str] = []
    link = f"/v2/images?limit=2&sort=name:asc&tag={tag}"
    while link:
        page = http.get(link).json()
        found += [image["id"] for image in page["images"]]
        link = page.get("next", "")
        assert page["first"].startswith("/v2/images?")
    assert found == ids
    assert http.get(f"/v2/images?tag={tag}&marker={uuid.uuid4()}").status_code == 400
    assert http.get("/v2/images?limit=-1").status_code == 400
    assert http.get("/v2/images?sort_dir=sideways").status_code == 400


def test_sharing_between_projects(keystone_cloud: Cloud, http: httpx.Client) -> None:
    image_id, project = create(http, visibility="shared")["id"], keystone_cloud.project("other")
    members = f"/v2/images/{image_id}/members"
    with asking(keystone_cloud, "other") as other:
        assert http.post(members, json={"member": project}).json()["status"] == "pending"
        assert other.put(f"{members}/{project}", json={"status": "rejected"}).json()["status"] == "rejected"
        assert image_id not in [one["id"] for one in other.get("/v2/images?visibility=shared").json()["images"]]
        assert other.put(f"{members}/{project}", json={"status": "wrong"}).status_code == 400
        assert other.put(f"{members}/{project}", json={"status": "accepted"}).status_code == 200
        assert image_id in [one["id"] for one in other.get("/v2/images?visibility=shared").json()["images"]]
        assert http.put(f"{members}/{project}", json={"status": "rejected"}).status_code == 403
        assert other.get(members).json()["members"][0]["member_id"] == project
        assert http.delete(f"{members}/{project}").status_code == 204
        assert other.get(f"/v2/images/{image_id}").status_code == 404


def test_who_may_do_what(keystone_cloud: Cloud, http: httpx.Client) -> None:
    image_id = create(http)["id"]
    publish = [{"op": "replace", "path": "/visibility", "value": "public"}]
    assert http.patch(f"/v2/images/{image_id}", json=publish, headers=PATCH).status_code == 403
    with asking(keystone_cloud, "viewer") as reader, asking(keystone_cloud, "admin") as admin:
        assert reader.get(f"/v2/images/{image_id}").status_code == 200
        assert reader.post("/v2/images", json={}).status_code == 403
        assert admin.patch(f"/v2/images/{image_id}", json=publish, headers=PATCH).json()["visibility"] == "public"
    with asking(keystone_cloud, "other") as stranger:
        assert stranger.get(f"/v2/images/{image_id}").status_code == 200
        assert stranger.delete(f"/v2/images/{image_id}").status_code == 403
    for headers in ({}, {"X-Auth-Token": "nonsense"}):
        refused = httpx.get(f"{keystone_cloud.server.url}/v2/images", headers=headers, trust_env=False)
        assert refused.status_code == 401
        assert "Keystone uri=" in refused.headers["WWW-Authenticate"]
