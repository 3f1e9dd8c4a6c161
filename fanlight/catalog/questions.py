"""Questions to other services that come up in a transaction, and are asked while none is open.

A decision about an image may depend on somebody else (a policy check `http:`). Asked in the middle of a transaction, it
would hold the row, and on SQLite all writers of all processes, for as long as the answer takes. So the first time that
a question comes up the transaction is rolled back, the question is asked, and the operation begins again (`retried`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

MOST = 32
"""Questions of one operation; if what is asked about keeps changing meanwhile, it is asked in the transaction."""


class Unanswered(Exception):
    """A question that must be asked before the transaction can go on. `retried` does that; nobody else catches it."""

    def __init__(self, key: str, ask: Callable[[], bool]) -> None:
        super().__init__(key)
        self.key = key
        self.ask = ask


class _Operation(threading.local):
    """Of one thread: whether it is in a transaction that writes, and the answers that its operation knows."""

    writing = False
    known: dict[str, bool] | None = None


OPERATION = _Operation()


def answer(key: str, ask: Callable[[], bool]) -> bool:
    """What `ask` says. `key` tells one question from another. Raises Unanswered in the middle of a transaction."""
    known = OPERATION.known
    if not OPERATION.writing or known is None or len(known) >= MOST:
        return ask()
    if key not in known:
        raise Unanswered(key, ask)
    return known[key]
