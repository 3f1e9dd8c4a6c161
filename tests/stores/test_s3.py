"""The S3 store: the suite, on Swift's S3 API and on Ceph's gateway, there with both styles of address."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import swiftclient

from fanlight.stores import s3
from tests.bed.databases import needed
from tests.stores.conformance import Backend, Conformance, closed_port, silent_port
from tests.stores.reading import Reading
from tests.stores.s3_servers import Bucket, gateway, swift
from tests.stores.writing import Writing

pytestmark = pytest.mark.services
MIB = 1 << 20


class S3Bucket(Backend):
    type = "s3"
    block = 5 * MIB
    malformed = (
        "s3://host/bucket",
        "s3://host",
        "s3:///bucket/key",
        "s3://host//key",
        "s3://host/../key",
        "s3://host/bucket/../key",
        "s3://host/bucket/..",
        "s3://host/bucket/",
        "s3://key@host/bucket/id",
        "s3://:secret@host/bucket/id",
        "s3://key:@host/bucket/id",
        "s3://host/bucket/a?b",
        "s3://host/bucket/ä",
        "s3://a:b@https://host/bucket/id",
        "s3:/host/bucket/id",
        "s4://host/bucket/id",
    )

    def __init__(self, stack: ExitStack, bucket: Bucket, other: Bucket) -> None:
        self._stack, self.bucket, self._other = stack, bucket, other
        self.secrets = (bucket.secret, "old-secret")

    def options(self) -> Mapping[str, Any]:
        return self.bucket.options()

    def small(self) -> Mapping[str, Any]:
        return {
            **self.bucket.options(),
            "s3_store_large_object_size": 5,
            "s3_store_large_object_chunk_size": 5,
            "s3_store_thread_pools": 3,
        }

    def leftovers(self) -> Sequence[str]:
        return self.bucket.contents()

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        if fault == "full":
            return self.full()
        if fault == "denied":
            return {**self.bucket.options(), "s3_store_secret_key": "another-secret"}
        port = closed_port() if fault == "down" else self._stack.enter_context(silent_port())
        return {**self.bucket.options(), "s3_store_host": f"http://127.0.0.1:{port}"}

    def full(self) -> Mapping[str, Any]:
        """Options of a store with room for less than 8 MiB."""
        raise NotImplementedError

    def spellings(self, url: str) -> Sequence[str]:
        place = url.removeprefix("s3://")
        return (
            f"s3+http://{place}",
            f"s3+https://{place}",
            f"s3://old-key:old-secret@{place}",
            f"S3://o:old-secret/x@{place}",
        )


class OnSwift(S3Bucket):
    """Swift's quota of a container is one of the bucket."""

    def full(self) -> Mapping[str, Any]:
        login = swiftclient.Connection(
            needed("FANLIGHT_TEST_SWIFT_V1"), self._other.key, self._other.secret, auth_version="1"
        )
        login.post_container(self._other.name, {"X-Container-Meta-Quota-Bytes": str(4 * MIB)})
        login.close()
        return self._other.options()


class OnGateway(S3Bucket):
    def full(self) -> Mapping[str, Any]:
        user = f"u{uuid.uuid4().hex[:12]}"
        _administer("user", "create", "--uid", user, "--display-name", user, "--access-key", user, "--secret-key", user)
        self._stack.callback(_administer, "user", "rm", "--uid", user, "--purge-data")
        _administer("quota", "set", "--quota-scope", "user", "--uid", user, "--max-size", str(4 * MIB))
        _administer("quota", "enable", "--quota-scope", "user", "--uid", user)
        bucket = self._stack.enter_context(gateway(user, user).made())
        return bucket.options()


def _administer(*words: str) -> None:
    configuration = needed("FANLIGHT_TEST_CEPH_CONF")
    subprocess.run(
        ["radosgw-admin", "-c", configuration, "-n", "client.rgw", *words], check=True, capture_output=True, timeout=60
    )


class S3Conformance(Conformance):
    @pytest.fixture(autouse=True)
    def impatient(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """The tests of servers that never answer ask a dozen times."""
        if "does_not_answer" in request.node.name:
            monkeypatch.setattr(s3, "READ_SECONDS", 0.3)


@pytest.fixture(scope="module")
def on_swift() -> Iterator[Backend]:
    with ExitStack() as stack:
        yield OnSwift(stack, stack.enter_context(swift().made()), stack.enter_context(swift().made()))


@pytest.fixture(scope="module")
def on_ceph_path() -> Iterator[Backend]:
    with ExitStack() as stack:
        yield OnGateway(stack, stack.enter_context(gateway().made()), gateway())


@pytest.fixture(scope="module")
def on_ceph_virtual() -> Iterator[Backend]:
    with ExitStack() as stack:
        yield OnGateway(stack, stack.enter_context(gateway(style="virtual").made()), gateway())


class TestS3OnSwift(S3Conformance):
    @pytest.fixture
    def backend(self, on_swift: Backend) -> Backend:
        return on_swift


class TestS3OnCephPath(S3Conformance):
    @pytest.fixture
    def backend(self, on_ceph_path: Backend) -> Backend:
        return on_ceph_path


class Addressed(Reading):
    """The part of the suite for every day: all that reads, and of the rest each kind of request once."""

    test_round_trip = Writing.test_round_trip
    test_round_trip_with_normal_options = Writing.test_round_trip_with_normal_options
    test_second_add_keeps_the_first = Writing.test_second_add_keeps_the_first
    test_many_writers = Writing.test_many_writers


class TestS3OnCephVirtual(S3Conformance if os.environ.get("FANLIGHT_LARGE") else Addressed):  # type: ignore[misc]
    """The server of `TestS3OnCephPath` with the bucket's name in the host; `make stores` asks for the whole suite."""

    @pytest.fixture
    def backend(self, on_ceph_virtual: Backend) -> Backend:
        return on_ceph_virtual
