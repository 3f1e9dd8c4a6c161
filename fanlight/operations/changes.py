"""Changes to the record of an image: which fields a client may set, and what a list of changes makes of a record.

Between the edge, which parses a request into `Operation`s, and `operations.images.update`, which runs `apply` inside
its transaction. Pure: nothing here reads or writes anything, so a retried transaction may call it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from fanlight.errors import Forbidden, Invalid, PatchConflict
from fanlight.model import INTERNAL_PREFIX, Caller, Image
from fanlight.operations.placing import PlaceRules, Places

BASE_FIELDS = frozenset(
    {
        "name",
        "visibility",
        "protected",
        "os_hidden",
        "owner",
        "container_format",
        "disk_format",
        "min_disk",
        "min_ram",
        "tags",
    }
)
"""Fields that a client sets; they always exist, so they can be replaced but not removed."""
ADDRESS_FIELDS = frozenset({"direct_url", "self", "file", "schema", "stores"})
"""Fields that the service derives from where an image is."""
MEASURED_FIELDS = frozenset({"created_at", "updated_at", "status", "checksum", "size", "virtual_size"})
"""Fields that the service alone writes."""
FIXED_FIELDS = frozenset({"id", "os_hash_algo", "os_hash_value"})
"""Fields that can be named at creation at most (the hashes have no effect even then)."""
RESERVED_NAMES = frozenset({"location", "deleted", "deleted_at"})
FORMAT_FIELDS = frozenset({"container_format", "disk_format"})
FORMATS_OPEN = frozenset({"queued", "importing"})
"""Statuses in which the formats may still change."""
LONGEST_NAME = 255
LARGEST_NUMBER = 2**63 - 1
LONGEST_VALUE = 65_535
"""Bytes of a custom property's value: what MariaDB's column holds, the same on every database."""

# PATCH may replace or remove a custom property `stores` of an old row, which is why that name is not in the set.
_READ_ONLY = (ADDRESS_FIELDS | MEASURED_FIELDS | FIXED_FIELDS) - {"stores"}


class Operation(Struct, frozen=True):
    """One change: `op` is add, replace or remove; `path` is a field or property name, or `locations` and a place.

    `strict`: adding what exists is a conflict (JSON-patch dialect 2.0) instead of an overwrite (2.1).
    """

    op: str
    path: tuple[str, ...]
    value: Any = None
    strict: bool = False


def require_changeable(name: str) -> None:
    """Raise Forbidden for a name that no client may change on an existing image, Invalid for one too long or empty."""
    if name in _READ_ONLY:
        raise Forbidden(f"Attribute '{name}' is read-only.")
    require_unreserved(name)


def require_unreserved(name: str) -> None:
    """Raise Forbidden for a name that belongs to the service, Invalid for one that cannot be a property's."""
    if not 0 < len(name) <= LONGEST_NAME:
        raise Invalid(f"The name of a property has between 1 and {LONGEST_NAME} characters.")
    if name in RESERVED_NAMES or name.startswith(INTERNAL_PREFIX):
        raise Forbidden(f"Attribute '{name}' is reserved.")


def created_fields(document: dict[str, Any]) -> dict[str, Any]:
    """The fields of a new `Image` that a client asked for; custom properties under `properties`.

    `document` has the types of the image schema already. The names of `ADDRESS_FIELDS` were refused before it was
    looked at more closely. Raises Forbidden (read-only, reserved), Invalid (a name too long).
    """
    fields: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for name, value in document.items():
        if name in BASE_FIELDS:
            fields[name] = normalize(name, value)
        elif name == "id":
            fields["id"] = value
        elif name in MEASURED_FIELDS:
            raise Forbidden(f"Attribute '{name}' is read-only.")
        elif name == "locations":
            raise Forbidden(f"Attribute '{name}' is reserved.")
        elif name not in FIXED_FIELDS:
            require_unreserved(name)
            _require_storable(name, value)
            properties[name] = value
    fields["properties"] = properties
    return fields


