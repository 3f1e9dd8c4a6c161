"""The Cinder store where no server is needed: volumes that are their owners', and a Keystone that says nothing."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fanlight.errors import StoreDeleteUnsupported, StoreError, StoreUnreachable
from fanlight.settings.drivers import defaults
from fanlight.stores import cinder_account
from tests.stores.faults import silent_port
from tests.stores.place import STORE, new_id, open_one

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # os-brick's imports


def test_nothing_is_owed_that_only_the_owner_could_remove() -> None:
    stores = open_one("cinder", defaults("cinder"))
    with pytest.raises(StoreDeleteUnsupported, match="owner"):
        stores.discard_partial(STORE, new_id())


def test_silent_keystone_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keystone's library logs in for one thread at a time: the tenth would be told after ten times the limit."""
    monkeypatch.setattr(cinder_account, "LOGIN_SECONDS", 1.0)

    def ask(number: int) -> StoreError:
        with pytest.raises(StoreUnreachable) as raised:
            driver.get_size(f"cinder://{number:08}-0000-0000-0000-000000000000")
        return raised.value

    with silent_port() as port, ThreadPoolExecutor(10) as pool:
        account = dict.fromkeys(("user_name", "password", "project_name"), "x")
        account["auth_address"] = f"http://127.0.0.1:{port}/v3"
        options = {**defaults("cinder"), **{f"cinder_store_{name}": value for name, value in account.items()}}
        driver = open_one("cinder", options).get(STORE)
        began = time.monotonic()
        assert len([*pool.map(ask, range(10))]) == 10
        assert time.monotonic() - began < 5
        # Who comes later tries again.
        ask(10)
        assert time.monotonic() - began > 2
