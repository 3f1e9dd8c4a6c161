"""Whether somebody lives is not a question of what time it is: machines disagree about that."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanlight.catalog import Catalog, leases, make_engine
from fanlight.catalog.leases import Standing
from fanlight.catalog.schema import sync
from fanlight.model import Lease
from fanlight.operations.keeper import Keeper
from fanlight.operations.watch import Watch
from fanlight.settings import DatabaseSettings
from tests.edge.raw import eventually

NOON = datetime.datetime(2026, 1, 1, 12)
HOUR = datetime.timedelta(hours=1)
SECONDS = 3.0


class Elsewhere(Keeper):
    """That of another machine, whose clock is wrong by an hour. It cleans up after nobody."""

    wrong = HOUR

    def expiry(self) -> datetime.datetime:
        return super().expiry() + self.wrong

    def recover_once(self) -> int:
        return 0


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    found = Catalog(make_engine(DatabaseSettings(connection=f"sqlite:///{tmp_path}/it.db")))
    sync(found)
    yield found
    found.close()


def standing(catalog: Catalog) -> list[Standing]:
    with catalog.read() as connection:
        return leases.standing(connection)


@pytest.mark.parametrize("wrong", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_a_clock_that_is_wrong_costs_no_transfer_and_no_clean_up(catalog: Catalog, wrong: datetime.timedelta) -> None:
    lost: list[str] = []
    settled: list[Lease] = []
    theirs, ours = Elsewhere(catalog, SECONDS), Keeper(catalog, SECONDS)
    theirs.wrong, theirs.holder = wrong, "elsewhere/boot/1/2/3"
    living, dead = (theirs.new_lease("upload", name, "store", None) for name in ("living", "dead"))
    with catalog.write() as connection:
        leases.open(connection, living)
        leases.open(connection, dead)
    theirs.start(lambda lease: None)

    def settle(lease: Lease) -> None:
        settled.append(lease)
        with catalog.write() as connection:
            leases.close(connection, lease.token, lease.holder)

    try:
        with theirs.holding(living, lambda: lost.append("it")):
            ours.start(settle)
            eventually(lambda: settled, 4 * SECONDS)
            time.sleep(2 * SECONDS)
            assert [lease.image_id for lease in settled] == ["dead"]
            assert [one.token for one in standing(catalog)] == [living.token]
            assert lost == []
    finally:
        ours.stop()
        theirs.stop()


def one(name: str, renewed: int = 0) -> Standing:
    return Standing(name, f"holder of {name}", NOON + datetime.timedelta(seconds=renewed))


def test_who_is_not_seen_to_renew() -> None:
    watch = Watch(30)
    for at in (0, 10, 20, 30):
        watch.look([one("living", at), one("dead"), one("ours")], at)
        assert [each.token for each in watch.unattended(at, {"ours"})] == (["dead"] if at == 30 else [])
    watch.look([one("living", 40), one("dead", 40)], 40)
    assert watch.unattended(40, ()) == []


def test_nobody_can_renew_while_the_database_is_away() -> None:
    watch = Watch(30)
    watch.look([one("a")], 0)
    watch.look([one("a")], 100)
    assert watch.unattended(100, ()) == []
    for at in (110, 120, 130):
        watch.look([one("a")], at)
    assert watch.unattended(130, ()) == [one("a")]
