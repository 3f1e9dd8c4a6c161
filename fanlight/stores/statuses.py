"""What the status of an answer over HTTP means, for the back ends that speak it. What a driver knows better (codes in
the body, statuses of a meaning of its own) it looks at first.
"""

from __future__ import annotations

from fanlight.errors import (
    FanlightError,
    ObjectExists,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreDenied,
    StoreError,
    StoreForbidden,
    StoreFull,
    StoreUnreachable,
)

PASSING = frozenset({408, 429, 498, 499, 500, 502, 503, 504})
"""Statuses after which the same request may go well in a moment."""


def meaning(status: int, server: str, *, writing: bool = False) -> FanlightError:
    """The error for a status from 400 on. `server`: its name in the message; `writing`: data was to be added."""
    match status:
        case 401 | 403:
            return StoreDenied() if writing else StoreForbidden()
        case 404:
            return ObjectNotFound()
        case 412:
            return ObjectExists()
        case 413 | 507:
            return StoreFull()
        case 416:
            return RangeNotSatisfiable()
    if status >= 500 or status in PASSING:
        return StoreUnreachable(f"The store cannot be used now: {server} answered {status}.")
    return StoreError(f"The store failed: {server} answered {status}.")
