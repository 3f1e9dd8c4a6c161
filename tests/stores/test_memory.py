"""The store in memory: the suite, and what the suite itself can be held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from fanlight.stores.memory import Memory
from tests.stores.conformance import Backend, Conformance


class InMemory(Backend):
    type = "memory"
    memory = 0
    malformed = ("memory://a/b", "memory:/a", "file:///a")

    def options(self) -> Mapping[str, Any]:
        return {}

    def leftovers(self) -> Sequence[str]:
        return ()

    def broken(self, fault: str) -> str:
        return {"down": "local", "slow": "local", "denied": "no permissions", "full": "no quota"}[fault]


@pytest.fixture
def backend() -> Backend:
    return InMemory()


class TestMemory(Conformance):
    pass


def test_stores_do_not_mix() -> None:
    one, two = Memory("one", {}), Memory("two", {})
    for store in (one, two):
        store.configure()
    one._objects["a"] = b"one"
    assert "a" not in two._objects
