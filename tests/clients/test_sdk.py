"""openstacksdk: the library below `openstack`, Ansible and most of today's scripts."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from openstack import exceptions

from tests.clients.cloud import QCOW2, RAW, STORES, Cloud, Disks

ME = "demo"
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
"""The SDK warns of what it calls itself."""


def create(image: Any, name: str, **fields: Any) -> Any:
    return image.create_image(name, disk_format=RAW, container_format="bare", allow_duplicates=True, **fields)


@pytest.mark.parametrize("disk_format", [QCOW2, RAW])
def test_the_life_of_an_image(cloud: Cloud, disks: Disks, mark: str, tmp_path: Path, disk_format: str) -> None:
    image = cloud.image_proxy(ME)
    path = disks.path(disk_format)
    with path.open("rb") as data:
        fields = {"tags": [mark], "colour": "blue", "os_distro": "debian", "min_disk": 1}
        made = image.create_image(mark, data=data, disk_format=disk_format, container_format="bare", **fields)
    found = image.find_image(mark)
    assert found.id == made.id
    assert (found.status, found.size, found.min_disk) == ("active", path.stat().st_size, 1)
    assert found.properties["colour"] == "blue"
    assert found.hash_value == hashlib.sha512(path.read_bytes()).hexdigest()
    image.download_image(found, stream=True, output=str(tmp_path / "copy"))
    disks.require_same(disk_format, tmp_path / "copy", found.virtual_size)

    changed = image.update_image(found, name=f"new {mark}", min_ram=64)
    assert (changed.name, changed.min_ram) == (f"new {mark}", 64)
    # By id: of an image that it knows, the SDK removes every property that a change does not name.
    image.update_image(made.id, colour="red", os_version="12")
    again = image.get_image(made.id)
    assert (again.properties["colour"], again.os_version, again.os_distro) == ("red", "12", "debian")

    image.add_tag(again, "x")
    image.remove_tag(again, mark)
    assert image.get_image(made.id).tags == ["x"]
    image.delete_image(made.id, ignore_missing=False)
    with pytest.raises(exceptions.NotFoundException):
        image.get_image(made.id)
    with pytest.raises(exceptions.NotFoundException):
        image.delete_image(made.id, ignore_missing=False)


def test_lists(cloud: Cloud, mark: str) -> None:
    image = cloud.image_proxy(ME)
    ids = [create(image, f"{mark} {n}", data=b"x" * (n + 1), tags=[mark, f"n{n % 2}"]).id for n in range(4)]
    empty = create(image, f"{mark} 4", tags=[mark]).id

    def found(**query: Any) -> list[str]:
        return [one.id for one in image.images(tag=mark, sort="name:asc", limit=2, **query)]

    assert found() == [*ids, empty]
    assert found(status="active") == ids
    assert found(name=f"{mark} 2") == [ids[2]]
    assert found(size_min=3, status="active") == ids[2:]
    assert found(size_max=2, status="active") == ids[:2]
    assert found(visibility="shared", owner=cloud.project(ME)) == [*ids, empty]
    assert found(visibility="community") == []
    assert found(is_protected=True) == []
    page = [one.id for one in image.images(tag=mark, sort="name:asc", limit=2, marker=ids[0], paginated=False)]
    assert page == ids[1:3]
    by_size = image.images(tag=mark, status="active", sort_key="size", sort_dir="desc")
    assert [one.id for one in by_size] == ids[::-1]


def test_sharing(cloud: Cloud, mark: str) -> None:
    mine, other = cloud.image_proxy(ME), cloud.image_proxy("other")
    shared = create(mine, mark, data=b"shared bytes", tags=[mark])
    project = cloud.project("other")
    assert mine.add_member(shared.id, member_id=project).status == "pending"
    if cloud.keystone:
        with pytest.raises(exceptions.ForbiddenException):
            mine.update_member(project, shared.id, status="accepted")
        assert list(other.images(tag=mark)) == []
    assert other.update_member(project, shared.id, status="accepted").status == "accepted"
    assert [one.id for one in other.images(tag=mark, member_status="accepted", visibility="shared")] == [shared.id]
    assert [(one.member_id, one.status) for one in mine.members(shared.id)] == [(project, "accepted")]
    assert mine.get_member(project, shared.id).status == "accepted"
    assert other.download_image(shared.id).content == b"shared bytes"
    mine.remove_member(project, image=shared.id, ignore_missing=False)
    assert list(mine.members(shared.id)) == []
    if cloud.keystone:
        with pytest.raises(exceptions.NotFoundException):
            other.get_image(shared.id)


def test_deactivation_and_hiding(cloud: Cloud, mark: str) -> None:
    mine, admin = cloud.image_proxy(ME), cloud.image_proxy("admin")
    image = create(mine, mark, data=io.BytesIO(b"data"), tags=[mark])
    admin.deactivate_image(image.id)
    assert mine.get_image(image.id).status == "deactivated"
    if cloud.keystone:
        # The SDK takes the refusal for data, and finds that their hash is wrong.
        with pytest.raises(exceptions.InvalidResponse):
            mine.download_image(image.id)
    admin.reactivate_image(image.id)
    assert mine.download_image(image.id).content == b"data"
    mine.update_image(image.id, is_hidden=True)
    assert list(mine.images(tag=mark)) == []
    assert [one.id for one in mine.images(tag=mark, is_hidden=True)] == [image.id]


def test_what_the_service_tells_of_itself(cloud: Cloud) -> None:
    image = cloud.image_proxy("admin")
    assert [(one.id, one.is_default) for one in image.stores()] == [(STORES[0], True), (STORES[1], None)]
    folders = [one.properties["data_dir"] for one in image.stores(details=True)]
    assert folders == [str(cloud.folder / store) for store in STORES]
    assert image.get_import_info().import_methods["type"] == "array"
    assert "os_hash_value" in image.get_image_schema().properties
    for schema in (image.get_images_schema(), image.get_member_schema(), image.get_members_schema()):
        assert schema.properties
    # Found by way of the catalogue; the highest version on offer decides what clients dare to send.
    if cloud.keystone:
        assert image.get_api_major_version() >= (2, 9)
