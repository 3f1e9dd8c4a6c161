"""python-glanceclient as a library: what Nova, Cinder and scripts call, over a session of keystoneauth."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from glanceclient import exc

from tests.clients.cloud import QCOW2, RAW, STORES, Cloud, Disks

ME = "demo"


@pytest.mark.parametrize("disk_format", [QCOW2, RAW])
def test_a_snapshot_as_nova_makes_one(cloud: Cloud, disks: Disks, mark: str, tmp_path: Path, disk_format: str) -> None:
    images = cloud.library(ME).images
    properties = {"image_type": "snapshot", "instance_uuid": mark, "base_image_ref": ""}
    made = images.create(name=mark, visibility="private", **properties)
    assert (made.status, made.size, made.disk_format) == ("queued", None, None)
    images.update(made.id, disk_format=disk_format, container_format="bare", min_disk=1)
    with disks.path(disk_format).open("rb") as data:
        images.upload(made.id, data)

    image = images.get(made.id)
    assert (image.status, image.instance_uuid, image.min_disk) == ("active", mark, 1)
    assert image.size == disks.path(disk_format).stat().st_size
    assert image.checksum == hashlib.md5(disks.path(disk_format).read_bytes()).hexdigest()
    copy = tmp_path / "copy"
    with copy.open("wb") as file:
        # The library compares with os_hash_value while it reads.
        for piece in images.data(made.id):
            file.write(piece)
    disks.require_same(disk_format, copy, image.virtual_size)

    kept = images.update(made.id, remove_props=["base_image_ref"], image_type="image", name=f"kept {mark}")
    assert (kept.name, kept.image_type) == (f"kept {mark}", "image")
    assert "base_image_ref" not in kept
    images.delete(made.id)
    with pytest.raises(exc.HTTPNotFound):
        images.get(made.id)
    with pytest.raises(exc.HTTPNotFound):
        images.delete(made.id)


def test_lists(cloud: Cloud, mark: str) -> None:
    images = cloud.library(ME).images
    ids = []
    for number in range(5):
        image = images.create(name=f"{mark} {number}", disk_format=RAW, container_format="bare", place=mark)
        cloud.library(ME).image_tags.update(image.id, "even" if number % 2 == 0 else "odd")
        if number < 3:
            images.upload(image.id, io.BytesIO(b"x" * (number + 1)))
        ids.append(image.id)

    def found(page_size: int = 2, **filters: object) -> list[str]:
        sort = {"sort_key": "name", "sort_dir": "asc"}
        return [one.id for one in images.list(page_size=page_size, filters={"place": mark, **filters}, **sort)]

    assert found() == ids
    assert found(tag=["even"]) == [ids[0], ids[2], ids[4]]
    assert found(status="active") == ids[:3]
    assert found(status="in:active,queued") == ids
    assert found(size_min=2) == ids[1:3]
    assert found(size_max=2, status="active") == ids[:2]
    assert found(name=f"{mark} 3") == [ids[3]]
    assert found(visibility="shared", owner=cloud.project(ME)) == ids
    assert found(visibility="private") == []
    assert found(id=f"in:{ids[1]},{ids[4]}") == [ids[1], ids[4]]
    ordered = images.list(filters={"place": mark, "status": "active"}, sort="size:desc")
    assert [one.id for one in ordered] == [ids[2], ids[1], ids[0]]
    limited = images.list(filters={"place": mark}, sort="name:asc", limit=3, page_size=2, marker=ids[0])
    assert [one.id for one in limited] == ids[1:4]


def test_sharing(cloud: Cloud, mark: str) -> None:
    mine, other = cloud.library(ME), cloud.library("other")
    image = mine.images.create(name=mark, disk_format=RAW, container_format="bare", place=mark)
    mine.images.upload(image.id, io.BytesIO(b"shared bytes"))
    project = cloud.project("other")
    assert mine.image_members.create(image.id, project).status == "pending"
    with pytest.raises(exc.HTTPConflict):
        mine.image_members.create(image.id, project)
    if cloud.keystone:
        with pytest.raises(exc.HTTPForbidden):
            mine.image_members.update(image.id, project, "accepted")
        assert list(other.images.list(filters={"place": mark})) == []
    other.image_members.update(image.id, project, "accepted")
    assert [one.id for one in other.images.list(filters={"place": mark, "member_status": "accepted"})] == [image.id]
    assert [one.status for one in mine.image_members.list(image.id)] == ["accepted"]
    assert b"".join(other.images.data(image.id)) == b"shared bytes"
    if cloud.keystone:
        with pytest.raises(exc.HTTPForbidden):
            other.images.update(image.id, name="not yours")
        with pytest.raises(exc.HTTPForbidden):
            other.images.delete(image.id)
    mine.image_members.delete(image.id, project)
    assert list(mine.image_members.list(image.id)) == []


def test_tags_deactivation_and_protection(cloud: Cloud, mark: str) -> None:
    mine, admin = cloud.library(ME), cloud.library("admin")
    image = mine.images.create(name=mark, disk_format=RAW, container_format="bare", protected=True, tags=["a"])
    mine.images.upload(image.id, io.BytesIO(b"data"))
    mine.image_tags.update(image.id, "b")
    mine.image_tags.delete(image.id, "a")
    with pytest.raises(exc.HTTPNotFound):
        mine.image_tags.delete(image.id, "a")
    assert mine.images.get(image.id).tags == ["b"]

    admin.images.deactivate(image.id)
    assert mine.images.get(image.id).status == "deactivated"
    if cloud.keystone:
        with pytest.raises(exc.HTTPForbidden):
            mine.images.data(image.id)
    assert b"".join(admin.images.data(image.id)) == b"data"
    admin.images.reactivate(image.id)
    assert b"".join(mine.images.data(image.id)) == b"data"

    with pytest.raises(exc.HTTPForbidden):
        mine.images.delete(image.id)
    mine.images.update(image.id, protected=False)
    mine.images.delete(image.id)


def test_what_the_service_tells_of_itself(cloud: Cloud) -> None:
    client = cloud.library("admin")
    schema = client.schemas.get("image")
    assert {"id", "visibility", "os_hash_value", "virtual_size"} <= {one.name for one in schema.properties}
    assert [one["id"] for one in client.images.get_stores_info()["stores"]] == [*STORES]
    detail = client.images.get_stores_info_detail()["stores"]
    assert [one["properties"]["data_dir"] for one in detail] == [str(cloud.folder / store) for store in STORES]
    assert client.images.get_import_info()["import-methods"]["type"] == "array"


def test_an_upload_goes_to_the_store_that_is_named(cloud: Cloud, mark: str) -> None:
    images = cloud.library(ME).images
    image = images.create(name=mark, disk_format=RAW, container_format="bare")
    images.upload(image.id, io.BytesIO(b"here"), backend=STORES[1])
    assert images.get(image.id).stores == STORES[1]
    assert b"".join(images.data(image.id)) == b"here"
    lost = images.create(name=mark, disk_format=RAW, container_format="bare")
    with pytest.raises(exc.HTTPBadRequest):
        images.upload(lost.id, io.BytesIO(b"here"), backend="nowhere")
    assert images.get(lost.id).status == "queued"
