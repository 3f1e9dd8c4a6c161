"""No room for the SQLite file: writes are 503, reads go on, and all is well once there is room again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.edge.raw import eventually
from tests.stores import disks

MIB = 1 << 20


@pytest.fixture
def cramped(server: StartServer, tmp_path: Path) -> Iterator[Server]:
    with disks.small(tmp_path / "data", 6 * MIB):
        one = server(data_dir=tmp_path / "data")
        try:
            yield one
        finally:
            one.end()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_below_the_database(cramped: Server) -> None:
    member = cramped.as_member("p")
    kept = member.create(name="kept")
    filler = cramped.data_dir / "filler"
    with pytest.raises(OSError, match="No space left"):
        fill(filler)
    statuses = {member.post("/v2/images", json={"name": "x" * 200}).status_code for _ in range(60)}
    assert statuses <= {201, 503}
    assert 503 in statuses
    answer = member.post("/v2/images", json={"name": "one more"})
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert member.show(kept["id"])["name"] == "kept"
    assert member.get("/v2/images").status_code == 200
    cramped.wait_for_log("The disk of the database is full")
    filler.unlink()
    eventually(lambda: member.post("/v2/images", json={"name": "again"}).status_code == 201)
