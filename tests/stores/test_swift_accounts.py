"""Accounts of Swift: how they are configured, logged in to, renewed and lent; what breaks on the way; what shows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectNotFound,
    SettingsError,
    StoreError,
    StoreForbidden,
    StoreReadOnly,
    StoreUnreachable,
)
from fanlight.model import Location
from fanlight.stores import driver_of, swift_download, swift_wire
from fanlight.stores.driver import Store
from fanlight.stores.swift import Swift
from fanlight.stores.swift_wire import Grant, Session
from tests.bed.databases import needed
from tests.stores import swift_bed as bed
from tests.stores.cutting import Wire
from tests.stores.place import STORE, Bytes, new_id, open_one, pattern

pytestmark = pytest.mark.services

SEGMENT = 1_024_000


@pytest.fixture
def container() -> Iterator[bed.Container]:
    with bed.Container.made(bed.own()) as one:
        yield one


@pytest.fixture
def user() -> Iterator[bed.User]:
    with bed.User.made() as one:
        yield one


def driver(options: dict[str, Any]) -> Swift:
    """A store that is ready."""
    one = driver_of("swift")(STORE, bed.small(options))
    assert isinstance(one, Swift)
    one.configure()
    one.configure_add()
    return one


def own(container: bed.Container, **more: Any) -> dict[str, Any]:
    return {
        "swift_store_auth_address": needed("FANLIGHT_TEST_SWIFT_V1"),
        "swift_store_auth_version": "1",
        "swift_store_user": "test:tester",
        "swift_store_key": "testing",
        "swift_store_container": container.name,
        **more,
    }


def read(store: Store, url: str, offset: int = 0, length: int | None = None, context: Any = None) -> bytes:
    opened = store.open(url, offset, length, context)
    try:
        data = b"".join(bytes(block) for block in opened.blocks)
    finally:
        opened.close()
    assert len(data) == opened.size
    return data


class Acting(Bytes):
    """Does something once half of it is through."""

    def __init__(self, data: bytes, act: Callable[[], object]) -> None:
        super().__init__(data)
        self._act: Callable[[], object] | None = act

    def read(self, size: int = -1, /) -> bytes:
        if self._act is not None and self._at > len(self.data) // 2:
            self._act()
            self._act = None
        return super().read(min(size, 200_000))


# -- configuration


def test_accounts_of_a_file(container: bed.Container, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "swift.conf"
    auth = needed("FANLIGHT_TEST_SWIFT_V1")
    path.write_text(
        f"[ref1]\nauth_address = {auth}\nuser = 'test:tester'\nkey = \"testing\"\nauth_version = 1\n"
        f"[second]\nauth_address = {auth}\nuser = test2:tester2\nkey = testing2\nauth_version = 1.0\n"
        "[broken]\nuser = a:b\nkey = hidden-key\n"
    )
    options = {"swift_store_config_file": str(path), "swift_store_container": container.name}
    store = driver(options)
    assert "section broken" in caplog.text
    assert "hidden-key" not in caplog.text
    url = store.add("image", Bytes(b"first"), 5).url
    assert url == f"swift+config://ref1/{container.name}/image"
    assert read(store, url) == b"first"
    # The container is not in the other account.
    with pytest.raises(ObjectNotFound):
        store.get_size(url.replace("ref1", "second"))
    with pytest.raises(MalformedLocation):
        store.get_size(url.replace("ref1", "broken"))
    other = driver({**options, "default_swift_reference": "second", "swift_store_create_container_on_put": True})
    theirs = other.add("image", Bytes(b"second"), 6).url
    assert [read(store, each) for each in (url, theirs)] == [b"first", b"second"]
    assert store.owns(theirs)
    assert not store.owns(url.replace("ref1", "broken"))
    other.delete(theirs)
    client = bed.own(user="test2:tester2", key="testing2")
    client.delete_container(container.name)
    client.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"swift_store_config_file": "/nowhere/swift.conf"},
        {"swift_store_auth_version": "4"},
        {"swift_store_multi_tenant": True, "swift_store_config_file": "swift.conf"},
    ],
)
def test_options_that_cannot_be(container: bed.Container, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadStoreConfiguration):
        driver(own(container, **wrong))
    with pytest.raises(SettingsError):
        open_one("swift", own(container, **wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"swift_store_key": None},
        {"swift_store_auth_address": "keystone.example.com"},
        {"swift_buffer_on_upload": True},
        {"swift_buffer_on_upload": True, "swift_upload_buffer_dir": "/nowhere"},
    ],
)
def test_options_that_leave_it_readable(container: bed.Container, wrong: dict[str, Any]) -> None:
    url = driver(own(container)).add("image", Bytes(b"x"), 1).url
    store = driver_of("swift")(STORE, own(container, **wrong))
    store.configure()
    with pytest.raises(BadStoreConfiguration):
        store.configure_add()
    assert read(store, url) == b"x"


def test_a_file_that_is_none_shows_nothing(container: bed.Container, tmp_path: Path) -> None:
    path = tmp_path / "swift.conf"
    path.write_text("[ref1]\nkey hidden-key\n")
    with pytest.raises(BadStoreConfiguration) as raised:
        driver({"swift_store_config_file": str(path)})
    assert raised.value.__cause__ is None
    assert "hidden-key" not in str(raised.value)


def test_application_credentials(user: bed.User) -> None:
    with bed.application_credential(user.session()) as made, bed.Container.made(user.client()) as container:
        store = driver(
            {
                "swift_store_auth_address": needed("FANLIGHT_TEST_KEYSTONE"),
                "swift_store_application_credential_id": made.id,
                "swift_store_application_credential_secret": made.secret,
                "swift_store_container": container.name,
            }
        )
        data = pattern(2 * SEGMENT + 1)
        url = store.add("image", Bytes(data), len(data)).url
        assert url == f"swift+config://ref1/{container.name}/image"
        assert read(store, url) == data
        store.delete(url)


def test_regions_and_interfaces(user: bed.User) -> None:
    with bed.Container.made(user.client()) as container:
        options = {
            "swift_store_auth_address": needed("FANLIGHT_TEST_KEYSTONE"),
            "swift_store_user": f"{user.project}:{user.name}",
            "swift_store_key": user.password,
            "swift_store_container": container.name,
        }
        for good in ({"swift_store_region": "RegionOne"}, {"swift_store_endpoint_type": "internalURL"}):
            assert "0 objects" in driver({**options, **good}).check()
        for bad in ({"swift_store_region": "RegionTwo"}, {"swift_store_service_type": "object-shop"}):
            with pytest.raises(BadStoreConfiguration):
                driver({**options, **bad}).check()
        with pytest.raises(StoreForbidden):
            driver({**options, "swift_store_key": "wrong"}).check()


# -- tokens


def test_tokens_that_end_during_an_upload() -> None:
    """Between two segments, before a download, and for a small object: a new one is asked for.

    Swift gives everybody who logs in as the same user the same token, so nobody else here is this user.
    """
    with bed.Container.made(bed.own(user="admin:admin", key="admin")) as container:
        store = driver(own(container, swift_store_user="admin:admin", swift_store_key="admin"))

        def end() -> None:
            # Swift looks at a token at the beginning of a request; let it have looked at the one that is on its way.
            time.sleep(1)
            (session,) = store._sessions.values()
            bed.end_token(session.grant().token)

        data = pattern(5 * SEGMENT)
        url = store.add("large", Acting(data, end), len(data)).url
        end()
        assert read(store, url) == data
        end()
        assert store.add("small", Bytes(b"x"), 1).size == 1
        end()
        store.delete(url)


@pytest.mark.parametrize(("seconds", "logins"), [(61, 1), (59, 3), (None, 1)])
def test_tokens_are_renewed_before_their_end(seconds: int | None, logins: int) -> None:
    made: list[Grant] = []

    def log_in() -> Grant:
        ends = None if seconds is None else time.time() + seconds
        made.append(Grant("http://swift/v1", f"token-{len(made)}", ends))
        return made[-1]

    session = Session(log_in, 60)
    for _ in range(3):
        session.grant()
    assert len(made) == logins
    assert session.refused(made[-1])
    assert session.grant().token == f"token-{logins}"
    assert "token" not in repr(made)


def test_nothing_secret_in_any_log(user: bed.User, caplog: pytest.LogCaptureFixture) -> None:
    """Of no library, however much it tells."""
    caplog.set_level(logging.DEBUG)
    with bed.Container.made(bed.own()) as own_container:
        store = driver(own(own_container))
        url = store.add("image", Bytes(pattern(2 * SEGMENT)), None).url
        read(store, url)
        store.delete(url)
        (session,) = store._sessions.values()
        secrets = [session.grant().token[9:], "testing"]
    with bed.Container.made(user.client()) as container:
        caplog.clear()
        store = driver(
            {
                "swift_store_auth_address": needed("FANLIGHT_TEST_KEYSTONE"),
                "swift_store_user": f"{user.project}:{user.name}",
                "swift_store_key": user.password,
                "swift_store_container": container.name,
            }
        )
        url = store.add("image", Bytes(b"x"), 1).url
        read(store, url)
        store.delete(url)
        (session,) = store._sessions.values()
        secrets += [user.password, session.grant().token[:12]]
    assert "swiftclient" in {record.name for record in caplog.records}
    assert not [secret for secret in secrets if secret in caplog.text]


# -- what breaks


def test_broken_downloads_are_resumed(container: bed.Container) -> None:
    data = pattern(6 * SEGMENT + 3)
    with Wire.made(needed("FANLIGHT_TEST_SWIFT_V1").removesuffix("/auth/v1.0") + "/v1/AUTH_test") as wire:
        for count in (0, 1, 3):
            store = driver(own(container, swift_store_endpoint=wire.url, swift_store_retry_get_count=count))
            url = store.add(f"image{count}", Bytes(data), len(data)).url
            for offset, length in ((0, None), (1000, 5 * SEGMENT)):
                wanted = data[offset:] if length is None else data[offset : offset + length]
                wire.cuts, wire.down = 0, [1_000_000] * count
                assert read(store, url, offset, length) == wanted
                assert wire.cuts == count
                # More cuts than it may resume after: a connection that is kept for later may take one, too.
                wire.down = [1_000_000] * (count + 3)
                with pytest.raises(StoreUnreachable):
                    read(store, url, offset, length)
                wire.down = []
            store.delete(url)


def test_downloads_that_were_left_alone_are_resumed(container: bed.Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swift hangs up on a reader that pauses for long; that does not count as a failure."""
    monkeypatch.setattr(swift_download, "PATIENCE", 0)
    data = pattern(6 * SEGMENT)
    with Wire.made(needed("FANLIGHT_TEST_SWIFT_V1").removesuffix("/auth/v1.0") + "/v1/AUTH_test") as wire:
        store = driver(own(container, swift_store_endpoint=wire.url))
        url = store.add("image", Bytes(data), len(data)).url
        wire.down = [2_500_000]
        assert read(store, url) == data
        assert wire.cuts == 1


