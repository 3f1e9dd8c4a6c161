"""The RBD store: the suite, against a pool of its own with just the permissions that the documentation names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.stores.ceph import Pool, cloned
from tests.stores.conformance import Backend, Conformance, closed_port, silent_port
from tests.stores.leaving import Leaving

pytestmark = pytest.mark.services
MIB = 1 << 20


class RbdPool(Backend):
    type = "rbd"
    block = MIB
    malformed = (
        "rbd://a/b",
        "rbd://a/b/c",
        "rbd://a/b/c/d/e",
        "rbd://a/b/c/",
        "rbd:///b/c/d",
        "rbd://a//c/d",
        "rbd://ä",
        "rbd://%ff",
        "rbd://a%00b",
        "rbd:/a",
        "rados://a",
    )

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.pool = stack.enter_context(Pool.made(folder))
        self.secrets = (self.pool.key,)

    def options(self) -> Mapping[str, Any]:
        return self.pool.options()

    def small(self) -> Mapping[str, Any]:
        return {**self.pool.options(), "rbd_store_chunk_size": 1}

    def leftovers(self) -> Sequence[str]:
        return self.pool.objects()

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        if fault == "full":
            small = self._stack.enter_context(Pool.made(self._folder, quota=4 * MIB))
            return small.options()
        if fault == "denied":
            closed = self._stack.enter_context(Pool.made(self._folder))
            return {**closed.options(), "rbd_store_user": self.pool.user}
        port = closed_port() if fault == "down" else self._stack.enter_context(silent_port())
        return {**self.pool.options(f"v2:127.0.0.1:{port}"), "rados_connect_timeout": 1}

    def busy(self, url: str) -> AbstractContextManager[None] | str:
        return cloned(self.pool, url)

    def spellings(self, url: str) -> Sequence[str]:
        fsid, pool, image, snapshot = url.removeprefix("rbd://").split("/")
        return (
            f"rbd://{image}",
            url.replace("rbd://", "RBD://"),
            f"rbd://{fsid}/{pool}/{image.replace('-', '%2d')}/{snapshot}",
        )


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with ExitStack() as stack:
        yield RbdPool(tmp_path_factory.mktemp("rbd"), stack)


class TestRbd(Leaving, Conformance):
    removal = "_remove"
