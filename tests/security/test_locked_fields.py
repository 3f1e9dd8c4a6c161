"""What only the service may write: status, sizes, hashes, locations.

OSSA-2015-019, OSSA-2016-006, OSSN 0065 and 0090.
"""

from __future__ import annotations

import json

import pytest

from tests.bed.callers import Client
from tests.bed.servers import Server
from tests.conftest import StartServer

CREATE_403 = (
    *("status", "size", "virtual_size", "checksum", "created_at", "updated_at", "direct_url", "self", "file", "schema"),
    *("stores", "location", "locations", "deleted", "deleted_at", "os_glance_import_task", "os_glance_x"),
)
PATCH_403 = (
    *("status", "size", "virtual_size", "checksum", "created_at", "updated_at", "direct_url", "self", "file", "schema"),
    *("id", "os_hash_algo", "os_hash_value", "location", "deleted", "deleted_at", "os_glance_import_task"),
)
PATCH_20 = "application/openstack-images-v2.0-json-patch"
VALUES: dict[str, object] = {"size": 0, "virtual_size": 0, "deleted": "True", "locations": [], "status": "queued"}
LOCATIONS = (
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "filesystem:///etc/passwd",
    "Filesystem:///etc/passwd",
    "file://localhost/etc/passwd",
    "file:/etc/passwd",
    "file:////etc/passwd",
    "swift+config://ref1/c/o",
    "swift+config:///etc/glance/glance-swift.conf",
    "sheepdog://127.0.0.1:7000:x; touch /tmp/pwned",
    "http://127.0.0.1:1/x",
    "http://169.254.169.254/latest/meta-data/",
    "cinder://00000000-0000-0000-0000-000000000000",
)


@pytest.mark.parametrize("name", CREATE_403)
def test_ossa_2015_019_no_create_sets(service: Server, project: str, name: str) -> None:
    for one in (service.as_member(project), service.as_admin(project)):
        answer = one.post("/v2/images", json={"name": "n", name: VALUES.get(name, "x")})
        assert answer.status_code == 403, answer.text
    assert service.as_member(project).get("/v2/images", params={"owner": project}).json()["images"] == []


@pytest.mark.parametrize("name", PATCH_403)
def test_ossa_2015_019_no_patch_sets(service: Server, project: str, name: str) -> None:
    member, admin = service.as_member(project), service.as_admin(project)
    image = member.create_active(b"four")
    url, value = f"/v2/images/{image['id']}", VALUES.get(name, "x")
    for one in (member, admin):
        for op in ("add", "replace"):
            assert one.change(image["id"], {"op": op, "path": f"/{name}", "value": value}).status_code == 403
            draft = json.dumps([{op: f"/{name}", "value": value}])
            answer = one.patch(url, content=draft, headers={"Content-Type": PATCH_20})
            assert answer.status_code == 403
        assert one.change(image["id"], {"op": "remove", "path": f"/{name}"}).status_code == 403
    assert member.show(image["id"]) == image


def test_ossa_2015_019_the_headers_of_v1_say_nothing(service: Server, project: str) -> None:
    member = service.as_member(project)
    wanted = {"x-image-meta-status": "active", "x-image-meta-size": "1", "x-image-meta-deleted": "true"}
    answer = member.post("/v2/images", json={"disk_format": "raw", "container_format": "bare"}, headers=wanted)
    image = answer.json()
    assert (image["status"], image["size"]) == ("queued", None)
    path = f"/v2/images/{image['id']}/file"
    octets = {**wanted, "Content-Type": "application/octet-stream", "x-image-meta-checksum": "0" * 32}
    assert member.put(path, content=b"data", headers=octets).status_code == 204
    shown = member.show(image["id"])
    assert (shown["status"], shown["size"], shown["checksum"]) == ("active", 4, "8d777f385d3dfec8815d20f7496026dc")


def test_a_hash_given_at_create_is_not_believed(service: Server, project: str) -> None:
    member = service.as_member(project)
    given = {"os_hash_algo": "md5", "os_hash_value": "f" * 32}
    image = member.create_active(b"data", **given)
    assert image["os_hash_algo"] == "sha512"
    assert len(image["os_hash_value"]) == 128


def test_the_formats_of_stored_data_stay(service: Server, project: str) -> None:
    member = service.as_member(project)
    image = member.create_active(b"raw data")
    for name, value in (("disk_format", "qcow2"), ("container_format", "ovf")):
        assert member.change(image["id"], {"op": "replace", "path": f"/{name}", "value": value}).status_code == 403
    assert member.show(image["id"]) == image


