"""A store of callers' accounts: nobody can remove what a failed upload left there, so nobody may have to wait for that.

The store is a package of the test's own, as a vendor's would be. It goes away in the middle of every upload as long as
a file says so, and then answers that it can discard nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bed.packages import install_store
from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.durability.wire import PROJECT, SlowUpload
from tests.edge.raw import eventually

MODULE = """
from pathlib import Path

from fanlight.errors import ObjectNotFound, StoreDeleteUnsupported, StoreUnreachable
from fanlight.stores.driver import Added, Opened, Option, Store


class Accounts(Store):
    schemes = ("accounts",)
    declares = (Option(name="accounts_folder"),)

    def add(self, object_id, source, size, context=None):
        folder = Path(self.options["accounts_folder"])
        with (folder / object_id).open("wb") as file:
            while len(block := source.read(65536)):
                file.write(block)
                file.flush()
                if (folder / "away").exists():
                    raise StoreUnreachable
            return Added(f"accounts://{object_id}", file.tell())

    def open(self, url, offset=0, length=None, context=None):
        data = (Path(self.options["accounts_folder"]) / url.removeprefix("accounts://")).read_bytes()[offset:]
        data = data if length is None else data[:length]
        return Opened(len(data), iter([data]), lambda: None)

    def get_size(self, url, context=None):
        raise ObjectNotFound

    def discard(self, object_id):
        raise StoreDeleteUnsupported("What is left lies in the account of the image's owner.")
"""


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    """The folder in which the store keeps its objects; `away` in it is the file that says so."""
    folder = tmp_path / "accounts"
    folder.mkdir()
    return folder


@pytest.fixture
def start(server: StartServer, accounts: Path) -> Callable[[], Server]:
    config: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": "theirs:accounts"},
        "glance_store": {"default_backend": "theirs"},
        "theirs": {"accounts_folder": str(accounts)},
    }
    path = install_store(accounts.with_name("site"), "accounts", MODULE)
    return lambda: server(config=config, environment={"PYTHONPATH": path})


def assert_free(one: Server, image_id: str) -> None:
    """Queued, nothing is owed, and the next upload to the same store is taken."""
    member = one.as_member(PROJECT)
    assert member.show(image_id)["status"] == "queued"
    assert one.rows("SELECT kind FROM fanlight_leases") == []
    answer = member.upload(image_id, b"at last")
    assert answer.status_code == 204, answer.text
    assert member.get(f"/v2/images/{image_id}/file").content == b"at last"


def test_upload_that_fails(start: Callable[[], Server], accounts: Path) -> None:
    one = start()
    member = one.as_member(PROJECT)
    image = member.create()
    (accounts / "away").touch()
    answer = member.upload(image["id"], b"lost on the way")
    assert answer.status_code == 503, answer.text
    assert (accounts / image["id"]).read_bytes() == b"lost on the way"
    (accounts / "away").unlink()
    assert_free(one, image["id"])


def test_upload_whose_process_is_killed(start: Callable[[], Server], accounts: Path) -> None:
    one = start()
    image = one.as_member(PROJECT).create()
    with SlowUpload(one, image["id"], 8 << 20) as upload:
        upload.send(b"a" * (5 << 20))
        eventually((accounts / image["id"]).exists)
        one.kill()
    one.start()
    eventually(lambda: one.as_member(PROJECT).show(image["id"])["status"] == "queued")
    one.wait_for_log(f"what an upload to image {image['id']} left in store theirs stays there")
    assert_free(one, image["id"])
