"""Custom image properties that an operator declares in a `schema-image.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from fanlight.errors import SettingsError

FILE_NAME = "schema-image.json"


class CustomProperties(Struct, frozen=True):
    """Declared properties (name -> JSON schema) and which of them a new image must have."""

    properties: Mapping[str, dict[str, Any]] = {}
    required: tuple[str, ...] = ()
    file: str = FILE_NAME

    def require_compatible(self, base: Mapping[str, object]) -> None:
        """Raise SettingsError if a declared property redefines one of `base`."""
        for name, schema in self.properties.items():
            if name in base and {**schema, "is_base": None} != {**_mapping(base[name]), "is_base": None}:
                raise SettingsError(f"{self.file} redefines the property {name}, which every image has.")


def read_custom_properties(path: Path) -> CustomProperties:
    """Read a file in either form: `{name: schema}` or `{"properties": {...}, "required": [...]}`.

    A missing file declares nothing. Raises SettingsError for one that cannot be understood.
    """
    try:
        document = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return CustomProperties()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    declared = _mapping(document)
    required: object = []
    # A property may itself be called `properties`; then the file is flat and has a `type` there.
    if isinstance(declared.get("properties"), dict) and "type" not in declared["properties"]:
        required, declared = declared.get("required", []), _mapping(declared["properties"])
    if not all(isinstance(schema, dict) for schema in declared.values()) or not isinstance(required, list):
        raise SettingsError(f"{path} must map names of properties to schemas.")
    properties = {name: {**schema, "is_base": False} for name, schema in declared.items()}
    return CustomProperties(properties, tuple(str(name) for name in required), str(path))


def _mapping(document: object) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise SettingsError(f"{FILE_NAME} must hold a JSON object.")
    return document
