"""A store that lets a clean-up wait costs nobody else: whoever lives keeps what it holds, for other nodes, too."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from tests.bed.packages import install_store
from tests.conftest import StartServer
from tests.durability.wire import PROJECT, SlowUpload
from tests.edge.raw import eventually

MODULE = """
import time
from pathlib import Path

from fanlight.stores.filesystem import Filesystem


class Tired(Filesystem):
    def discard(self, object_id):
        folder = Path(self.options["filesystem_store_datadir"])
        while (folder / ("tired of " + object_id)).exists():
            time.sleep(0.05)
        (folder / ("done with " + object_id)).touch()
        if (folder / ("broken of " + object_id)).exists():
            raise KeyError(object_id)
        super().discard(object_id)
"""


def test_other_nodes_leave_a_living_upload_alone(server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    path = install_store(tmp_path / "site", "tired", MODULE)
    config: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": "theirs:tired"},
        "glance_store": {"default_backend": "theirs"},
        "theirs": {"filesystem_store_datadir": str(folder)},
        "fanlight": {"lease_seconds": 3},
    }
    data_dir = tmp_path / "shared"
    one = server(config=config, data_dir=data_dir, environment={"PYTHONPATH": path})
    stuck = [str(uuid.uuid4()) for _ in range(2)]
    for image_id in stuck:
        (folder / f"tired of {image_id}").touch()
        one.rows(
            "INSERT INTO fanlight_leases (token, kind, image_id, store, meta_data, holder, expires_at) "
            "VALUES (:token, 'discard', :id, 'theirs', '{}', 'somebody', '2020-01-01 00:00:00.000000')",
            token=uuid.uuid4().hex,
            id=image_id,
        )
    eventually(lambda: one.rows("SELECT 1 FROM fanlight_leases WHERE holder != 'somebody'"), 15)
    image = one.as_member(PROJECT).create()
    with SlowUpload(one, image["id"], 3) as upload:
        upload.send(b"a")
        eventually(lambda: one.rows("SELECT 1 FROM fanlight_leases WHERE kind = 'upload'"))
        two = server(config=config, data_dir=data_dir, environment={"PYTHONPATH": path})
        # Longer than leases that nobody renews last.
        time.sleep(7)
        upload.send(b"bc")
        assert upload.end() == 204
    assert one.as_member(PROJECT).get(f"/v2/images/{image['id']}/file").content == b"abc"
    assert "cleaned up" not in two.log_text()
    for image_id in stuck:
        (folder / f"tired of {image_id}").unlink()
    eventually(lambda: not one.rows("SELECT 1 FROM fanlight_leases"), 15)
    assert (one.log_text() + two.log_text()).count("cleaned up after") >= 2


def test_a_driver_with_a_defect_costs_its_own_clean_up_alone(server: StartServer, tmp_path: Path) -> None:
    """Those that are taken over together come in the order of their tokens, every time."""
    folder = tmp_path / "images"
    folder.mkdir()
    config: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": "theirs:tired"},
        "glance_store": {"default_backend": "theirs"},
        "theirs": {"filesystem_store_datadir": str(folder)},
        "fanlight": {"lease_seconds": 3},
    }
    one = server(config=config, environment={"PYTHONPATH": install_store(tmp_path / "site", "tired", MODULE)})
    one.allow_traceback("KeyError")
    ids = [str(uuid.uuid4()) for _ in range(3)]
    (folder / f"broken of {ids[0]}").touch()
    for number, image_id in enumerate(ids):
        one.rows(
            "INSERT INTO fanlight_leases (token, kind, image_id, store, meta_data, holder, expires_at) "
            "VALUES (:token, 'discard', :id, 'theirs', '{}', 'somebody', '2020-01-01 00:00:00.000000')",
            token=f"{number}" * 32,
            id=image_id,
        )
    eventually(lambda: one.rows("SELECT image_id FROM fanlight_leases") == [{"image_id": ids[0]}], 15)
    one.wait_for_log("KeyError")
    (folder / f"broken of {ids[0]}").unlink()
    eventually(lambda: one.rows("SELECT image_id FROM fanlight_leases") == [], 15)
