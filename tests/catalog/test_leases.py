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


def seen(catalog: Catalog) -> list[leases.Standing]:
    with catalog.read() as connection:
        return leases.standing(connection)


def take(catalog: Catalog, wanted: list[leases.Standing], holder: str = "new") -> list[Lease]:
    with catalog.write() as connection:
        return leases.takeover(connection, wanted, new_holder=holder, new_expiry=now() + HOUR)


def test_what_goes_in_comes_out(catalog: Catalog) -> None:
    lease = new_lease("image", kind="delete", metadata={"store": "s", "n": 1}, location_id=7, expires_at=now() - HOUR)
    bare = new_lease("image", store=None, url=None, expires_at=now())
    put(catalog, bare, lease)
    assert [one.token for one in seen(catalog)] == [lease.token, bare.token]
    taken = take(catalog, seen(catalog))
    assert taken == [replace(one, holder="new", expires_at=taken[0].expires_at) for one in (lease, bare)]


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
    with catalog.write() as connection:
        assert leases.close(connection, lease.token, "one")
        assert not leases.close(connection, lease.token, "one")
        assert not leases.renew(connection, lease.token, "one", now())


def test_who_lost_it_cannot_close_it(catalog: Catalog) -> None:
    lease = new_lease("image", expires_at=now() - HOUR)
    put(catalog, lease)
    assert len(take(catalog, seen(catalog))) == 1
    with catalog.write() as connection:
        assert not leases.renew(connection, lease.token, "one", now() + HOUR)
        assert not leases.close(connection, lease.token, "one")
        assert leases.close(connection, lease.token, "new")


def test_what_was_renewed_meanwhile_stays(catalog: Catalog) -> None:
    """Whatever it says of the time: nobody's clock is asked."""
    put(catalog, *(new_lease(name, holder=f"holder of {name}", expires_at=now() - HOUR) for name in "abcd"))
    before = {one.holder[-1]: one for one in seen(catalog)}
    with catalog.write() as connection:
        assert leases.renew(connection, before["a"].token, "holder of a", now() - 2 * HOUR)
        assert leases.renew(connection, before["b"].token, "holder of b", now() + HOUR)
        assert leases.close(connection, before["c"].token, "holder of c")
    assert [lease.image_id for lease in take(catalog, [*before.values()])] == ["d"]
    assert take(catalog, [*before.values()]) == []


def _others(catalog: Catalog) -> list[leases.Standing]:
    return [one for one in seen(catalog) if not one.holder.startswith("racer")]


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
                found += [lease.image_id for lease in take(catalog, _others(catalog)[:7], name)]
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
