"""The schema documents themselves, as clients read them below /v2/schemas (Image API V2, "Schemas").

Plain data, one function a document. Types, lengths, patterns and enumerations are the API's; the texts are ours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fanlight.model import MEMBER_STATUSES, VISIBILITIES

Schema = dict[str, Any]

UUID_PATTERN = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
STATUSES = (
    "queued",
    "saving",
    "active",
    "killed",
    "deleted",
    "uploading",
    "importing",
    "pending_delete",
    "deactivated",
)
TASK_TYPES = ("import", "api_image_import", "location_import")
TASK_STATUSES = ("pending", "processing", "success", "failure")
_TIME = "UTC, as YYYY-MM-DDTHH:MM:SSZ."


def image_properties(container_formats: Collection[str], disk_formats: Collection[str]) -> dict[str, Schema]:
    """The properties that every image has, in the order in which they are served."""
    return {**_chosen(), **_measured(), **_formats(container_formats, disk_formats), **_placed()}


def _chosen() -> dict[str, Schema]:
    return {
        "id": {"type": "string", "description": "The image's identifier, a UUID.", "pattern": UUID_PATTERN},
        "name": _text("A name for people; it need not be unique.", 255, nullable=True),
        "status": {
            "type": "string",
            "readOnly": True,
            "description": "Where the image stands in its life.",
            "enum": list(STATUSES),
        },
        "visibility": {
            "type": "string",
            "description": "Which projects may see the image.",
            "enum": sorted(VISIBILITIES),
        },
        "protected": {"type": "boolean", "description": "While true, the image cannot be deleted."},
        "os_hidden": {"type": "boolean", "description": "While true, lists leave the image out unless asked for it."},
    }


def _measured() -> dict[str, Schema]:
    return {
        "checksum": _text("MD5 of the data, in hexadecimal digits.", 32, nullable=True, read_only=True),
        "os_hash_algo": _text("Which hash algorithm gave os_hash_value.", 64, nullable=True, read_only=True),
        "os_hash_value": _text(
            "Hash of the data by os_hash_algo, in hexadecimal digits.", 128, nullable=True, read_only=True
        ),
        "owner": _text("The project that owns the image.", 255, nullable=True),
        "size": {"type": ["null", "integer"], "readOnly": True, "description": "Length of the data in bytes."},
        "virtual_size": {
            "type": ["null", "integer"],
            "readOnly": True,
            "description": "Size in bytes of the disk that the data describes.",
        },
    }


def _formats(container_formats: Collection[str], disk_formats: Collection[str]) -> dict[str, Schema]:
    return {
        "container_format": {
            "type": ["null", "string"],
            "description": "What the data is wrapped in.",
            "enum": [None, *container_formats],
        },
        "disk_format": {
            "type": ["null", "string"],
            "description": "The format of the disk.",
            "enum": [None, *disk_formats],
        },
        "created_at": {"type": "string", "readOnly": True, "description": f"When the record was made. {_TIME}"},
        "updated_at": {"type": "string", "readOnly": True, "description": f"When the record last changed. {_TIME}"},
        "tags": {
            "type": "array",
            "description": "Short texts to find the image by.",
            "items": {"type": "string", "maxLength": 255},
        },
    }


def _placed() -> dict[str, Schema]:
    return {
        "direct_url": {"type": "string", "readOnly": True, "description": "Where the data lies in its store."},
        "min_ram": {"type": "integer", "description": "Memory in MiB that a machine needs to boot the image."},
        "min_disk": {"type": "integer", "description": "Disk space in GiB that a machine needs to boot the image."},
        "self": {"type": "string", "readOnly": True, "description": "The path of this image."},
        "file": {"type": "string", "readOnly": True, "description": "The path of the image's data."},
        "stores": {
            "type": "string",
            "readOnly": True,
            "description": "The stores that hold the data, separated by commas.",
        },
        "schema": {"type": "string", "readOnly": True, "description": "The path of the schema of an image."},
        "locations": {
            "type": "array",
            "description": "Every place where the data lies.",
            "items": {
                "type": "object",
                "properties": {
                    "url": {"type": "string", "maxLength": 255},
                    "metadata": {"type": "object"},
                    "validation_data": _validation_data(),
                },
                "required": ["url", "metadata"],
            },
        },
    }


def _validation_data() -> Schema:
    return {
        "type": "object",
        "description": "What the data at a new location must be; only ever written.",
        "writeOnly": True,
        "additionalProperties": False,
        "properties": {
            "checksum": {"type": "string", "minLength": 32, "maxLength": 32},
            "os_hash_algo": {"type": "string", "maxLength": 64},
            "os_hash_value": {"type": "string", "maxLength": 128},
        },
        "required": ["os_hash_algo", "os_hash_value"],
    }


def image_document(properties: Mapping[str, Schema], required: Collection[str] = ()) -> Schema:
    """The schema of one image. Names that it does not list are custom properties, which are texts."""
    document: Schema = {
        "name": "image",
        "properties": dict(properties),
        "additionalProperties": {"type": "string"},
        "links": [_link("self"), {"rel": "enclosure", "href": "{file}"}, {"rel": "describedby", "href": "{schema}"}],
    }
    if required:
        document["required"] = list(required)
    return document


def images_document(image: Schema) -> Schema:
    """The schema of a page of images."""
    return {
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": image},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [_link("first"), _link("next"), {"rel": "describedby", "href": "{schema}"}],
    }


def member_document() -> Schema:
    """The schema of a project that an image is shared with."""
    return {
        "name": "member",
        "properties": {
            "member_id": {"type": "string", "description": "The project that the image is shared with."},
            "image_id": {"type": "string", "description": "The image that is shared.", "pattern": UUID_PATTERN},
            "created_at": {"type": "string", "description": f"When the sharing began. {_TIME}"},
            "updated_at": {"type": "string", "description": f"When the sharing last changed. {_TIME}"},
            "status": {
                "type": "string",
                "description": "What the project answered to the offer.",
                "enum": list(MEMBER_STATUSES),
            },
            "schema": {"readOnly": True, "type": "string"},
        },
    }


def members_document(member: Schema) -> Schema:
    """The schema of the members of an image."""
    return _collection("members", member)


def task_document() -> Schema:
    """The schema of one task."""
    return {
        "name": "task",
        "properties": {
            "id": {"description": "The task's identifier, a UUID.", "pattern": UUID_PATTERN, "type": "string"},
            "type": {"description": "What the task does.", "enum": list(TASK_TYPES), "type": "string"},
            "status": {"description": "How far the task is.", "enum": list(TASK_STATUSES), "type": "string"},
            "input": {"description": "What the task was given.", "type": ["null", "object"]},
            "result": {"description": "What came out of it.", "type": ["null", "object"]},
            "owner": {"description": "The project that the task belongs to.", "type": "string"},
            "message": {"description": "Progress, or why the task failed.", "type": "string"},
            "image_id": {"description": "The image that the task works on.", "type": "string"},
            "request_id": {"description": "The request that started the task.", "type": "string"},
            "user_id": {"description": "The user who started the task.", "type": "string"},
            "expires_at": {"description": f"When the record may be removed. {_TIME}", "type": ["null", "string"]},
            "created_at": {"description": f"When the task was asked for. {_TIME}", "type": "string"},
            "updated_at": {"description": f"When the task last changed. {_TIME}", "type": "string"},
            "self": {"readOnly": True, "type": "string"},
            "schema": {"readOnly": True, "type": "string"},
        },
    }


def tasks_document(task: Schema) -> Schema:
    """The schema of a list of tasks, which leaves out what only a single task shows."""
    listed = {name: schema for name, schema in task["properties"].items() if name not in ("input", "result", "message")}
    return _collection("tasks", {**task, "properties": listed})


def _collection(name: str, item: Schema) -> Schema:
    return {
        "name": name,
        "properties": {name: {"type": "array", "items": item}, "schema": {"type": "string"}},
        "links": [{"rel": "describedby", "href": "{schema}"}],
    }


def _text(description: str, longest: int, *, nullable: bool = False, read_only: bool = False) -> Schema:
    schema: Schema = {"type": ["null", "string"] if nullable else "string"}
    if read_only:
        schema["readOnly"] = True
    return {**schema, "description": description, "maxLength": longest}


def _link(name: str) -> Schema:
    return {"rel": name, "href": f"{{{name}}}"}
