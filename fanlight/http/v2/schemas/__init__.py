"""The schemas of the Image API V2: the documents served below /v2/schemas, and the validators made of them.

Built once at start. A request body is checked here, before its operation runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from fanlight.errors import Forbidden, Invalid, SettingsError
from fanlight.http.v2.schemas import texts
from fanlight.http.v2.schemas.custom import CustomProperties
from fanlight.operations.changes import ADDRESS_FIELDS, created_fields

if TYPE_CHECKING:
    from fanlight.settings import FormatSettings

LARGEST_MINIMUM = 2**31 - 1
"""Largest `min_disk` (GiB) and `min_ram` (MiB): the columns are 32 bits wide."""

_LONGEST_REASON = 300


class Schemas:
    """All schema documents by name, and the validators of request bodies.

    `custom`: what a `schema-image.json` declares. Raises SettingsError when that contradicts a base property, or is no
    JSON schema.
    """

    def __init__(self, formats: FormatSettings, custom: CustomProperties | None = None) -> None:
        custom = custom or CustomProperties()
        self._properties = texts.image_properties(formats.container_formats, formats.disk_formats)
        custom.require_compatible(self._properties)
        self._properties.update(custom.properties)
        self.declared = frozenset(custom.properties)
        """The names of custom properties that an operator declared."""
        for name, schema in custom.properties.items():
            _require_schema(f"{custom.file}: the schema of {name}", {name: schema})
        _require_schema(f"{custom.file}: its schemas together", custom.properties)
        image = texts.image_document(self._properties, custom.required)
        member, task = texts.member_document(), texts.task_document()
        self.documents: Mapping[str, dict[str, Any]] = {
            "image": image,
            "images": texts.images_document(image),
            "member": member,
            "members": texts.members_document(member),
            "task": task,
            "tasks": texts.tasks_document(task),
        }
        checked = _with_ranges(self._properties)
        self._create = _validator(checked, custom.required)
        # One validator a property: a PATCH names them one by one, and `required` is about whole images.
        self._values = {name: _validator({name: schema}, ()) for name, schema in checked.items()}
        self._other = _validator({}, ())

    def image_fields(self, document: dict[str, Any]) -> dict[str, Any]:
        """The fields of a new image as the record has them (custom properties under `properties`).

        `document` is what `decode_body` gave. Raises Forbidden (read-only or reserved name), Invalid (types, lengths,
        formats).
        """
        for name in ADDRESS_FIELDS:
            if name in document:
                raise Forbidden(f"Attribute '{name}' is read-only.")
        _validate(self._create, document)
        return created_fields(document)

    def validate_value(self, name: str, value: object) -> None:
        """Raise Invalid unless `value` may stand under `name` in an image."""
        _validate(self._values.get(name, self._other), {name: value})


def _require_schema(what: str, properties: Mapping[str, Any]) -> None:
    try:
        _validator(properties, ())
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        reason = " ".join(getattr(error, "message", str(error)).split())[:_LONGEST_REASON]
        raise SettingsError(f"{what} cannot be used: {reason}") from None


def _with_ranges(properties: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is checked of a request: the served schema, and the ranges that it does not tell."""
    sized = {"minimum": 0, "maximum": LARGEST_MINIMUM}
    return {**properties, **{name: {**properties[name], **sized} for name in ("min_disk", "min_ram")}}


def _validator(properties: Mapping[str, Any], required: Collection[str]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        {
            "type": "object",
            "properties": dict(properties),
            "additionalProperties": {"type": "string"},
            "required": list(required),
        }
    )


def _validate(validator: jsonschema_rs.Draft202012Validator, document: dict[str, Any]) -> None:
    try:
        validator.validate(document)
    except jsonschema_rs.ValidationError as error:
        where = "/".join(str(part) for part in error.instance_path) or "the body"
        raise Invalid(f"Invalid value of {where}: {error.message[:_LONGEST_REASON]}") from None
    except ValueError as error:
        # The validator has limits of its own: how deep a document may be nested, for one.
        raise Invalid(f"The body cannot be checked: {error}") from None
