"""The schemas served, and the validators made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from fanlight.errors import FanlightError, Invalid, SettingsError
from fanlight.http.faults import fault_of
from fanlight.http.json import decode_body
from fanlight.http.v2.schemas import Schemas
from fanlight.http.v2.schemas.custom import CustomProperties, read_custom_properties
from fanlight.settings import FormatSettings

from .tables import CREATES, Create

FORMATS = FormatSettings(container_formats=("bare", "ovf"), disk_formats=("raw", "qcow2"))
SCHEMAS = Schemas(FORMATS)
UUID = "6d2b1a40-0e8b-4f3e-9b1a-0000000000ab"


@pytest.mark.parametrize(
    "row",
    [row for row in CREATES if isinstance(row.body, dict) and not row.operation],
    ids=lambda row: f"{row.status} {str(row.body)[:50]}",
)
def test_status_of_create(row: Create) -> None:
    try:
        SCHEMAS.image_fields(decode_body(json.dumps(row.body).encode()))
        status = 201
    except FanlightError as error:
        status = fault_of(error).status
    assert status == row.status


def test_fields_of_a_new_image() -> None:
    body = {
        "id": UUID,
        "name": "n",
        "tags": ["b", "a", "b"],
        "min_ram": 2.0,
        "owner": "",
        "x": "y",
        "os_hash_algo": "q",
    }
    assert SCHEMAS.image_fields(body) == {
        "id": UUID,
        "name": "n",
        "tags": ("b", "a"),
        "min_ram": 2,
        "owner": None,
        "properties": {"x": "y"},
    }


SINGLE_KEYS = {"name", "properties"}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("image", {"name", "properties", "additionalProperties", "links"}),
        ("images", {"name", "properties", "links"}),
        ("member", SINGLE_KEYS),
        ("members", {"name", "properties", "links"}),
        ("task", SINGLE_KEYS),
        ("tasks", {"name", "properties", "links"}),
    ],
)
def test_document(name: str, keys: set[str]) -> None:
    document = SCHEMAS.documents[name]
    assert document["name"] == name
    assert set(document) == keys
    jsonschema_rs.meta.validate(document)


def test_documents_are_all_there() -> None:
    assert set(SCHEMAS.documents) == {"image", "images", "member", "members", "task", "tasks"}


IMAGE_TYPES: dict[str, Any] = {
    "id": "string",
    "name": ["null", "string"],
    "status": "string",
    "visibility": "string",
    "protected": "boolean",
    "os_hidden": "boolean",
    "checksum": ["null", "string"],
    "os_hash_algo": ["null", "string"],
    "os_hash_value": ["null", "string"],
    "owner": ["null", "string"],
    "size": ["null", "integer"],
    "virtual_size": ["null", "integer"],
    "container_format": ["null", "string"],
    "disk_format": ["null", "string"],
    "created_at": "string",
    "updated_at": "string",
    "tags": "array",
    "direct_url": "string",
    "min_ram": "integer",
    "min_disk": "integer",
    "self": "string",
    "file": "string",
    "stores": "string",
    "schema": "string",
    "locations": "array",
}
READ_ONLY = {
    "status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size", "created_at", "updated_at",
    "direct_url", "self", "file", "stores", "schema",
}  # fmt: skip


def test_image_properties() -> None:
    properties = SCHEMAS.documents["image"]["properties"]
    assert {name: schema["type"] for name, schema in properties.items()} == IMAGE_TYPES
    assert {name for name, schema in properties.items() if schema.get("readOnly")} == READ_ONLY
    assert all(schema["description"] for schema in properties.values())
    assert properties["disk_format"]["enum"] == [None, "raw", "qcow2"]
    assert properties["container_format"]["enum"] == [None, "bare", "ovf"]
    assert {"killed", "deleted", "pending_delete"} < set(properties["status"]["enum"])
    assert set(properties["visibility"]["enum"]) == {"public", "community", "shared", "private"}
    limits = {name: schema["maxLength"] for name, schema in properties.items() if "maxLength" in schema}
    assert limits == {"name": 255, "checksum": 32, "os_hash_algo": 64, "os_hash_value": 128, "owner": 255}


def test_links() -> None:
    links = {link["rel"]: link["href"] for link in SCHEMAS.documents["image"]["links"]}
    assert links == {"self": "{self}", "enclosure": "{file}", "describedby": "{schema}"}
    links = {link["rel"]: link["href"] for link in SCHEMAS.documents["images"]["links"]}
    assert links == {"first": "{first}", "next": "{next}", "describedby": "{schema}"}


def test_listed_tasks_show_less() -> None:
    single, listed = SCHEMAS.documents["task"]["properties"], SCHEMAS.documents["tasks"]["properties"]["tasks"]["items"]
    assert set(single) - set(listed["properties"]) == {"input", "result", "message"}


KERNEL = {"type": ["null", "string"], "pattern": "^k-"}


def test_custom_properties(tmp_path: Path) -> None:
    path = tmp_path / "schema-image.json"
    path.write_text(
        json.dumps({"properties": {"kernel_id": KERNEL, "cores": {"type": "integer"}}, "required": ["cores"]})
    )
    schemas = Schemas(FORMATS, read_custom_properties(path))
    document = schemas.documents["image"]
    assert document["properties"]["kernel_id"] == {**KERNEL, "is_base": False}
    assert document["required"] == ["cores"]
    assert schemas.image_fields({"kernel_id": None, "cores": 5})["properties"] == {"kernel_id": None, "cores": 5}
    for wrong in ({}, {"cores": "5"}, {"cores": 5, "kernel_id": "x"}):
        with pytest.raises(Invalid):
            schemas.image_fields(wrong)


def test_a_required_property_is_not_required_of_every_patch(tmp_path: Path) -> None:
    schemas = Schemas(FORMATS, CustomProperties({"cores": {"type": "integer"}}, ("cores",)))
    schemas.validate_value("name", "n")
    schemas.validate_value("cores", 5)
    with pytest.raises(Invalid):
        schemas.validate_value("cores", "5")


def test_flat_file(tmp_path: Path) -> None:
    path = tmp_path / "schema-image.json"
    path.write_text(json.dumps({"kernel_id": KERNEL}))
    assert read_custom_properties(path).properties == {"kernel_id": {**KERNEL, "is_base": False}}


def test_a_missing_file_declares_nothing(tmp_path: Path) -> None:
    assert read_custom_properties(tmp_path / "absent") == CustomProperties()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 5}', '{"properties": {}, "required": "a"}', '"x"'])
def test_a_file_that_cannot_be_understood(tmp_path: Path, text: str) -> None:
    path = tmp_path / "schema-image.json"
    path.write_text(text)
    with pytest.raises(SettingsError):
        read_custom_properties(path)


def test_base_properties_cannot_be_redefined() -> None:
    with pytest.raises(SettingsError):
        Schemas(FORMATS, CustomProperties({"name": {"type": "integer"}}))
    same = dict(SCHEMAS.documents["image"]["properties"]["name"])
    assert (
        Schemas(FORMATS, CustomProperties({"name": {**same, "is_base": False}})).documents["image"]["name"] == "image"
    )


def test_reasons_name_the_field_and_stay_short() -> None:
    with pytest.raises(Invalid, match="min_disk"):
        SCHEMAS.image_fields({"min_disk": -1})
    with pytest.raises(Invalid) as caught:
        SCHEMAS.image_fields({"name": "n" * 100_000})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("depth", [300, 900])
def test_deep_documents_are_refused(depth: int) -> None:
    nested: Any = "x"
    for _ in range(depth):
        nested = {"a": nested}
    with pytest.raises(Invalid):
        SCHEMAS.image_fields(nested)
    with pytest.raises(Invalid):
        SCHEMAS.validate_value("name", nested)
