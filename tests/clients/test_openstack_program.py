"""The program `openstack`: an image's whole life as an operator types it. Starts are slow, so tests are few."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.cloud import QCOW2, RAW, STORES, Cloud, Disks

ME = "demo"
pytestmark = pytest.mark.timeout(400)
"""Alone on a machine none takes half a minute; next to other work each start of a program may take ten seconds."""
KEYSTONE = pytest.mark.parametrize("cloud", [pytest.param("keystone", marks=pytest.mark.services)], indirect=True)
"""For what does not depend on how one logs in."""


def create(cloud: Cloud, disks: Disks, disk_format: str, mark: str, *words: str) -> dict[str, object]:
    file = str(disks.path(disk_format))
    more = ("--container-format", "bare", "--disk-format", disk_format, "--tag", mark, *words)
    made: dict[str, object] = cloud.openstack(ME, "image", "create", "--file", file, *more, f"{disk_format} {mark}")
    return made


def test_the_life_of_an_image(cloud: Cloud, disks: Disks, mark: str, tmp_path: Path) -> None:
    made = create(cloud, disks, QCOW2, mark, "--property", "colour=blue", "--property", "os_distro=debian", "--private")
    image_id = str(made["id"])
    assert (made["status"], made["visibility"]) == ("active", "private")
    assert made["size"] == disks.qcow2.stat().st_size

    changes = ("--property", "colour=red", "--property", "os_version=12", "--tag", "extra", "--min-ram", "64")
    cloud.openstack(ME, "image", "set", *changes, "--shared", "--protected", "--name", f"renamed {mark}", image_id)
    cloud.openstack(ME, "image", "unset", "--property", "os_distro", "--tag", "extra", image_id)
    shown = cloud.openstack(ME, "image", "show", image_id)
    assert (shown["name"], shown["min_ram"], shown["visibility"]) == (f"renamed {mark}", 64, "shared")
    assert shown["tags"] == [mark]
    assert shown["properties"]["colour"] == "red"
    assert shown["properties"]["os_version"] == "12"
    assert "os_distro" not in shown["properties"]
    assert shown["properties"]["stores"] == STORES[0]
    assert shown["virtual_size"] == disks.raw.stat().st_size

    cloud.openstack(ME, "image", "save", "--file", str(tmp_path / "copy"), image_id)
    disks.require_same(QCOW2, tmp_path / "copy", shown["virtual_size"])

    cloud.openstack(ME, "image", "delete", image_id, code=1)
    cloud.openstack(ME, "image", "set", "--unprotected", image_id)
    cloud.openstack(ME, "image", "delete", image_id)
    cloud.openstack(ME, "image", "show", image_id, code=1)


@KEYSTONE
def test_lists(cloud: Cloud, disks: Disks, mark: str, tmp_path: Path) -> None:
    first = create(cloud, disks, RAW, mark, "--property", "colour=blue")
    second = create(cloud, disks, QCOW2, mark, "--property", "colour=red")
    ids = [first["id"], second["id"]]

    one = cloud.openstack(
        ME, "image", "list", "--long", "--tag", mark, "--property", "colour=red", "--status", "active"
    )
    assert [(row["ID"], row["Disk Format"], row["Size"]) for row in one] == [(ids[1], QCOW2, second["size"])]
    assert one[0]["Checksum"] == second["checksum"]
    assert one[0]["Tags"] == [mark]
    assert one[0]["Project"] == cloud.project(ME)

    # It sorts by itself and filters by property itself; pages and markers are the server's.
    both = cloud.openstack(ME, "image", "list", "--shared", "--tag", mark, "--sort", "name:asc")
    assert [row["ID"] for row in both] == [ids[1], ids[0]]
    newest = cloud.openstack(ME, "image", "list", "--tag", mark, "--limit", "1")
    assert [row["ID"] for row in newest] == ids[1:]
    following = cloud.openstack(ME, "image", "list", "--tag", mark, "--limit", "1", "--marker", str(ids[1]))
    assert [row["ID"] for row in following] == ids[:1]
    named = cloud.openstack(ME, "image", "list", "--name", f"{RAW} {mark}")
    assert [row["ID"] for row in named] == ids[:1]

    cloud.openstack(ME, "image", "save", "--file", str(tmp_path / "copy"), str(ids[0]))
    disks.require_same(RAW, tmp_path / "copy", str(first["virtual_size"]))


@KEYSTONE
def test_a_deactivated_image_is_for_administrators(cloud: Cloud, disks: Disks, mark: str, tmp_path: Path) -> None:
    image_id = str(create(cloud, disks, RAW, mark)["id"])
    cloud.openstack("admin", "image", "set", "--deactivate", image_id)
    assert cloud.openstack(ME, "image", "show", image_id)["status"] == "deactivated"
    save = ("image", "save", "--file", str(tmp_path / "copy"), image_id)
    cloud.openstack(ME, *save, code=1)
    cloud.openstack("admin", "image", "set", "--activate", image_id)
    cloud.openstack(ME, *save)
    disks.require_same(RAW, tmp_path / "copy", disks.raw.stat().st_size)


@KEYSTONE
def test_an_image_is_shared_with_a_project(cloud: Cloud, disks: Disks, mark: str) -> None:
    image_id = str(create(cloud, disks, RAW, mark)["id"])
    other = cloud.project("other")
    cloud.openstack("other", "image", "show", image_id, code=1)
    added = cloud.openstack(ME, "image", "add", "project", image_id, other)
    assert (added["member_id"], added["status"]) == (other, "pending")
    assert cloud.openstack("other", "image", "list", "--tag", mark) == []

    cloud.openstack("other", "image", "set", "--accept", image_id)
    found = cloud.openstack("other", "image", "list", "--shared", "--tag", mark)
    assert [row["ID"] for row in found] == [image_id]
    members = cloud.openstack(ME, "image", "member", "list", image_id)
    assert [(row["Member ID"], row["Status"]) for row in members] == [(other, "accepted")]

    cloud.openstack(ME, "image", "remove", "project", image_id, other)
    cloud.openstack("other", "image", "show", image_id, code=1)


@pytest.mark.parametrize("cloud", ["none"], indirect=True)
def test_stores(cloud: Cloud) -> None:
    stores = cloud.openstack(ME, "image", "stores", "list")
    assert [(row["ID"], row["Default"]) for row in stores] == [(STORES[0], True), (STORES[1], None)]
