"""The body of `PATCH /v2/images/{id}` to a list of operations, in both dialects (Image API V2, "JSON patch").

Pure: everything that can be refused without looking at the image is refused here, before it is read. What the
operations do to an image is `operations.changes.apply`.
"""

from __future__ import annotations

from typing import Any

from fanlight.errors import Invalid
from fanlight.http.faults import UnsupportedPatch
from fanlight.http.json import decode_body
from fanlight.http.v2.schemas import Schemas
from fanlight.operations.changes import Operation, require_changeable

DRAFT_4 = "application/openstack-images-v2.0-json-patch"
DRAFT_10 = "application/openstack-images-v2.1-json-patch"
ACCEPT_PATCH = f"{DRAFT_4}, {DRAFT_10}"
OPERATIONS = ("add", "remove", "replace")
_LOCATION_DEPTHS = {"add": 2, "remove": 2, "replace": 1}


def parse(content_type: str | None, body: bytes, schemas: Schemas) -> list[Operation]:
    """The operations of a PATCH, each checked by itself.

    Raises UnsupportedPatch (media type), Invalid (JSON, operation, pointer, value), Forbidden (a name that no client
    may change).
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type not in (DRAFT_4, DRAFT_10):
        raise UnsupportedPatch(ACCEPT_PATCH)
    document = decode_body(body)
    if not isinstance(document, list):
        raise Invalid("The body of a PATCH is a JSON array of operations.")
    return [_operation(raw, media_type == DRAFT_4, schemas) for raw in document]


def _operation(raw: object, strict: bool, schemas: Schemas) -> Operation:
    if not isinstance(raw, dict):
        raise Invalid("Each operation of a PATCH is a JSON object.")
    op, pointer = _split_draft_4(raw) if strict else _split_draft_10(raw)
    path = decode_pointer(pointer)
    depth = _LOCATION_DEPTHS[op] if path[0] == "locations" else 1
    if len(path) != depth:
        raise Invalid(f"The pointer {pointer} leads to nothing that {op} can change.")
    if op != "remove" and "value" not in raw:
        raise Invalid(f"The operation {op} needs a member named 'value'.")
    require_changeable(path[0])
    if op == "remove":
        return Operation(op, path, None, strict)
    value = raw["value"]
    schemas.validate_value(path[0], [value] if depth == 2 else value)
    return Operation(op, path, value, strict)


def _split_draft_10(raw: dict[str, Any]) -> tuple[str, object]:
    op = raw.get("op")
    if op not in OPERATIONS:
        raise Invalid(f"The member 'op' of an operation is one of: {', '.join(OPERATIONS)}.")
    if "path" not in raw:
        raise Invalid("An operation needs a member named 'path'.")
    return op, raw["path"]


def _split_draft_4(raw: dict[str, Any]) -> tuple[str, object]:
    found = [op for op in OPERATIONS if op in raw]
    if len(found) != 1:
        raise Invalid("An operation has exactly one member named 'add', 'remove' or 'replace'.")
    return found[0], raw[found[0]]


def decode_pointer(pointer: object) -> tuple[str, ...]:
    """The segments of a JSON pointer (RFC 6901): `/` separates, `~1` is a slash, `~0` a tilde. Raises Invalid."""
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise Invalid("A JSON pointer is a text that begins with '/'.")
    segments = tuple(_segment(part) for part in pointer[1:].split("/"))
    if not all(segments):
        raise Invalid(f"The JSON pointer {pointer} has an empty part.")
    return segments


def _segment(part: str) -> str:
    if "~" in part:
        if part.count("~") != part.count("~0") + part.count("~1"):
            raise Invalid("In a JSON pointer '~' is written '~0', and '/' inside of a name '~1'.")
        part = part.replace("~1", "/").replace("~0", "~")
    return part.strip()
