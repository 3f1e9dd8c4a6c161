"""The Swift store and the suite: with users of Swift and of Keystone, multi-tenant, and on Ceph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fanlight.errors import StoreDeleteUnsupported, StoreError, StoreTimeout, StoreUnreachable
from fanlight.model import Caller
from fanlight.stores import driver_of
from fanlight.stores.driver import Store
from tests.bed.databases import needed
from tests.stores import swift_bed as bed
from tests.stores.child import Child
from tests.stores.conformance import Backend, Conformance
from tests.stores.faults import closed_port, failures_of, silent_port
from tests.stores.place import STORE, Bytes, Place, new_id
from tests.stores.writing import assert_nothing_new

pytestmark = pytest.mark.services

MALFORMED = (
    "swift://",
    "swift+https://host/o",
    "swift+https://user@host/c/o",
    "swift+https://user:@host/c/o",
    "swift+https://:key@host/c/o",
    "swift+https://user:key@/c/o",
    "swift+https://user:key@https://host/v3/c/o",
    "swift+https://user:key@host:port/v3/c/o",
    "swift+https://user:key@host/v3/c/",
    "swift+https://user:key@host/v3//o",
    "swift+https://user:key@host/v3/c/o?x",
    "swift+config://unknown/c/o",
    "swift+config://a/b/c/o",
    "swift+config://c/o",
    "http://host/c/o",
)


class Place1(Backend):
    """A container in an account of auth version 1, which stands in a file of references."""

    type = "swift"
    block = 1_024_000
    malformed = MALFORMED

    def __init__(self, container: bed.Container, folder: Path, auth: str, stack: ExitStack) -> None:
        self._container, self._folder, self._auth, self._stack = container, folder, auth, stack
        self.secrets = ("testing",)

    def options(self) -> Mapping[str, Any]:
        return self._with(self._auth)

    def small(self) -> Mapping[str, Any]:
        return bed.small(self.options())

    def leftovers(self) -> Sequence[str]:
        return self._container.names()

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        if fault == "down":
            return self._with(f"http://127.0.0.1:{closed_port()}/auth/v1.0")
        if fault == "slow":
            return self._with(f"http://127.0.0.1:{self._stack.enter_context(silent_port())}/auth/v1.0")
        if fault == "denied":
            return self._with(self._auth, user="test:reader", key="reading")
        return self._with(f"{needed('FANLIGHT_TEST_SWIFT_SMALL')}/auth/v1.0")

    def _with(self, auth: str, user: str = "test:tester", key: str = "testing") -> Mapping[str, Any]:
        path = self._folder / f"{new_id()}.conf"
        return {
            "swift_store_config_file": bed.reference_file(path, auth, user, key, auth_version="1"),
            "swift_store_container": self._container.name,
        }

    def spellings(self, url: str) -> Sequence[str]:
        credentials = quote("test:tester", safe="") + ":testing"
        place = self._auth.partition("://")[2]
        rest = url.removeprefix("swift+config://ref1/")
        return (
            url.replace("swift+config", "SWIFT+Config"),
            f"swift+http://{credentials}@{place}/{rest}",
            f"swift+http://test:tester:testing@{place}/{rest}",
        )


class TestSwift(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
        with ExitStack() as stack:
            container = stack.enter_context(bed.Container.made(bed.own()))
            yield Place1(container, tmp_path_factory.mktemp("swift"), needed("FANLIGHT_TEST_SWIFT_V1"), stack)


class Gateway(Place1):
    """The same behind Ceph."""

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        if fault == "denied":
            return self._with(self._auth, key="wrong")
        return "shared" if fault == "full" else super().broken(fault)


class TestSwiftOfCeph(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
        auth = needed("FANLIGHT_TEST_RGW_SWIFT_AUTH")
        with ExitStack() as stack:
            container = stack.enter_context(bed.Container.made(bed.own(auth)))
            yield Gateway(container, tmp_path_factory.mktemp("rgw"), auth, stack)


class Project(Backend):
    """A container in the project of a user of Keystone; the credentials stand in the URLs."""

    type = "swift"
    block = 1_024_000
    malformed = MALFORMED

    def __init__(self, user: bed.User, container: bed.Container, stack: ExitStack) -> None:
        self._user, self._container, self._stack = user, container, stack
        self.secrets = (user.password, quote(user.password, safe=""))

    def options(self) -> Mapping[str, Any]:
        return {
            "swift_store_auth_address": needed("FANLIGHT_TEST_KEYSTONE"),
            "swift_store_user": f"{self._user.project}:{self._user.name}",
            "swift_store_key": self._user.password,
            "swift_store_container": self._container.name,
        }

    def small(self) -> Mapping[str, Any]:
        return bed.small(self.options())

    def leftovers(self) -> Sequence[str]:
        return self._container.names()

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        if fault == "denied":
            return {**self.options(), "swift_store_user": f"{self._user.project}:{self._user.name}-reader"}
        if fault == "full":
            return self._at(needed("FANLIGHT_TEST_SWIFT_SMALL"))
        if fault == "down":
            return self._at(f"http://127.0.0.1:{closed_port()}")
        return self._at(f"http://127.0.0.1:{self._stack.enter_context(silent_port())}")

    def _at(self, server: str) -> Mapping[str, Any]:
        return {**self.options(), "swift_store_endpoint": bed.storage(server, self._user.project_id)}

    def spellings(self, url: str) -> Sequence[str]:
        rest = "/".join(url.split("/")[-2:])
        return (f"swift+config://ref1/{rest}", url.replace("swift+http", "Swift+HTTP"))


class TestSwiftOfKeystone(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> Iterator[Backend]:
        with ExitStack() as stack:
            user = stack.enter_context(bed.User.made())
            yield Project(user, stack.enter_context(bed.Container.made(user.client())), stack)


class Owner(Backend):
    """The account of whoever calls: a container for every image."""

    type = "swift"
    block = 1_024_000
    malformed = MALFORMED

    def __init__(self, user: bed.User, stack: ExitStack) -> None:
        self._user, self._caller, self._client = user, user.caller(), user.client()
        stack.callback(self._client.close)
        self._own = bed.storage(needed("FANLIGHT_TEST_SWIFT_V3"), user.project_id)
        self.secrets = (user.password, str(self._caller.token))

    def options(self) -> Mapping[str, Any]:
        return {"swift_store_multi_tenant": True, "swift_store_container": "images"}

    def small(self) -> Mapping[str, Any]:
        return bed.small(self.options())

    def leftovers(self) -> Sequence[str]:
        return bed.everything(self._client)

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        server, project = needed("FANLIGHT_TEST_SWIFT_SMALL"), self._user.project_id
        if fault == "denied":
            project = bed.administrator().projects.list(name="other")[0].id
        return {**self.options(), "swift_store_endpoint": bed.storage(server, project)}

    def context(self) -> Caller:
        return self._caller

    def spellings(self, url: str) -> Sequence[str]:
        return (url.replace("swift+http", "SWIFT+HTTP"),)


class TestSwiftOfOwners(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> Iterator[Backend]:
        with ExitStack() as stack:
            yield Owner(stack.enter_context(bed.User.made()), stack)

    @pytest.mark.parametrize("fault", ["down", "slow"])
    def test_back_end_that_does_not_answer(self, backend: Backend, fault: str) -> None:  # type: ignore[override]
        """Nothing can be asked without a caller, so not all of the suite's questions have that answer."""
        with silent_port() as silent:
            port = closed_port() if fault == "down" else silent
            store = self._store(backend, f"http://127.0.0.1:{port}/v1/KEY_x")
            url = f"swift+http://127.0.0.1:{port}/v1/KEY_x/images_a/a"
            context = backend.context()
            asked: list[Callable[[], object]] = [
                lambda: store.open(url, context=context),
                lambda: store.get_size(url, context),
                lambda: store.add(new_id(), Bytes(b"x"), None, context),
                lambda: store.delete(url, context),
            ]
            assert all(isinstance(failure, StoreUnreachable | StoreTimeout) for failure in failures_of(asked))

    def test_discard(self, place: Place) -> None:
        """What an upload has left lies in an account that only its owner can reach."""
        object_id = new_id()
        place.put(Bytes(bytes(3 * place.backend.block)), None, object_id)
        with pytest.raises(StoreDeleteUnsupported):
            place.stores.discard_partial(STORE, object_id)
        self._discard(place, object_id)
        assert_nothing_new(place)

    @pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
    def test_discard_after_a_killed_add(self, place: Place, known: bool) -> None:
        """The owner's next upload removes what is left."""
        backend, object_id = place.backend, new_id()
        size = 3 * backend.block + 7
        with Child(backend.type, backend.small(), place.context) as child:
            child.add(object_id, size, size + backend.block if known else None)
            child.wait_until_given(size)
            child.kill()
        data = bytes(range(256)) * 8000
        assert place.read(place.put(Bytes(data), None, object_id)) == data
        place.clear()
        self._discard(place, object_id)
        assert_nothing_new(place)

    def _discard(self, place: Place, object_id: str) -> None:
        place.driver.discard(object_id, place.context)  # type: ignore[call-arg]

    def _store(self, backend: Backend, endpoint: str) -> Store:
        store = driver_of("swift")(STORE, {**backend.options(), "swift_store_endpoint": endpoint})
        store.configure()
        store.configure_add()
        return store

    def test_tokens_go_to_no_other_server(self, place: Place) -> None:
        """A location can name any host; the caller's token must not go there."""
        with silent_port() as port:
            for host in (f"127.0.0.1:{port}", "attacker.example.com"):
                with pytest.raises(StoreError, match="not on this cloud"):
                    place.driver.open(f"swift+http://{host}/v1/KEY_x/c/o", context=place.context)
