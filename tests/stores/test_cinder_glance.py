"""Glance's own driver and ours on the same volumes of a real Cinder."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fanlight.model import Location
from tests.stores.glances import glance_store
from tests.stores.place import STORE, Bytes, Place, new_id, pattern
from tests.stores.test_cinder import Volumes, volumes
from tests.stores.writing import assert_nothing_new

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SIZE = 9_000_001


@pytest.fixture(scope="module", params=["ceph", "nfs"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Volumes]:
    with volumes(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


@pytest.fixture(autouse=True)
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Glance has everything done by `sudo glance-rootwrap FILE COMMAND`; as root, the command does."""
    script = tmp_path / "sudo"
    script.write_text('#!/bin/sh\n[ "$1" != glance-rootwrap ] || shift 2\nexec "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("OSLO_LOCK_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{sysconfig.get_path('scripts')}:{os.environ['PATH']}")


def options(backend: Volumes, tmp_path: Path) -> Mapping[str, Any]:
    return {**backend.options(), "cinder_mount_point_base": str(tmp_path / "mnt")}


def test_glance_reads_and_deletes_what_we_write(backend: Volumes, tmp_path: Path) -> None:
    place = Place(backend, backend.options())
    data = pattern(SIZE)
    # As in a classic configuration of Glance, whose URLs name no store.
    urls = [place.put(Bytes(data), size).url.replace(f"{STORE}/", "") for size in (SIZE, None)]
    read = glance_store("cinder", options(backend, tmp_path), *[["read", url] for url in urls])
    assert read == [hashlib.sha512(data).hexdigest()] * 2
    # It does not wait until they are gone: the next may meet a volume that is being deleted.
    glance_store("cinder", options(backend, tmp_path), *[["delete", url] for url in urls])
    assert_nothing_new(place)


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_we_read_and_delete_what_glance_writes(backend: Volumes, tmp_path: Path, known: bool) -> None:
    place = Place(backend, backend.options())
    data = pattern(SIZE)
    task = ["add", new_id(), data, SIZE if known else None]
    [url] = glance_store("cinder", options(backend, tmp_path), task)
    location = Location(url=url, metadata={"store": STORE})
    assert place.stores.size(location) == SIZE
    assert place.read(location) == data
    assert place.read(location, SIZE - 3, 3) == data[-3:]
    place.delete(location)
    assert place.leftovers() == []