def _location_operations(url: str) -> list[dict[str, object]]:
    location = {"url": url, "metadata": {}}
    return [
        {"op": "replace", "path": "/locations", "value": [location]},
        {"op": "add", "path": "/locations/-", "value": location},
        {"op": "add", "path": "/locations/0", "value": location},
        {"op": "add", "path": "/locations", "value": [location]},
    ]


def _tries(one: Client, image_id: str, url: str) -> list[int]:
    found = [one.change(image_id, operation).status_code for operation in _location_operations(url)]
    location = {"url": url, "metadata": {}}
    found.append(one.post("/v2/images", json={"locations": [location]}).status_code)
    found.append(one.post("/v2/images", json={"location": url}).status_code)
    found.append(one.post("/v2/images", json={"name": "n"}, headers={"x-image-meta-location": url}).status_code)
    found.append(one.post(f"/v2/images/{image_id}/locations", json=location).status_code)
    importing = {"method": {"name": "web-download", "uri": url}}
    found.append(one.post(f"/v2/images/{image_id}/import", json=importing).status_code)
    task = {"type": "import", "input": {"import_from": url, "import_from_format": "raw", "image_properties": {}}}
    found.append(one.post("/v2/tasks", json=task).status_code)
    return found


@pytest.mark.parametrize("url", LOCATIONS)
def test_ossa_2014_041_no_route_takes_a_location(service: Server, project: str, url: str) -> None:
    for one in (service.as_member(project), service.as_admin(project)):
        image = one.create()
        found = _tries(one, image["id"], url)
        # 201 is the create that brings the location in a header of V1 alone, which means nothing here.
        assert found[6] == 201
        assert all(400 <= status < 500 for status in found[:6] + found[7:]), found
        assert one.show(image["id"])["status"] == "queued"
    assert service.rows("SELECT value FROM image_locations WHERE value = :url", url=url) == []


def test_hostile_locations_are_not_set(server: StartServer) -> None:
    """Not even where an operator lets clients set locations."""
    options = {"show_multiple_locations": True, "show_image_direct_url": True, "user_storage_quota": "1MB"}
    one = server(config={"DEFAULT": options})
    member = one.as_member("p")
    queued, active = member.create(), member.create_active(b"data")
    assert active["locations"][0]["url"] == active["direct_url"]
    for url in LOCATIONS:
        found = _tries(member, queued["id"], url) + _tries(member, active["id"], url)
        assert all(400 <= status < 500 or status == 201 for status in found), (url, found)
        # The size of a file of the host is in no answer (seen in Glance with a quota and file:///etc/passwd).
        assert [status for status in found if status == 413] == []
    for operation in (
        {"op": "remove", "path": "/locations/0"},
        {"op": "replace", "path": "/locations", "value": []},
        {"op": "replace", "path": "/locations", "value": [{"url": active["direct_url"], "metadata": {}}] * 2},
    ):
        assert 400 <= member.change(active["id"], operation).status_code < 500
    assert member.show(active["id"]) == active
    assert member.show(queued["id"])["status"] == "queued"
    values = [row["value"] for row in one.rows("SELECT value FROM image_locations")]
    assert values == [active["direct_url"]]


def test_locations_of_hidden_images_are_not_told_apart(service: Server, project: str) -> None:
    """404 as for an image that is not there, with locations or without."""
    image_id = service.as_member(project).create()["id"]
    other = service.as_member(f"other-of-{project}")
    missing = "00000000-0000-4000-8000-000000000000"
    for operation in _location_operations("http://images.example/x")[:3]:
        told = [other.change(each, operation) for each in (image_id, missing)]
        assert [one.status_code for one in told] == [404, 404]
        assert told[0].text.replace(image_id, missing) == told[1].text


def test_ossa_2016_006_active_data_is_never_swapped(service: Server, project: str) -> None:
    member = service.as_member(project)
    image = member.create_active(b"first")
    for operation in (
        {"op": "replace", "path": "/locations", "value": []},
        {"op": "remove", "path": "/locations/0"},
        {"op": "replace", "path": "/status", "value": "queued"},
    ):
        assert 400 <= member.change(image["id"], operation).status_code < 500
    assert member.upload(image["id"], b"second").status_code == 409
    assert member.show(image["id"]) == image
    assert member.get(f"/v2/images/{image['id']}/file").content == b"first"
