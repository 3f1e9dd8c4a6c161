"""The part of the suite about back ends that fail, and means to make them fail."""

from __future__ import annotations

import os
import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from fanlight.errors import (
    BadStoreConfiguration,
    SettingsError,
    StoreDenied,
    StoreError,
    StoreForbidden,
    StoreFull,
    StoreReadOnly,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.settings import StoreSettings, StoresSettings
from fanlight.stores import create_stores, driver_of
from tests.stores.child import Child
from tests.stores.place import MIB, REASONS, STORE, Backend, Bytes, Place, RecordProperty, new_id, pattern

UNREACHABLE = (StoreUnreachable, StoreTimeout, BadStoreConfiguration)
DENIED = (StoreDenied, StoreForbidden, StoreReadOnly, BadStoreConfiguration)
LARGE = 5 * 1024 * MIB if os.environ.get("FANLIGHT_LARGE") else 64 * MIB
"""Bytes of the object with which memory is measured."""


class Faults:
    """Needs the fixtures `backend` and `place`."""

    @pytest.mark.parametrize("fault", ["down", "slow"])
    def test_back_end_that_does_not_answer(
        self, backend: Backend, fault: str, record_property: RecordProperty, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever is asked, the answer is that it cannot be reached; nothing hangs, nothing shows a secret."""
        caplog.set_level("DEBUG", "fanlight")
        options = backend.broken(fault)
        if isinstance(options, str):
            record_property("reason", options)
            assert options in REASONS
            if options == "local":
                _require_local(backend)
            return
        url = _some_url(backend)
        for failure in _everything(backend, options, url):
            assert isinstance(failure, UNREACHABLE), repr(failure)
            _require_no_secret(backend, failure)
        assert not [secret for secret in backend.secrets if secret in caplog.text]

    def test_back_end_without_permission(self, backend: Backend, record_property: RecordProperty) -> None:
        options = backend.broken("denied")
        if isinstance(options, str):
            record_property("reason", options)
            assert options in REASONS
            return
        error = _failing_add(backend, options, b"not allowed")
        assert isinstance(error, DENIED), repr(error)
        _require_no_secret(backend, error)

    def test_back_end_without_room(self, backend: Backend, record_property: RecordProperty) -> None:
        options = backend.broken("full")
        if isinstance(options, str):
            record_property("reason", options)
            assert options in REASONS
            return
        for known in (True, False):
            error = _failing_add(backend, options, pattern(8 * MIB), known)
            assert isinstance(error, StoreFull), repr(error)
            _require_no_secret(backend, error)
        # What failed takes no room: a small object fits.
        place = Place(backend, options)
        assert place.read(place.put(Bytes(b"fits"), 4)) == b"fits"
        place.clear()

    @pytest.mark.timeout(3600 if LARGE > 64 * MIB else 120)
    @pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
    def test_memory(self, place: Place, known: bool, record_property: RecordProperty) -> None:
        backend = place.backend
        # Whoever kept the whole object would be found out.
        size = max(LARGE, backend.memory)
        url = None if place.driver.traits.add else backend.seed(pattern(64 * MIB))
        with Child(backend.type, backend.small(), place.context) as child:
            found = child.measure(new_id(), size, size if known else None, url)
        record_property("grew", f"{(found.adding - found.before) // MIB}/{(found.reading - found.before) // MIB} MiB")
        if not backend.memory:
            assert found.adding - found.before >= size
            return
        assert found.adding - found.before <= backend.memory
        assert found.reading - found.before <= backend.memory

    def test_wrong_options(self, backend: Backend) -> None:
        """Texts that are missing or cannot be are refused as the store's configuration, if at all."""
        for value in (None, "", "\0"):
            good = backend.options()
            options = {name: value if isinstance(good[name], str) else good[name] for name in good}
            store = StoreSettings(id=STORE, type=backend.type, options=options)
            try:
                create_stores(StoresSettings(stores=(store,), default=STORE))
            except (SettingsError, StoreError) as error:
                _require_no_secret(backend, error)


def _some_url(backend: Backend) -> str:
    """A URL that a store like this has given."""
    place = Place(backend, backend.options())
    url = place.having(b"x").url
    place.clear()
    return url


def _everything(backend: Backend, options: Mapping[str, Any], url: str) -> Iterator[StoreError]:
    """Ask everything of a store that cannot be reached; what each answers. What is not a StoreError goes through."""
    store = driver_of(backend.type)(STORE, options)
    context = backend.context()
    try:
        store.configure()
    except StoreError as error:
        yield error
        return  # nothing else is asked of it before that has gone well
    try:
        if store.traits.add:
            store.configure_add()
    except StoreError as error:
        yield error
    asked: list[Callable[[], object]] = [
        lambda: next(store.open(url, context=context).blocks, None),
        lambda: store.get_size(url, context),
        store.check,
    ]
    if store.traits.add:
        asked.append(lambda: store.add(new_id(), Bytes(b"x"), 1, context))
        asked.append(lambda: store.add(new_id(), Bytes(b"x"), None, context))
        asked.append(lambda: store.discard(new_id()))
    if store.traits.delete:
        asked.append(lambda: store.delete(url, context))
    yield from failures_of(asked)


def failures_of(asked: Sequence[Callable[[], object]]) -> list[StoreError]:
    """What each raises. All at once: where each takes as long as the driver waits, in turn they would take minutes."""

    def failure_of(ask: Callable[[], object]) -> StoreError:
        with pytest.raises(StoreError) as raised:
            ask()
        return raised.value

    with ThreadPoolExecutor(len(asked)) as pool:
        return [*pool.map(failure_of, asked)]


def _failing_add(
    backend: Backend, options: Mapping[str, Any], data: bytes, known: bool = True
) -> StoreError | SettingsError:
    try:
        Place(backend, options).put(Bytes(data), len(data) if known else None)
    except StoreError as error:
        return error
    except SettingsError as error:
        return error.__cause__ if isinstance(error.__cause__, StoreError) else error
    raise AssertionError("it was added")


def _require_no_secret(backend: Backend, error: BaseException) -> None:
    """Not even in a traceback in the log."""
    texts = [str(error), repr(error), *traceback.format_exception(error)]
    for secret in backend.secrets:
        assert not [text for text in texts if secret in text]


def _require_local(backend: Backend) -> None:
    """That nothing of it lies behind a network: everything works where no connection can be made.

    Threads of other tests' stores (a MongoDB client has some) go on as they please: what is refused to them in the
    middle of connecting leaves a socket open.
    """
    others, connect = set(threading.enumerate()) - {threading.current_thread()}, socket.socket.connect

    def refuse(one: socket.socket, address: Any) -> None:
        if threading.current_thread() not in others:
            raise AssertionError("it uses the network")
        connect(one, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        place = Place(backend, backend.options())
        assert place.read(place.put(Bytes(b"here"), 4)) == b"here"
        place.clear()


# -- means for the fixtures of drivers


def closed_port() -> int:
    """A port of 127.0.0.1 where nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 where something listens, takes what comes, and never answers."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for one in taken:
        one.close()
