"""Which bytes of an image a download wants: `Range` (RFC 9110, 14), and the older habit of sending `Content-Range`."""

from __future__ import annotations

import re
from collections.abc import Callable

from fanlight.errors import Invalid, RangeNotSatisfiable

Wanted = tuple[int, int | None]
_RANGE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+|\*)", re.ASCII | re.IGNORECASE)
_BEYOND = 10**19
"""More bytes than any image has: what numbers of more digits stand for."""


def wanted(range_header: str | None, content_range: str | None) -> Callable[[int | None], Wanted] | None:
    """How to choose (offset, length) once the size in bytes is known; None when the whole image is wanted.

    `Content-Range` counts only where there is no `Range`. Raises Invalid for several ranges (not supported) and
    RangeNotSatisfiable for what cannot be read as a range; the returned function raises RangeNotSatisfiable
    for a range outside the image, or when the image has no known size.
    """
    if range_header is not None:
        return _from_range(range_header)
    if content_range is not None:
        return _from_content_range(content_range)
    return None


def _from_range(header: str) -> Callable[[int | None], Wanted]:
    if "," in header:
        raise Invalid("Requests with multiple ranges are not supported.")
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        raise RangeNotSatisfiable("The Range header could not be understood.")
    first, last = (_number(part) if part else None for part in match.groups())
    if first is not None and last is not None and last < first:
        raise RangeNotSatisfiable("The range ends before it begins.")

    def choose(size: int | None) -> Wanted:
        if size is None:
            raise RangeNotSatisfiable("The size of the image is not known.")
        if first is None:
            length = min(last or 0, size)
            if length == 0:
                raise RangeNotSatisfiable("The range is empty.", size)
            return size - length, length
        if first >= size:
            raise RangeNotSatisfiable("The range begins after the end of the image.", size)
        return first, (size if last is None else min(last + 1, size)) - first

    return choose


def _from_content_range(header: str) -> Callable[[int | None], Wanted]:
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        raise RangeNotSatisfiable("The Content-Range header could not be understood.")
    first, last = _number(match[1]), _number(match[2])
    whole = None if match[3] == "*" else _number(match[3])
    if last < first or (whole is not None and last >= whole):
        raise RangeNotSatisfiable("The Content-Range header names no bytes.")

    def choose(size: int | None) -> Wanted:
        if size is None:
            raise RangeNotSatisfiable("The size of the image is not known.")
        if first >= size or (whole is None and last >= size):
            raise RangeNotSatisfiable("The range begins or ends after the end of the image.", size)
        return first, min(last + 1, size) - first

    return choose


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) < 20 else _BEYOND
