"""No request costs more calls, depth, statements and transactions than its ceiling.

`frames` are the calls of the handler and of all below it, `whole` those of the whole way (docs/architecture.md, "What a
request may cost"). A ceiling is not raised because it was met: find the call that does nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.shape.counting import Cost, Running, cheapest

TIMES = 5
IMAGE = {
    "name": "one",
    "disk_format": "raw",
    "container_format": "bare",
    "tags": ["a", "b"],
    "os_distro": "debian",
    "os_version": "12",
    "hw_disk_bus": "virtio",
    "hw_vif_model": "virtio",
}
"""As the benchmarks have them: four properties, two tags."""
PATCH_TYPE = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("counted")).serve() as one:
        yield one


def create(running: Running, data: bytes | None = None) -> str:
    image_id = str(uuid.uuid4())
    running.ask("POST", "/v2/images", json={**IMAGE, "id": image_id})
    if data is not None:
        running.ask("PUT", f"/v2/images/{image_id}/file", content=data, headers=OCTETS)
    return image_id


def measured(one: Callable[[], Cost]) -> Cost:
    return cheapest([one() for _ in range(TIMES)])


def held(cost: Cost, *, frames: int, whole: int, transactions: int, statements: int | None = None) -> None:
    assert cost.frames <= frames, f"the ceiling is {frames} calls from the handler on:\n{cost}"
    assert cost.whole <= whole, f"the ceiling is {whole} calls on the whole way:\n{cost}"
    assert cost.transactions <= transactions, f"the ceiling is {transactions} transactions:\n{cost}"
    assert statements is None or len(cost.statements) <= statements, f"the ceiling is {statements} statements:\n{cost}"


def test_show(running: Running) -> None:
    path = f"/v2/images/{create(running, b'data')}"
    cost = measured(lambda: running.cost("GET", path))
    held(cost, frames=30, whole=56, transactions=1, statements=2)
    assert cost.depth <= 8, str(cost)


def test_list(running: Running) -> None:
    for _ in range(26):
        create(running)
    assert len(running.ask("GET", "/v2/images?limit=25").json()["images"]) == 25
    cost = measured(lambda: running.cost("GET", "/v2/images?limit=25"))
    held(cost, frames=40 + 4 * 25, whole=70 + 4 * 25, transactions=1, statements=4)


def test_create(running: Running) -> None:
    cost = measured(lambda: running.cost("POST", "/v2/images", json=IMAGE))
    held(cost, frames=50, whole=80, transactions=1, statements=7)


def test_update(running: Running) -> None:
    path = f"/v2/images/{create(running)}"
    names = iter(range(TIMES))

    def patch() -> Cost:
        operation = {"op": "replace", "path": "/name", "value": f"name {next(names)}"}
        return running.cost("PATCH", path, json=[operation], headers=PATCH_TYPE)

    held(measured(patch), frames=60, whole=92, transactions=1)


def test_upload(running: Running) -> None:
    data = b"x" * 64 * 1024

    def upload() -> Cost:
        return running.cost("PUT", f"/v2/images/{create(running)}/file", content=data, headers=OCTETS)

    # The lease, the inspection of the format and the two hashes beside the writer cost some forty of them.
    held(measured(upload), frames=96 + 4, whole=156 + 4, transactions=2)


def test_delete(running: Running) -> None:
    def delete() -> Cost:
        return running.cost("DELETE", f"/v2/images/{create(running, b'data')}")

    # The store looks whether the place is its own, and puts a limit on the time that it takes.
    held(measured(delete), frames=54, whole=88, transactions=2)


def test_what_is_counted(running: Running) -> None:
    path = f"/v2/images/{create(running, b'data')}"
    cost = measured(lambda: running.cost("GET", path))
    assert cost.calls["operations/images.py show"] == 1
    assert cost.calls["http/pipeline.py Pipeline.__call__"] == 1
    assert 0 < cost.frames < cost.whole
    assert all(statement.startswith("SELECT") for statement in cost.statements)
    assert cost.transactions == 1
