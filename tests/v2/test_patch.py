"""PATCH bodies in both dialects, and what their operations make of an image."""

from __future__ import annotations

import datetime
import json

import pytest
from msgspec.structs import replace

from fanlight.errors import FanlightError, Forbidden, Invalid, PatchConflict
from fanlight.http.faults import fault_of
from fanlight.http.v2 import patch
from fanlight.http.v2.patch import DRAFT_4, DRAFT_10, decode_pointer
from fanlight.http.v2.schemas import Schemas
from fanlight.model import Caller, Image
from fanlight.operations.changes import Operation, apply, created_fields, location_operations
from fanlight.settings import FormatSettings

from .tables import PATCHED, PATCHES, Patch

SCHEMAS = Schemas(FormatSettings(container_formats=("bare", "ovf"), disk_formats=("raw", "qcow2")))
MOMENT = datetime.datetime(2026, 1, 1)
OWNER, ADMIN = Caller(project_id="proj-a"), Caller(project_id="proj-admin", is_admin=True)
IMAGE = Image(
    id="i-1", status="queued", created_at=MOMENT, updated_at=MOMENT, owner="proj-a", **created_fields(PATCHED)
)


def changed(body: object, media_type: str | None = DRAFT_10, image: Image = IMAGE, caller: Caller = OWNER) -> Image:
    raw = b"" if body is None else json.dumps(body).encode()
    return apply(image, patch.parse(media_type, raw, SCHEMAS), caller)


@pytest.mark.parametrize(
    "row", [row for row in PATCHES if not row.operation], ids=lambda row: f"{row.status} {str(row.body)[:50]}"
)
def test_status_of_patch(row: Patch) -> None:
    image = replace(IMAGE, status="active") if row.active else IMAGE
    try:
        changed(row.body, row.media_type, image, ADMIN if row.admin else OWNER)
        status = 200
    except FanlightError as error:
        status = fault_of(error).status
    assert status == row.status


def test_no_operations_change_nothing() -> None:
    assert changed([]) is IMAGE


def test_any_operation_makes_a_new_record() -> None:
    same = changed([{"op": "replace", "path": "/name", "value": "before"}])
    assert same == IMAGE
    assert same is not IMAGE


def test_operations_apply_in_order() -> None:
    image = changed(
        [
            {"op": "add", "path": "/new", "value": "1"},
            {"op": "replace", "path": "/new", "value": "2"},
            {"op": "remove", "path": "/x"},
            {"op": "replace", "path": "/name", "value": "after"},
            {"op": "replace", "path": "/tags", "value": ["b", "a", "b"]},
            {"op": "replace", "path": "/min_disk", "value": 3.0},
            {"op": "replace", "path": "/a~1b", "value": "slash"},
            {"op": "replace", "path": "/t~0d", "value": "tilde"},
        ]
    )
    assert image.name == "after"
    assert image.tags == ("b", "a")
    assert (image.min_disk, type(image.min_disk)) == (3, int)
    assert image.properties == {"new": "2", "a/b": "slash", "t~d": "tilde"}
    assert IMAGE.properties == {"x": "y", "a/b": "c", "t~d": "e"}


def test_names_of_internals_are_ordinary_properties() -> None:
    names = ("extra_properties", "image_id", "member", "delete", "properties", "locations_", "__class__")
    image = changed([{"op": "add", "path": f"/{name}", "value": "v"} for name in names])
    assert {name: image.properties[name] for name in names} == dict.fromkeys(names, "v")
    assert image.id == IMAGE.id


def test_an_empty_owner_is_no_owner() -> None:
    assert changed([{"op": "replace", "path": "/owner", "value": ""}], caller=ADMIN).owner is None


@pytest.mark.parametrize("op", ["add", "replace"])
@pytest.mark.parametrize("media_type", [DRAFT_4, DRAFT_10])
def test_only_administrators_give_images_away(op: str, media_type: str) -> None:
    operation = {"op": op, "path": "/owner", "value": "proj-b"}
    with pytest.raises(Forbidden):
        changed([{op: "/owner", "value": "proj-b"} if media_type == DRAFT_4 else operation], media_type)


@pytest.mark.parametrize("status", ["queued", "importing"])
def test_formats_are_open(status: str) -> None:
    image = changed([{"op": "add", "path": "/container_format", "value": "ovf"}], image=replace(IMAGE, status=status))
    assert image.container_format == "ovf"


@pytest.mark.parametrize("status", ["saving", "uploading", "active", "deactivated", "pending_delete", "killed"])
@pytest.mark.parametrize("name", ["disk_format", "container_format"])
def test_formats_are_closed(status: str, name: str) -> None:
    with pytest.raises(Forbidden):
        changed([{"op": "add", "path": f"/{name}", "value": None}], image=replace(IMAGE, status=status), caller=ADMIN)


def test_a_failing_operation_leaves_the_record() -> None:
    with pytest.raises(PatchConflict):
        changed([{"op": "add", "path": "/new", "value": "v"}, {"op": "remove", "path": "/absent"}])
    assert "new" not in IMAGE.properties


def test_stores_of_an_old_row_can_be_removed() -> None:
    image = replace(IMAGE, properties={"stores": "forged"})
    assert changed([{"op": "remove", "path": "/stores"}], image=image).properties == {}


def test_a_null_property_of_an_old_row_exists() -> None:
    image = replace(IMAGE, properties={"old": None})
    assert changed([{"op": "replace", "path": "/old", "value": "v"}], image=image).properties == {"old": "v"}


def test_location_operations_are_told_apart() -> None:
    operations = patch.parse(
        DRAFT_10,
        b'[{"op":"add","path":"/locations/-","value":{"url":"u","metadata":{}}},{"op":"add","path":"/x","value":"v"}]',
        SCHEMAS,
    )
    assert location_operations(operations) == [Operation("add", ("locations", "-"), {"url": "u", "metadata": {}})]


@pytest.mark.parametrize(
    ("pointer", "segments"),
    [
        ("/a", ("a",)),
        ("/a/b", ("a", "b")),
        ("/a~1b", ("a/b",)),
        ("/a~0b", ("a~b",)),
        ("/~01", ("~1",)),
        ("/~1~0", ("/~",)),
        ("/ a ", ("a",)),
        ("/\u00e9", ("\u00e9",)),
    ],
)
def test_pointer(pointer: str, segments: tuple[str, ...]) -> None:
    assert decode_pointer(pointer) == segments


@pytest.mark.parametrize("pointer", ["", "a", "/", "//", "/a/", "/a//b", "/ ", "/~", "/~2", "/a~", None, 5, ["a"], {}])
def test_bad_pointer(pointer: object) -> None:
    with pytest.raises(Invalid):
        decode_pointer(pointer)


@pytest.mark.parametrize("body", [b"", b"{", b"[", b"nul", b'["\xff"]', b"[NaN]", b"[" * 5000, b'"\\ud800"'])
def test_bad_json(body: bytes) -> None:
    with pytest.raises(Invalid):
        patch.parse(DRAFT_10, body, SCHEMAS)