@pytest.mark.parametrize("size", [9_000_000, 1000])
def test_objects_that_change_during_a_download(container: bed.Container, size: int) -> None:
    with Wire.made(needed("FANLIGHT_TEST_SWIFT_V1").removesuffix("/auth/v1.0") + "/v1/AUTH_test") as wire:
        store = driver(
            own(container, swift_store_endpoint=wire.url, swift_store_retry_get_count=9)
            | {"swift_store_large_object_size": 100}
        )
        container.client.put_object(container.name, "image", pattern(9_000_000))
        url = store.add("other", Bytes(b"x"), 1).url.replace("other", "image")
        wire.down = [4_000_000]
        opened = store.open(url)
        next(opened.blocks)
        container.client.put_object(container.name, "image", bytes(size))
        with pytest.raises(StoreError, match="replaced"):
            b"".join(opened.blocks)
        opened.close()


@pytest.mark.parametrize("buffered", [False, True])
def test_uploads_that_break(container: bed.Container, tmp_path: Path, buffered: bool) -> None:
    """A segment that lies on disk is sent again; else nothing stays."""
    data = pattern(4 * SEGMENT)
    with Wire.made(needed("FANLIGHT_TEST_SWIFT_V1").removesuffix("/auth/v1.0") + "/v1/AUTH_test") as wire:
        store = driver(
            own(
                container,
                swift_store_endpoint=wire.url,
                swift_buffer_on_upload=buffered,
                swift_upload_buffer_dir=str(tmp_path),
            )
        )
        for size in (len(data), None):
            wire.cuts, wire.up = 0, [700_000]
            if buffered:
                url = store.add("image", Bytes(data), size).url
                assert read(store, url) == data
                store.delete(url)
            else:
                with pytest.raises(StoreUnreachable):
                    store.add("image", Bytes(data), size)
            assert wire.cuts == 1
            assert container.names() == []
            assert list(tmp_path.iterdir()) == []


