"""The query string of `GET /v2/images` to an `ImageQuery`: paging, order and filters (Image API V2, "List images").

Runs before the operation. Everything that cannot be is Invalid (400) here, so that no database ever sees a value of
the wrong type. A name that is no parameter and no column of an image is a custom property to be equal to.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from oslo_utils import timeutils

from fanlight.errors import Invalid
from fanlight.model import MEMBER_STATUSES, VISIBILITIES, Filter, ImageQuery

if TYPE_CHECKING:
    from fanlight.settings import Settings

SORT_KEYS = frozenset({"name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"})
TIE_BREAKERS = ("created_at", "id")
TIME_OPERATORS = frozenset({"gt", "gte", "eq", "neq", "lt", "lte"})
MOST_CONDITIONS = 50
"""How many tags and custom properties one request may ask for: each costs the database one more look-up an image."""

_LISTED_COLUMNS = frozenset({"name", "id", "status", "container_format", "disk_format"})
"""Columns that take `eq:` and `in:`."""
_TIME_COLUMNS = frozenset({"created_at", "updated_at"})
_TEXT_COLUMNS = frozenset({"owner", "checksum", "os_hash_value", "os_hash_algo"})
_NUMBER_COLUMNS = {"min_disk": 2**31 - 1, "min_ram": 2**31 - 1, "size": 2**63 - 1, "virtual_size": 2**63 - 1}
"""Columns of numbers, and the largest that each holds; the smallest is one beyond its negative."""
_PAGING = frozenset({"limit", "marker", "sort", "sort_key", "sort_dir", "tag", "member_status", "deleted"})
"""Parameters that are read elsewhere than in the loop over filters, or have no effect (`deleted`)."""


def parse_list_query(query_string: str, settings: Settings) -> ImageQuery:
    """What a list asks for, from the raw query string. Raises Invalid."""
    several: dict[str, list[str]] = {}
    for name, value in decode(query_string):
        several.setdefault(name, []).append(value)
    last = {name: values[-1] for name, values in several.items()}
    wanted: dict[str, Any] = {"filters": [], "properties": {}}
    for name, value in last.items():
        if name not in _PAGING:
            _add_filter(wanted, name, value)
    tags = tuple(dict.fromkeys(tag.strip() for tag in several.get("tag", ())))
    if len(tags) + len(wanted["properties"]) > MOST_CONDITIONS:
        raise Invalid(f"A list takes at most {MOST_CONDITIONS} tags and properties to filter by.")
    return ImageQuery(
        limit=_limit(last.get("limit"), settings.api.limit_param_default, settings.api.api_limit_max),
        marker=last.get("marker"),
        sort=_sort(several),
        filters=tuple(wanted.pop("filters")),
        tags=tags,
        member_status=_one_of("member_status", last.get("member_status", "accepted"), (*MEMBER_STATUSES, "all")),
        **wanted,
    )


def decode(query_string: str) -> list[tuple[str, str]]:
    """Names and values of a query string, in order. Raises Invalid for what is not UTF-8 or can never be stored."""
    if not query_string:
        return []
    try:
        pairs = parse_qsl(query_string, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:
        raise Invalid("The query string is not UTF-8, or has too many parameters.") from None
    if "\ufffd" in query_string:
        # The head was decoded leniently; a replacement character in it stands for bytes that were not UTF-8.
        raise Invalid("The query string is not UTF-8.")
    for name, value in pairs:
        if "\0" in name or "\0" in value or max(name + value, default="") > "\uffff":
            raise Invalid("The query string holds characters that no field of an image may have.")
    return pairs


def _add_filter(wanted: dict[str, Any], name: str, value: str) -> None:
    handler = _FILTERS.get(name)
    if handler is not None:
        handler(wanted, name, value)
    elif name.endswith(("_min", "_max")):
        _add_bound(wanted, name, value)
    else:
        wanted["properties"][name] = value


def _visibility(wanted: dict[str, Any], name: str, value: str) -> None:
    # An empty visibility is no error; it is a visibility that no image has.
    wanted["visibility"] = _one_of(name, value, (*VISIBILITIES, "all", ""))


def _os_hidden(wanted: dict[str, Any], name: str, value: str) -> None:
    wanted["os_hidden"] = _one_of(name, value.lower(), ("true", "false")) == "true"


def _protected(wanted: dict[str, Any], name: str, value: str) -> None:
    wanted["filters"].append(Filter(name, "eq", _one_of(name, value, ("true", "false")) == "true"))


def _no_changes_since(wanted: dict[str, Any], name: str, value: str) -> None:
    raise Invalid(f"The filter {name} is not part of this API version; use updated_at=gte:TIME.")


def _listed(wanted: dict[str, Any], name: str, value: str) -> None:
    operator, operand = _split_operator(value)
    if operator == "in":
        wanted["filters"].append(Filter(name, "in", split_quoted(operand)))
    elif operator == "eq":
        wanted["filters"].append(Filter(name, "eq", operand))
    else:
        raise Invalid(
            f"The filter {name} knows no operator '{operator}'; write {name}=eq:VALUE for a value with a colon."
        )


def _time(wanted: dict[str, Any], name: str, value: str) -> None:
    operator, operand = _split_operator(value)
    if operator not in TIME_OPERATORS:
        raise Invalid(f"The filter {name} knows no operator '{operator}'.")
    wanted["filters"].append(Filter(name, operator, _moment(name, operand)))


def _text(wanted: dict[str, Any], name: str, value: str) -> None:
    wanted["filters"].append(Filter(name, "eq", value))


def _number(wanted: dict[str, Any], name: str, value: str) -> None:
    wanted["filters"].append(_compared(name, "eq", _integer(name, value)))


_FILTERS: Mapping[str, Callable[[dict[str, Any], str, str], None]] = {
    "visibility": _visibility,
    "os_hidden": _os_hidden,
    "protected": _protected,
    "changes-since": _no_changes_since,
    **dict.fromkeys(_LISTED_COLUMNS, _listed),
    **dict.fromkeys(_TIME_COLUMNS, _time),
    **dict.fromkeys(_TEXT_COLUMNS, _text),
    **dict.fromkeys(_NUMBER_COLUMNS, _number),
}


def _add_bound(wanted: dict[str, Any], name: str, value: str) -> None:
    """`<column>_min` and `<column>_max`, both inclusive, for columns that have an order clients can name."""
    column, operator = name[:-4], "gte" if name.endswith("_min") else "lte"
    if column in _NUMBER_COLUMNS:
        found = _compared(column, operator, _integer(name, value))
    elif column in _TIME_COLUMNS:
        found = Filter(column, operator, _moment(name, value))
    elif column in _TEXT_COLUMNS or column in _LISTED_COLUMNS:
        found = Filter(column, operator, value)
    else:
        raise Invalid(f"The filter {name} names no column of an image.")
    wanted["filters"].append(found)


def _compared(column: str, operator: str, number: int) -> Filter:
    """A condition on a column of numbers that means the same for every number, and asks databases only what they can
    compare: a bound that all images are within becomes the column's own, and what none can have is among nothing.
    """
    largest = _NUMBER_COLUMNS[column]
    smallest = -largest - 1
    if operator == "gte":
        number = max(number, smallest)
    elif operator == "lte":
        number = min(number, largest)
    return Filter(column, operator, number) if smallest <= number <= largest else Filter(column, "in", ())


def _split_operator(value: str) -> tuple[str, str]:
    """Operator and operand. A value without colon, and a whole time, is compared for equality."""
    left, colon, right = value.partition(":")
    if not colon:
        return "eq", value
    if left not in TIME_OPERATORS and left != "in":
        try:
            timeutils.parse_isotime(value)
        except ValueError:
            return left, right
        return "eq", value
    return left, right


def split_quoted(text: str) -> tuple[str, ...]:
    """Items of a comma-separated list; an item in double quotes may hold commas, and `\\"` for a quote.

    Raises Invalid when a quote is not closed or does not stand beside a comma.
    """
    items: list[str] = []
    position, end = 0, len(text)
    while position < end:
        if text[position] == '"':
            item, position = _quoted_item(text, position + 1)
        else:
            stop = text.find(",", position)
            stop = end if stop < 0 else stop
            item = text[position:stop]
            if '"' in item.replace('\\"', ""):
                raise Invalid("A quotation mark in a filter must stand at the beginning or the end of a value.")
            item, position = item.replace('\\"', '"'), stop
        items.append(item)
        position += 1
    return tuple(items)


def _quoted_item(text: str, position: int) -> tuple[str, int]:
    """The item that begins after an opening quote, and where its comma (or the end) is."""
    found: list[str] = []
    while position < len(text):
        character = text[position]
        if character == "\\" and text[position + 1 : position + 2] in ('"', "\\"):
            found.append(text[position + 1])
            position += 2
            continue
        position += 1
        if character == '"':
            if position < len(text) and text[position] != ",":
                raise Invalid("A closing quotation mark in a filter must be followed by a comma.")
            return "".join(found), position
        found.append(character)
    raise Invalid("A quotation mark in a filter is not closed.")


def _limit(value: str | None, default: int, largest: int) -> int:
    if value is None:
        return min(default, largest)
    try:
        limit = int(value)
    except ValueError:
        raise Invalid("limit must be an integer.") from None
    if limit < 0:
        raise Invalid("limit must not be negative.")
    return min(limit, largest)


def _sort(several: Mapping[str, list[str]]) -> tuple[tuple[str, str], ...]:
    """Keys and directions, from either syntax, with the tie-breakers that make the order total."""
    if "sort" in several:
        if "sort_key" in several or "sort_dir" in several:
            raise Invalid("The parameter sort cannot be combined with sort_key and sort_dir.")
        parts = [part.partition(":") for part in ",".join(several["sort"]).strip().split(",")]
        keys = [part[0].strip() for part in parts]
        directions = [part[2].strip() or "desc" for part in parts]
    else:
        keys = [key.strip() for key in several.get("sort_key", ())]
        directions = [direction.strip() for direction in several.get("sort_dir", ())]
        if len(directions) > 1 and len(directions) != len(keys):
            raise Invalid("There must be one sort_dir for all, or as many as there are sort_key.")
        keys = keys or ["created_at"]
    for key in keys:
        _one_of("sort key", key, SORT_KEYS)
    for direction in directions:
        _one_of("sort direction", direction, ("asc", "desc"))
    default = directions[0] if len(directions) == 1 else "desc"
    if len(directions) <= 1:
        directions = [default] * len(keys)
    order = dict(zip(reversed(keys), reversed(directions), strict=True))
    chosen = {key: order[key] for key in keys}
    for key in TIE_BREAKERS:
        chosen.setdefault(key, default)
    return tuple(chosen.items())


def _one_of(what: str, value: str, allowed: tuple[str, ...] | frozenset[str]) -> str:
    if value not in allowed:
        raise Invalid(f"Invalid {what}: '{value}'. It must be one of: {', '.join(sorted(filter(None, allowed)))}.")
    return value


def _integer(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise Invalid(f"The filter {name} takes an integer.") from None


def _moment(name: str, value: str) -> datetime.datetime:
    """An ISO 8601 time as naive UTC."""
    try:
        return timeutils.normalize_time(timeutils.parse_isotime(value))
    except (ValueError, OverflowError):
        raise Invalid(f"The filter {name} takes a time in ISO 8601 notation.") from None
