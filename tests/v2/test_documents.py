"""Records to documents: every field, what is left out, links, and the price of it."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fanlight.http.v2.documents import (
    DocumentOptions,
    image_document,
    images_document,
    member_document,
    members_document,
)
from fanlight.model import Caller, Image, Location, Member

MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
BARE = Image(id="i-1", status="queued", created_at=MOMENT, updated_at=MOMENT)
MEMBER, ADMIN = Caller(project_id="p"), Caller(is_admin=True)
NEAR = Location(url="file:///near/i-1", metadata={"store": "near"})
FAR = Location(url="rbd://far/i-1", metadata={"store": "far", "x": 1})
STORED = replace(BARE, status="active", locations=(NEAR, FAR))


def shown(image: Image, caller: Caller = MEMBER, **options: Any) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(image_document(image, DocumentOptions(**options), caller))
    )
    return document


def test_bare_image() -> None:
    assert shown(BARE) == {
        "id": "i-1",
        "name": None,
        "status": "queued",
        "visibility": "shared",
        "protected": False,
        "os_hidden": False,
        "owner": None,
        "container_format": None,
        "disk_format": None,
        "min_disk": 0,
        "min_ram": 0,
        "size": None,
        "virtual_size": None,
        "checksum": None,
        "os_hash_algo": None,
        "os_hash_value": None,
        "tags": [],
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:05Z",
        "self": "/v2/images/i-1",
        "file": "/v2/images/i-1/file",
        "schema": "/v2/schemas/image",
    }


def test_custom_properties() -> None:
    document = shown(replace(BARE, properties={"b": "c", "none": None, "empty": ""}))
    assert (document["b"], document["none"], document["empty"]) == ("c", "", "")


@pytest.mark.parametrize("name", ["os_glance_stage_host", "os_glance_hash_op_host"])
def test_hidden_properties(name: str) -> None:
    assert name not in shown(replace(BARE, properties={name: "http://worker"}), ADMIN)


def test_other_internal_properties_are_shown() -> None:
    assert shown(replace(BARE, properties={"os_glance_failed_import": ""}))["os_glance_failed_import"] == ""


@pytest.mark.parametrize("name", ["status", "id", "checksum", "self", "os_hash_value", "owner"])
def test_a_property_never_poses_as_a_field(name: str) -> None:
    assert shown(replace(BARE, properties={name: "forged"})) == shown(BARE)


@pytest.mark.parametrize("name", ["direct_url", "locations", "stores"])
def test_a_property_never_poses_as_a_location(name: str) -> None:
    assert name not in shown(replace(BARE, properties={name: "forged"}))


def test_locations_are_hidden_by_default() -> None:
    document = shown(STORED)
    assert document["stores"] == "near,far"
    assert "direct_url" not in document
    assert "locations" not in document


def test_stores_need_several_stores_and_a_store_id() -> None:
    assert "stores" not in shown(STORED, multi_store=False)
    assert "stores" not in shown(replace(BARE, locations=(Location(url="file:///x"),)))
    assert "stores" not in shown(BARE)


def test_direct_url() -> None:
    assert shown(STORED, show_image_direct_url=True)["direct_url"] == NEAR.url
    assert "direct_url" not in shown(BARE, show_image_direct_url=True)


def test_locations() -> None:
    assert shown(STORED, show_multiple_locations=True)["locations"] == [
        {"url": NEAR.url, "metadata": {"store": "near"}},
        {"url": FAR.url, "metadata": {"store": "far", "x": 1}},
    ]
    assert shown(BARE, show_multiple_locations=True)["locations"] == []


def test_the_heaviest_store_comes_first() -> None:
    document = shown(STORED, show_image_direct_url=True, show_multiple_locations=True, weights={"near": 1, "far": 2})
    assert document["stores"] == "far,near"
    assert document["direct_url"] == FAR.url
    assert [location["url"] for location in document["locations"]] == [FAR.url, NEAR.url]


def test_equal_weights_keep_the_order() -> None:
    assert shown(STORED, weights={"near": 3, "far": 3})["stores"] == "near,far"


def test_a_deactivated_image_hides_its_places() -> None:
    image = replace(STORED, status="deactivated")
    options: dict[str, Any] = {"show_image_direct_url": True, "show_multiple_locations": True}
    document = shown(image, **options)
    assert document["locations"] == []
    assert "direct_url" not in document
    assert "stores" not in document
    assert len(shown(image, ADMIN, **options)["locations"]) == 2


def test_list_document() -> None:
    page = images_document([BARE], DocumentOptions(), MEMBER)
    assert page["images"][0]["id"] == "i-1"
    assert (page["first"], page["schema"]) == ("/v2/images", "/v2/schemas/images")
    assert "next" not in page


def test_links_repeat_every_parameter_but_the_marker() -> None:
    query = "tag=a&marker=old&tag=b%20c&limit=1&name=%C3%A9"
    page = images_document([BARE], DocumentOptions(), MEMBER, query, "i-1")
    assert page["first"] == "/v2/images?tag=a&tag=b+c&limit=1&name=%C3%A9"
    assert page["next"] == "/v2/images?tag=a&tag=b+c&limit=1&name=%C3%A9&marker=i-1"


def test_next_without_parameters() -> None:
    assert images_document([BARE], DocumentOptions(), MEMBER, "", "i-1")["next"] == "/v2/images?marker=i-1"


def test_members() -> None:
    member = Member(image_id="i-1", member_id="p-2", status="pending", created_at=MOMENT, updated_at=MOMENT)
    document = {
        "member_id": "p-2",
        "image_id": "i-1",
        "status": "pending",
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:05Z",
        "schema": "/v2/schemas/member",
    }
    assert member_document(member) == document
    assert members_document([member]) == {"members": [document], "schema": "/v2/schemas/members"}
