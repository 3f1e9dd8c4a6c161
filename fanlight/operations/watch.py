"""Which leases nobody renews any more, told without comparing the clocks of machines.

The keeper looks at the leases in the catalogue a few times in the span of one. A lease that stood there unchanged, in
every look over that span of this process's own steady clock, belongs to nobody who lives. What its `expires_at` says
is compared with what it said before, never with the time: no clock that is wrong, or set meanwhile, costs a transfer.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable

from fanlight.catalog.leases import Standing


class Watch:
    """What one process has seen of the leases. `seconds`: how long a lease lasts without renewal. Thread-safe."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Standing, float] = {}
        self._looked = float("-inf")
        self._lock = threading.Lock()

    def look(self, standing: Iterable[Standing], at: float) -> None:
        """Note what stands in the catalogue `at` this moment (seconds of a clock that is never set).

        Where the last look was long ago, all begins anew: the database was away, so that nobody could renew, or this
        process stood still.
        """
        with self._lock:
            known = self._since if at - self._looked <= self._seconds * 0.6 else {}
            self._since = {one: known.get(one, at) for one in standing}
            self._looked = at

    def unattended(self, at: float, but: Collection[str]) -> list[Standing]:
        """Those that have not changed for as long as a lease lasts, the oldest first; `but` these tokens."""
        with self._lock:
            old = [one for one, since in self._since.items() if at - since >= self._seconds and one.token not in but]
        return sorted(old, key=lambda one: one.expires_at)