def _require_storable(name: str, value: Any) -> None:
    # No character takes more than three bytes there.
    if isinstance(value, str) and 3 * len(value) > LONGEST_VALUE and len(value.encode()) > LONGEST_VALUE:
        raise Invalid(f"The value of {name} is longer than {LONGEST_VALUE} bytes.")
    # What an operator declared may have other types; the table has texts.
    if isinstance(value, list | dict):
        raise Invalid(f"The value of {name} is a list or an object, which no property can keep.")
    if isinstance(value, int) and not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise Invalid(f"The value of {name} is a number of more than 64 bits.")


def normalize(name: str, value: Any) -> Any:
    """A value as the record keeps it: tags as a set in order, no empty owner, whole numbers as integers."""
    if name == "tags":
        return tuple(dict.fromkeys(value))
    if name == "owner":
        return value or None
    if name in ("min_disk", "min_ram"):
        return int(value)
    return value


def apply(image: Image, operations: Sequence[Operation], caller: Caller, rules: PlaceRules | None = None) -> Image:
    """`image` with all `operations` applied in their order; the same object when there are none.

    `rules`: of locations; None where they cannot be changed. Raises PatchConflict (add of what exists in the strict
    dialect; replace or remove of what does not exist), Forbidden (owner by a non-administrator, formats once data is
    there, removal of a base field, locations), and of locations what `Places.change` does.
    """
    if not operations:
        return image
    draft = _Draft(image, rules)
    for operation in operations:
        draft.apply(operation, caller)
    return draft.image()


def location_operations(operations: Iterable[Operation]) -> list[Operation]:
    """Those of `operations` that change locations, which is an operation of its own."""
    return [operation for operation in operations if operation.path[0] == "locations"]


class _Draft:
    """An image while changes are applied to it."""

    def __init__(self, image: Image, rules: PlaceRules | None) -> None:
        self._before = image
        self._fields: dict[str, Any] = {}
        self._properties = dict(image.properties)
        self._places = Places(image, rules) if rules else None

    def apply(self, operation: Operation, caller: Caller) -> None:
        name = operation.path[0]
        if name == "locations":
            if self._places is None:
                raise Forbidden("The locations of an image cannot be changed here.")
            place = operation.path[1] if len(operation.path) > 1 else ""
            self._places.change(operation.op, place, operation.value)
            return
        require_changeable(name)
        exists = name in BASE_FIELDS or name in self._properties
        if operation.op == "remove":
            self._remove(name, exists)
            return
        if name == "owner" and not caller.is_admin:
            raise Forbidden("Only an administrator may change the owner of an image.")
        if operation.op == "replace" and not exists:
            raise PatchConflict(f"Property {name} does not exist.")
        if operation.op == "add":
            self._require_addable(name, exists, operation.strict)
        self._set(name, operation.value)

    def image(self) -> Image:
        if self._places is not None:
            places = self._places
            self._fields |= {"status": places.status, "locations": tuple(places.locations), **places.hashes}
        return replace(self._before, properties=self._properties, **self._fields)

    def _require_addable(self, name: str, exists: bool, strict: bool) -> None:
        if name == "stores":
            raise Forbidden("Attribute 'stores' is read-only.")
        if exists and strict:
            raise PatchConflict(f"Property {name} already exists.")

    def _remove(self, name: str, exists: bool) -> None:
        if name in BASE_FIELDS:
            raise Forbidden(f"Property {name} may not be removed.")
        if not exists:
            raise PatchConflict(f"Property {name} does not exist.")
        del self._properties[name]

    def _set(self, name: str, value: Any) -> None:
        if name not in BASE_FIELDS:
            _require_storable(name, value)
            self._properties[name] = value
            return
        status = self._places.status if self._places else self._before.status
        if name in FORMAT_FIELDS and status not in FORMATS_OPEN:
            raise Forbidden(f"Attribute {name} can be replaced only for a queued image.")
        self._fields[name] = normalize(name, value)
