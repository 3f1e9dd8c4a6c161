"""One does for all what all need, and a back end that is dead is waited for once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fanlight.errors import StoreDenied, StoreUnreachable
from fanlight.stores.patience import Turn

CALLERS = 5
WAIT = 10.0


class Login:
    """Takes until it is told how it ends, and counts its attempts."""

    def __init__(self) -> None:
        self.turn = Turn()
        self.attempts = 0
        self.done = False
        self.failure: Exception | None = None
        self.asked = threading.Semaphore(0)
        self.answer = threading.Event()

    def need(self) -> None:
        self.asked.release()
        with self.turn.taken():
            if self.done:
                return
            self.attempts += 1
            assert self.answer.wait(WAIT)
            if self.failure is not None:
                raise self.failure
            self.done = True

    def by_all(self) -> list[BaseException | None]:
        """What becomes of callers that come while the first one has the turn."""
        with ThreadPoolExecutor(CALLERS) as pool:
            callers = [pool.submit(self.need) for _ in range(CALLERS)]
            for _ in callers:
                assert self.asked.acquire(timeout=WAIT)
            threading.Timer(1.0, self.answer.set).start()
            return [caller.exception(WAIT) for caller in callers]


def test_one_does_it_for_all() -> None:
    login = Login()
    assert login.by_all() == [None] * CALLERS
    assert login.attempts == 1


def test_who_waited_gets_the_failure_and_who_comes_later_tries() -> None:
    login = Login()
    login.failure = StoreUnreachable("Keystone is silent.")
    outcomes = login.by_all()
    assert [(type(one), str(one)) for one in outcomes] == [(StoreUnreachable, "Keystone is silent.")] * CALLERS
    assert login.attempts == 1
    login.failure = StoreDenied("The password is wrong.")
    with pytest.raises(StoreDenied):
        login.need()
    login.failure = None
    login.need()
    assert (login.attempts, login.done) == (3, True)


def test_each_has_an_error_of_its_own() -> None:
    """One error raised in many threads would gather their tracebacks, and keep what they had in hand."""
    login = Login()
    login.failure = StoreUnreachable()
    outcomes = login.by_all()
    assert len({id(one) for one in outcomes}) == CALLERS


def test_what_is_no_failure_of_the_store_is_nobody_elses() -> None:
    login = Login()
    login.failure = KeyError("a defect")
    outcomes = login.by_all()
    assert [type(one) for one in outcomes] == [KeyError] * CALLERS
    assert login.attempts == CALLERS
