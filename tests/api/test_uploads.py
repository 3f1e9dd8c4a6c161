"""PUT of an image's data: what the request must be, and what the options change."""

from __future__ import annotations

import hashlib

import pytest

from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.edge.raw import eventually

OCTETS = "application/octet-stream"


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        (OCTETS, 204),
        ("Application/Octet-Stream", 204),
        (OCTETS + "; charset=binary", 204),
        ("application/json", 415),
        ("application/octet-streams", 415),
        ("text/plain", 415),
        ("", 415),
        (None, 415),
    ],
)
def test_content_type(service: Server, project: str, media_type: str | None, status: int) -> None:
    member = service.as_member(project)
    image = member.create()
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = member.put(f"/v2/images/{image['id']}/file", content=b"data", headers=headers)
    assert answer.status_code == status
    assert member.show(image["id"])["status"] == ("active" if status == 204 else "queued")


@pytest.mark.parametrize(("size", "status"), [("4", 204), ("04", 204), ("3", 400), ("5", 400), ("x", 400), ("-4", 400)])
def test_size_header(service: Server, project: str, size: str, status: int) -> None:
    member = service.as_member(project)
    image = member.create()
    headers = {"Content-Type": OCTETS, "x-openstack-image-size": size}
    answer = member.put(f"/v2/images/{image['id']}/file", content=b"data", headers=headers)
    assert answer.status_code == status
    assert member.show(image["id"])["status"] == ("active" if status == 204 else "queued")


@pytest.mark.parametrize("missing", ["disk_format", "container_format"])
def test_formats_must_be_set_before(service: Server, project: str, missing: str) -> None:
    member = service.as_member(project)
    image = member.create(**{missing: None})
    assert member.upload(image["id"], b"data").status_code == 400
    value = {"disk_format": "raw", "container_format": "bare"}[missing]
    assert member.change(image["id"], {"op": "replace", "path": f"/{missing}", "value": value}).status_code == 200
    assert member.upload(image["id"], b"data").status_code == 204


@pytest.mark.parametrize("algorithm", ["sha256", "sha3_512", "blake2b", "md5"])
def test_hashing_algorithm(server: StartServer, algorithm: str) -> None:
    member = server(config={"DEFAULT": {"hashing_algorithm": algorithm}}).as_member("p")
    image = member.create_active(b"data" * 1000)
    assert image["os_hash_algo"] == algorithm
    assert image["os_hash_value"] == hashlib.new(algorithm, b"data" * 1000).hexdigest()
    assert image["checksum"] == hashlib.md5(b"data" * 1000).hexdigest()


def test_a_hash_that_nobody_knows_stops_the_start(server: StartServer) -> None:
    with pytest.raises(AssertionError, match="hashing_algorithm"):
        server(config={"DEFAULT": {"hashing_algorithm": "sha9"}})


def test_formats_of_the_configuration(server: StartServer) -> None:
    one = server(config={"image_format": {"disk_formats": "raw,qcow2", "container_formats": "bare"}})
    member = one.as_member("p")
    assert member.post("/v2/images", json={"disk_format": "iso"}).status_code == 400
    assert member.post("/v2/images", json={"container_format": "ovf"}).status_code == 400
    assert member.create(disk_format="qcow2")["disk_format"] == "qcow2"
    schema = member.get("/v2/schemas/image").json()
    assert schema["properties"]["disk_format"]["enum"] == [None, "raw", "qcow2"]


def test_without_the_check_of_formats_all_is_stored(server: StartServer) -> None:
    one = server(config={"image_format": {"require_image_format_match": False}})
    image = one.as_member("p").create_active(b"no disk at all", disk_format="qcow2")
    assert (image["status"], image["virtual_size"]) == ("active", None)


@pytest.mark.parametrize("instead", ["nothing", "a file"])
def test_a_store_whose_folder_is_gone_is_not_writable(server: StartServer, instead: str) -> None:
    """As when its file system is not mounted: 503, and the image can be uploaded once it is back."""
    one = server()
    member, images = one.as_member("p"), one.data_dir / "images"
    image_id = member.create()["id"]
    images.rmdir()
    if instead == "a file":
        images.write_text("in the way")
    assert member.upload(image_id, b"x").status_code == 503
    assert member.show(image_id)["status"] == "queued"
    images.unlink(missing_ok=True)
    images.mkdir()
    eventually(lambda: member.upload(image_id, b"x").status_code == 204)


def test_a_queued_image_that_has_a_location_takes_no_data(server: StartServer) -> None:
    """Glance leaves such images, and with two places nobody would know which of them is the image."""
    one = server()
    member = one.as_member("p")
    image = member.create()
    moment = "2020-01-01 00:00:00.000000"
    one.rows(
        "INSERT INTO image_locations (image_id, value, meta_data, status, created_at, updated_at, deleted) "
        f"VALUES (:id, 'http://127.0.0.1:1/other', '{{}}', 'active', '{moment}', '{moment}', 0)",
        id=image["id"],
    )
    answer = member.upload(image["id"], b"data")
    assert (answer.status_code, "location" in answer.text) == (409, True)
    assert member.show(image["id"])["status"] == "queued"
    assert one.files() == {}
    assert member.delete(f"/v2/images/{image['id']}").status_code == 204


def test_data_must_have_the_hashes_that_the_image_has(server: StartServer) -> None:
    """Rows of a Glance may say them before; the hash is the image's, too."""
    one = server()
    member = one.as_member("p")
    data = b"data"
    known = {"algo": "sha256", "value": hashlib.sha256(data).hexdigest(), "sum": hashlib.md5(data).hexdigest()}
    for wrong, status in (("sum", 400), ("value", 400), (None, 204)):
        image = member.create()
        values = {**known, **({wrong: "0" * len(known[wrong])} if wrong else {})}
        one.rows(
            "UPDATE images SET checksum = :sum, os_hash_algo = :algo, os_hash_value = :value WHERE id = :id",
            id=image["id"],
            **values,
        )
        assert member.upload(image["id"], data).status_code == status
        shown = member.show(image["id"])
        assert shown["status"] == ("queued" if wrong else "active")
        assert (shown["os_hash_algo"], shown["checksum"]) == ("sha256", values["sum"])
        assert (image["id"] in one.files()) == (wrong is None)


@pytest.mark.parametrize("algorithm", ["whirlpool-2", "shake_128"])
def test_data_of_an_image_whose_hash_nobody_can_compute(server: StartServer, algorithm: str) -> None:
    one = server()
    member = one.as_member("p")
    image = member.create()
    one.rows("UPDATE images SET os_hash_algo = :algo WHERE id = :id", algo=algorithm, id=image["id"])
    answer = member.upload(image["id"], b"data")
    assert (answer.status_code, "os_hash_algo" in answer.text) == (409, True)
    assert (member.show(image["id"])["status"], one.files()) == ("queued", {})
