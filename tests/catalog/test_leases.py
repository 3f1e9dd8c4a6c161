"""catalog/leases on each engine: who holds what, and that only one ever takes it over."""

from __future__ import annotations

import datetime
import threading

import pytest
from msgspec.structs import replace

from fanlight.catalog import Catalog, leases
from fanlight.catalog.rows import now
from fanlight.model import Lease

from .conftest import new_lease

HOUR = datetime.timedelta(hours=1)


def put(catalog: Catalog, *wanted: Lease) -> None:
    with catalog.write() as connection:
        for lease in wanted:
            leases.open(connection, lease)


def take(catalog: Catalog, limit: int = 100, dead: tuple[str, ...] = (), holder: str = "new") -> list[Lease]:
    with catalog.write() as connection:
        return leases.takeover(
            connection, now=now(), dead_holders=dead, new_holder=holder, new_expiry=now() + HOUR, limit=limit
        )


def test_what_goes_in_comes_out(catalog: Catalog) -> None:
    lease = new_lease("image", kind="delete", metadata={"store": "s", "n": 1}, location_id=7, expires_at=now() - HOUR)
    bare = new_lease("image", store=None, url=None, expires_at=now() + HOUR)
    put(catalog, lease, bare)
    taken = take(catalog)
    assert taken == [replace(lease, holder="new", expires_at=taken[0].expires_at)]
    taken = take(catalog, dead=("one",))
    assert taken == [replace(bare, holder="new", expires_at=taken[0].expires_at)]


def test_only_its_holder_renews_and_closes(catalog: Catalog) -> None:
    lease = new_lease("image", expires_at=now() - HOUR)
    put(catalog, lease)
    with catalog.write() as connection:
        assert not leases.renew(connection, lease.token, "two", now() + HOUR)
        assert not leases.close(connection, lease.token, "two")
        assert not leases.renew(connection, "none", "one", now() + HOUR)
        assert leases.renew(connection, lease.token, "one", now() + HOUR)
        # Again with the same time: some databases count no row that has not changed.
        assert leases.renew(connection, lease.token, "one", now() + HOUR)
    assert take(catalog) == []
    with catalog.write() as connection:
        assert leases.close(connection, lease.token, "one")
        assert not leases.close(connection, lease.token, "one")
        assert not leases.renew(connection, lease.token, "one", now())


def test_who_lost_it_cannot_close_it(catalog: Catalog) -> None:
    lease = new_lease("image", expires_at=now() - HOUR)
    put(catalog, lease)
    assert len(take(catalog)) == 1
    with catalog.write() as connection:
        assert not leases.renew(connection, lease.token, "one", now() + HOUR)
        assert not leases.close(connection, lease.token, "one")
        assert leases.close(connection, lease.token, "new")


def test_those_of_the_living_stay(catalog: Catalog) -> None:
    put(catalog, new_lease("a", holder="alive", expires_at=now() + HOUR))
    put(catalog, new_lease("b", holder="dead", expires_at=now() + HOUR))
    put(catalog, new_lease("c", holder="dead", expires_at=now() + HOUR))
    with catalog.read() as connection:
        assert sorted(leases.holders(connection)) == ["alive", "dead"]
    assert sorted(lease.image_id for lease in take(catalog, dead=("dead", "not there"))) == ["b", "c"]
    with catalog.read() as connection:
        assert sorted(leases.holders(connection)) == ["alive", "new"]
    assert take(catalog) == []


def test_the_oldest_first_and_no_more_than_asked(catalog: Catalog) -> None:
    put(catalog, *(new_lease(str(number), expires_at=now() - number * HOUR) for number in (3, 1, 5, 2, 4)))
    assert sorted(lease.image_id for lease in take(catalog, limit=2)) == ["4", "5"]
    assert sorted(lease.image_id for lease in take(catalog)) == ["1", "2", "3"]


@pytest.mark.parametrize("racers", [4])
def test_each_is_taken_by_one(catalog: Catalog, racers: int) -> None:
    put(catalog, *(new_lease(str(number), expires_at=now() - HOUR) for number in range(60)))
    barrier = threading.Barrier(racers)
    taken: dict[str, list[str]] = {}
    failures: list[BaseException] = []

    def run(name: str) -> None:
        try:
            barrier.wait(20)
            found: list[str] = []
            # A page may be empty because others hold its rows: their turn comes again.
            for _ in range(12):
                found += [lease.image_id for lease in take(catalog, limit=7, holder=name)]
            taken[name] = found
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(f"racer {number}",)) for number in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    everything = [image_id for found in taken.values() for image_id in found]
    assert sorted(everything, key=int) == [str(number) for number in range(60)]