def test_segments_on_disk_are_sent_at_once(
    container: bed.Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the first request for each: no repetition has to make up for it."""
    monkeypatch.setattr(swift_wire, "PAUSES", ())
    store = driver(own(container, swift_buffer_on_upload=True, swift_upload_buffer_dir=str(tmp_path)))
    data = pattern(2 * SEGMENT + 1)
    url = store.add("image", Bytes(data), None).url
    assert read(store, url) == data
    store.delete(url)


# -- accounts of owners


def owners(**more: Any) -> dict[str, Any]:
    return {"swift_store_multi_tenant": True, "swift_store_container": "images", **more}


def service(**more: Any) -> dict[str, Any]:
    """With the account of the service."""
    return owners(
        swift_store_auth_address=needed("FANLIGHT_TEST_KEYSTONE"),
        swift_store_user="service:glance",
        swift_store_key="glance",
        **more,
    )


def test_readers_and_writers(user: bed.User) -> None:
    """Swift itself lets in whom set_acls says, and administrators' projects."""
    with bed.User.made() as friend, bed.User.made() as administrator:
        store = driver(owners(swift_store_admin_tenants=[administrator.project_id]))
        owner, other, ruler = user.caller(), friend.caller(), administrator.caller()
        object_id = new_id()
        url = store.add(object_id, Bytes(b"shared"), 6, owner).url
        assert url.endswith(f"/v1/KEY_{user.project_id}/images_{object_id}/{object_id}")
        with pytest.raises(StoreForbidden):
            read(store, url, context=other)
        store.set_acls(url, False, [friend.project_id], [], owner)
        assert read(store, url, context=other) == b"shared"
        with pytest.raises(StoreForbidden):
            store.delete(url, other)
        store.set_acls(url, False, [], [], owner)
        with pytest.raises(StoreForbidden):
            read(store, url, context=other)
        store.set_acls(url, True, [], [], owner)
        assert read(store, url, context=other) == b"shared"
        # Writing does not include looking, in Swift: so administrators read where everybody may.
        store.delete(url, ruler)
        with pytest.raises(ObjectNotFound):
            store.get_size(url, owner)
        client = user.client()
        client.delete_container(f"images_{object_id}")
        client.close()
        with pytest.raises(ObjectNotFound):
            store.set_acls(url, True, [], [], owner)


def test_in_nobodys_name(user: bed.User) -> None:
    store, owner = driver(owners()), user.caller()
    url = store.add("image", Bytes(b"x"), 1, owner).url
    with pytest.raises(BadStoreConfiguration):
        store.add("image", Bytes(b"x"), 1)
    with pytest.raises(StoreForbidden):
        read(store, url)
    # The account of the service can read what everybody may read.
    store.set_acls(url, True, [], [], owner)
    assert read(driver(service()), url) == b"x"
    assert "can log in" in driver(service()).check()
    store.delete(url, owner)


@pytest.mark.parametrize("use", [True, False])
def test_trusts(user: bed.User, use: bool) -> None:
    """A long transfer has a trust as long as it lasts, and no longer."""
    session = user.session()
    client = bed.keystone_client(session)
    seen: list[int] = []

    def look() -> None:
        seen.append(len(client.trusts.list(trustor_user=session.get_user_id())))

    store, data, owner = driver(service(swift_store_use_trusts=use)), pattern(5 * SEGMENT), user.caller(session)
    url = store.add("image", Acting(data, look), None, owner).url
    look()
    assert seen == [int(use), 0]
    resuming = driver(service(swift_store_use_trusts=use, swift_store_retry_get_count=1))
    opened = resuming.open(url, context=owner)
    look()
    assert b"".join(opened.blocks) == data
    opened.close()
    look()
    assert seen[2:] == [int(use), 0]
    store.delete(url, owner)


def test_trusts_that_cannot_be_had(user: bed.User, caplog: pytest.LogCaptureFixture) -> None:
    """The user's own token does."""
    store, owner = driver({**service(), "swift_store_key": "wrong"}), user.caller()
    data = pattern(2 * SEGMENT)
    url = store.add("image", Bytes(data), len(data), owner).url
    assert "no trust could be made" in caplog.text
    assert read(store, url, context=owner) == data
    store.delete(url, owner)


def test_catalogues_without_swift(user: bed.User) -> None:
    store = driver(owners())
    for catalogue in (None, "[]", "no json"):
        caller = msgspec.structs.replace(user.caller(), service_catalog=catalogue)
        with pytest.raises(BadStoreConfiguration):
            store.add("image", Bytes(b"x"), 1, caller)


def test_multi_tenant_store_needs_a_caller() -> None:
    stores = open_one("swift", owners())
    with pytest.raises((StoreReadOnly, StoreError)):
        stores.put(STORE, new_id(), Bytes(b"x"), 1, algorithm="sha512")
    with pytest.raises(StoreError):
        stores.open(Location(url="swift+http://127.0.0.1:1/v1/KEY_x/c/o", metadata={"store": STORE}))
