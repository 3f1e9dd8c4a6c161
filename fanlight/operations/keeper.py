"""The keeper of leases: renews those of running transfers, and cleans up after those that died.

Whoever writes or deletes bytes first writes down, in the same transaction that changes the image's status, that it
does so (`model.Lease`). While it lives, its process's keeper renews the lease. A lease that nobody renews (watch.py),
or whose holder is known to be dead because it ran in this very machine and process namespace, is taken over by any
keeper: an upload is undone (bytes removed, image back in `queued`), a delete is finished. So no image stays in
`saving` and no bytes stay behind, whatever was killed at whatever instant.
"""

from __future__ import annotations

import datetime
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fanlight.catalog import leases
from fanlight.catalog.leases import Standing
from fanlight.catalog.rows import now
from fanlight.errors import FanlightError
from fanlight.model import Lease
from fanlight.operations.watch import Watch

if TYPE_CHECKING:
    from fanlight.catalog import Catalog

LOG = logging.getLogger(__name__)
TAKEN_AT_ONCE = 50
"""Leases: those of a batch are renewed while they wait for their turn."""


def holder_identity() -> str:
    """Name this process so that a later one can tell whether it still lives: host, boot, pid namespace, pid, start."""
    pid = os.getpid()
    return "/".join((socket.gethostname(), _boot_id(), _pid_namespace(), str(pid), _start_time(pid) or "?"))


def is_dead(holder: str) -> bool:
    """Whether `holder` certainly no longer runs. False when it cannot be told: then only time decides."""
    parts = holder.split("/")
    if len(parts) != 5 or "" in parts[:3]:
        return False
    if parts[:3] != [socket.gethostname(), _boot_id(), _pid_namespace()]:
        # Another machine, boot or container (names may repeat): let time decide.
        return False
    return _start_time(int(parts[3])) != parts[4]


class Keeper:
    """Renews this process's leases from one daemon thread and takes over what others left from another: a store that
    lets a clean-up wait must not cost the leases of transfers that live.

    `lease_seconds`: how long a lease lasts without renewal (≥ 3). `recover` undoes or finishes one taken-over lease;
    it must be idempotent and is called outside any transaction.
    """

    def __init__(self, catalog: Catalog, lease_seconds: float) -> None:
        self.holder = holder_identity()
        self._catalog = catalog
        self._seconds = lease_seconds
        self._watch = Watch(lease_seconds)
        self._held: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._recover: Callable[[Lease], None] | None = None
        self._adopt: Callable[[], None] | None = None

    def new_lease(self, kind: str, image_id: str, store: str | None, url: str | None, **more: object) -> Lease:
        """A lease of this process, not yet in the catalogue."""
        return Lease(
            token=uuid.uuid4().hex,
            kind=kind,
            image_id=image_id,
            store=store,
            url=url,
            holder=self.holder,
            expires_at=self.expiry(),
            **more,  # type: ignore[arg-type]  # metadata and location_id, checked by the Struct's users
        )

    @contextmanager
    def holding(self, lease: Lease, on_lost: Callable[[], None]) -> Iterator[None]:
        """Renew `lease` while the block runs; call `on_lost` (from another thread) when somebody else ended it."""
        with self._lock:
            self._held[lease.token] = on_lost
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(lease.token, None)

    def start(self, recover: Callable[[Lease], None], adopt: Callable[[], None] = lambda: None) -> None:
        """Begin: a first recovery at once, then renewal and recovery three times per lease duration. `adopt` comes
        before the first, until it has gone well once.
        """
        self._recover, self._adopt = recover, adopt
        for work, name in ((self._tend, "lease-keeper"), (self._recover_all, "lease-recovery")):
            thread = threading.Thread(target=self._repeat, args=(work,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the threads; leases still held run out by themselves."""
        self._stop.set()
        end = time.monotonic() + 5
        for thread in self._threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))

    def _recover_all(self) -> None:
        if self._adopt is not None:
            self._adopt()
            self._adopt = None
        self.recover_once()

    def recover_once(self) -> int:
        """Take over and settle what the dead left; returns how many leases. Raises CatalogError."""
        settled = 0
        while unattended := self._unattended()[:TAKEN_AT_ONCE]:
            with self._catalog.write() as connection:
                taken = leases.takeover(connection, unattended, new_holder=self.holder, new_expiry=self.expiry())
            settled += self._settle_all(taken)
            if not taken or self._stop.is_set():
                break
        return settled

    def _unattended(self) -> list[Standing]:
        """The leases of the dead. Our own that are held are none, though they may look so: this process stood still."""
        standing = self._look()
        with self._lock:
            held = set(self._held)
        dead = {holder for holder in {one.holder for one in standing} if is_dead(holder)}
        of_the_dead = [one for one in standing if one.holder in dead]
        return of_the_dead or self._watch.unattended(time.monotonic(), held)

    def _look(self) -> list[Standing]:
        with self._catalog.read() as connection:
            standing = leases.standing(connection)
        self._watch.look(standing, time.monotonic())
        return standing

    def _settle_all(self, taken: Sequence[Lease]) -> int:
        """Settle one after the other. All are kept meanwhile: one that somebody else took while it waited for its
        turn is his, and what lies under its name may be a new upload by then.
        """
        settled = 0
        lost: set[str] = set()
        with ExitStack() as kept:
            for lease in taken:
                kept.enter_context(self.holding(lease, on_lost=partial(lost.add, lease.token)))
            for lease in taken:
                if lease.token not in lost and not self._stop.is_set():
                    settled += self._settle(lease)
        return settled

    def _settle(self, lease: Lease) -> int:
        if self._recover is None:
            return 0
        try:
            self._recover(lease)
        except FanlightError as error:
            # It stays in the catalogue under our name and is tried again when it has run out.
            LOG.warning("cleaning up after %r failed, will be tried again: %s", lease, error)
            return 0
        except Exception:
            # A defect of one store's driver must not keep the others' leases from being settled.
            LOG.exception("cleaning up after %r failed, will be tried again", lease)
            return 0
        LOG.info("cleaned up after %r", lease)
        return 1

    def _repeat(self, work: Callable[[], object]) -> None:
        while True:
            try:
                work()
            except FanlightError as error:
                LOG.warning("the lease keeper could not reach the catalogue: %s", error)
            except Exception:
                LOG.exception("the lease keeper failed")
            if self._stop.wait(self._seconds / 3):
                return

    def _tend(self) -> None:
        """Renew first: where the database was away, others must find it renewed."""
        self._renew()
        self._look()

    def _renew(self) -> None:
        with self._lock:
            held = dict(self._held)
        if not held:
            return
        with self._catalog.write() as connection:
            lost = [token for token in held if not leases.renew(connection, token, self.holder, self.expiry())]
        for token in lost:
            held[token]()

    def expiry(self) -> datetime.datetime:
        """When a lease renewed now would run out by this machine's clock (naive UTC); others see that it changed."""
        return now() + datetime.timedelta(seconds=self._seconds)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid").replace("/", "_")
    except OSError:
        return ""


def _start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat (clock ticks after boot); None when no such process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name (field 2) may hold blanks and parentheses: count from the last one.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
