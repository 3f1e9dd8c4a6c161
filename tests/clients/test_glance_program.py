"""The program `glance`: everything it can ask of what the service has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.cloud import QCOW2, RAW, STORES, Cloud, Disks, fields, rows

ME = "demo"
pytestmark = pytest.mark.timeout(400)
"""Alone on a machine none takes half a minute; next to other work each start of a program may take ten seconds."""


def create(cloud: Cloud, disks: Disks, disk_format: str, mark: str, *words: str) -> dict[str, str]:
    file = ("--file", str(disks.path(disk_format)))
    formats = ("--disk-format", disk_format, "--container-format", "bare")
    return fields(cloud.glance(ME, "image-create", *formats, *file, "--name", f"{disk_format} {mark}", *words))


def test_the_life_of_an_image(cloud: Cloud, disks: Disks, mark: str, tmp_path: Path) -> None:
    tags = ("--tags", mark, "x")
    made = create(cloud, disks, QCOW2, mark, *tags, "--property", "colour=blue", "--store", STORES[1])
    image_id = made["id"]
    assert (made["status"], made["stores"], made["visibility"]) == ("active", STORES[1], "shared")
    assert (int(made["size"]), made["colour"]) == (disks.qcow2.stat().st_size, "blue")
    assert list((cloud.folder / STORES[1]).rglob(image_id))

    changes = ("--property", "colour=red", "--property", "os_version=12", "--min-ram", "64", "--visibility", "private")
    changed = fields(cloud.glance(ME, "image-update", *changes, "--name", f"renamed {mark}", image_id))
    assert (changed["colour"], changed["os_version"], changed["min_ram"]) == ("red", "12", "64")
    assert (changed["name"], changed["visibility"]) == (f"renamed {mark}", "private")
    assert "colour" not in fields(cloud.glance(ME, "image-update", "--remove-property", "colour", image_id))
    cloud.glance(ME, "image-tag-update", image_id, "y")
    cloud.glance(ME, "image-tag-delete", image_id, "x")
    shown = fields(cloud.glance(ME, "image-show", image_id))
    assert shown["tags"] == str([mark, "y"]).replace("'", '"')
    assert int(shown["virtual_size"]) == disks.raw.stat().st_size

    cloud.glance(ME, "image-download", "--file", str(tmp_path / "copy"), image_id)
    disks.require_same(QCOW2, tmp_path / "copy", shown["virtual_size"])
    cloud.glance(ME, "image-delete", image_id)
    cloud.glance(ME, "image-show", image_id, code=1)
    assert not list((cloud.folder / STORES[1]).rglob(image_id))


@pytest.mark.parametrize("cloud", ["none"], indirect=True)
def test_an_upload_of_its_own_and_lists(cloud: Cloud, disks: Disks, mark: str, tmp_path: Path) -> None:
    empty = ("--disk-format", RAW, "--container-format", "bare", "--name", f"empty {mark}", "--tags", mark)
    image_id = fields(cloud.glance(ME, "image-create", *empty))["id"]
    cloud.glance(ME, "image-upload", "--file", str(disks.raw), image_id)
    cloud.glance(ME, "image-download", "--file", str(tmp_path / "copy"), image_id)
    disks.require_same(RAW, tmp_path / "copy", disks.raw.stat().st_size)
    other_id = create(cloud, disks, QCOW2, mark, "--tags", mark, "--property", f"place={mark}")["id"]

    found = rows(cloud.glance(ME, "image-list", "--tag", mark, "--page-size", "1", "--sort", "created_at:asc"))
    assert [(row["ID"], row["Name"]) for row in found] == [(image_id, f"empty {mark}"), (other_id, f"{QCOW2} {mark}")]
    words = ("image-list", "--property-filter", f"place={mark}", "--visibility", "shared", "--include-stores")
    assert [(row["ID"], row["Stores"]) for row in rows(cloud.glance(ME, *words))] == [(other_id, STORES[0])]
    largest = ("--tag", mark, "--sort-key", "size", "--sort-dir", "desc", "--limit", "1")
    assert [row["ID"] for row in rows(cloud.glance(ME, "image-list", *largest))] == [image_id]


@pytest.mark.parametrize("cloud", [pytest.param("keystone", marks=pytest.mark.services)], indirect=True)
def test_members_and_deactivation(cloud: Cloud, disks: Disks, mark: str) -> None:
    image_id = create(cloud, disks, RAW, mark, "--tags", mark)["id"]
    other = cloud.project("other")
    added = rows(cloud.glance(ME, "member-create", image_id, other))
    assert [(row["Member ID"], row["Status"]) for row in added] == [(other, "pending")]
    cloud.glance("other", "member-update", image_id, other, "accepted")
    listed = rows(cloud.glance(ME, "member-list", "--image-id", image_id))
    assert [(row["Image ID"], row["Member ID"], row["Status"]) for row in listed] == [(image_id, other, "accepted")]
    found = rows(cloud.glance("other", "image-list", "--member-status", "accepted", "--tag", mark))
    assert [row["ID"] for row in found] == [image_id]

    cloud.glance("admin", "image-deactivate", image_id)
    cloud.glance("other", "image-download", "--file", "refused", image_id, code=1)
    cloud.glance("admin", "image-reactivate", image_id)
    cloud.glance("other", "image-download", "--file", "copy", image_id)
    disks.require_same(RAW, cloud.folder / "copy", disks.raw.stat().st_size)
    cloud.glance(ME, "member-delete", image_id, other)
    assert rows(cloud.glance(ME, "member-list", "--image-id", image_id)) == []


@pytest.mark.parametrize("cloud", ["none"], indirect=True)
def test_what_the_service_tells_of_itself(cloud: Cloud) -> None:
    described = rows(cloud.glance(ME, "explain", "image"))
    assert {"id", "name", "tags", "os_hash_value", "checksum"} <= {row["Attribute"] for row in described}
    stores = fields(cloud.glance(ME, "stores-info"))["stores"]
    assert f'"id": "{STORES[0]}"' in stores
    assert '"default": "true"' in stores
    detail = cloud.glance("admin", "stores-info", "--detail")
    assert str(cloud.folder / STORES[1]) in detail.replace(" ", "").replace("|", "").replace("\n", "")
    assert "import-methods" in cloud.glance(ME, "import-info")


@pytest.mark.parametrize("cloud", ["none"], indirect=True)
def test_a_store_that_is_not_there(cloud: Cloud, disks: Disks, mark: str) -> None:
    words = ("--disk-format", RAW, "--container-format", "bare", "--file", str(disks.raw), "--name", mark)
    cloud.glance(ME, "image-create", *words, "--store", "nowhere", code=1)
    assert cloud.server.rows("SELECT id FROM images WHERE name = :name", name=mark) == []
