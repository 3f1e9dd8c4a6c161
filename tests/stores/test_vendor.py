"""A driver of somebody else: docs/adding-a-store.md is followed to the letter, and what comes out serves images."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.bed.servers import ROOT, Server
from tests.conftest import StartServer
from tests.stores import disks
from tests.stores.conformance import Backend, Conformance

# pip, and a server for each test of the service.
pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "adding-a-store.md"
MIB = 1 << 20


def code_of(name: str) -> str:
    """What the page shows as the file of that name."""
    found = re.search(
        rf"<!-- file: {re.escape(name)} -->\n```\w+\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    assert found, f"the page does not show {name}"
    return found[1]


@pytest.mark.parametrize("name", ["pyproject.toml", "shelf.py"])
def test_the_page_shows_the_package(name: str) -> None:
    assert code_of(name) == (ROOT / "tests" / "stores" / "vendor" / name).read_text()


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as the page has it, installed with pip into a folder of its own."""
    source, target = tmp_path_factory.mktemp("shelf"), tmp_path_factory.mktemp("site")
    for name in ("pyproject.toml", "shelf.py"):
        (source / name).write_text(code_of(name))
    words = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-build-isolation",
        "--no-deps",
        "--target",
        str(target),
        str(source),
    ]
    subprocess.run([sys.executable, *words], check=True, timeout=100, cwd=source)
    return target


@pytest.fixture
def importable(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same in this process and in those that it starts."""
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setenv("PYTHONPATH", f"{installed}:{ROOT}")
    yield installed
    sys.modules.pop("shelf", None)


class ShelfFile(Backend):
    type = "shelf"
    block = 64 * 1024
    malformed = ("shelf://no-slash", "shelf:///a/b", "file:///a")

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._file = folder / "images.shelf"

    def options(self) -> Mapping[str, Any]:
        return {"shelf_file": str(self._file)}

    def small(self) -> Mapping[str, Any]:
        return {"shelf_file": str(self._file), "shelf_box": str(self.block)}

    def leftovers(self) -> Sequence[str]:
        if not self._file.exists():
            return ()
        with closing(sqlite3.connect(self._file)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return [f"{name} {row[0]}" for name in tables for row in connection.execute(f"SELECT id FROM {name}")]

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        if fault == "full":
            self._stack.enter_context(disks.small(self._folder / "full", 4 * MIB))
            return {"shelf_file": str(self._folder / "full" / "images.shelf")}
        if fault == "denied":
            closed = self._stack.enter_context(disks.closed(self._folder / "closed"))
            return {"shelf_file": str(closed / "images.shelf")}
        return "local"


@pytest.fixture
def backend(tmp_path: Path, importable: Path) -> Iterator[Backend]:
    with ExitStack() as stack:
        yield ShelfFile(tmp_path, stack)


class TestShelf(Conformance):
    pass


# -- in the service

StartShelf = Callable[..., Server]


@pytest.fixture
def shelf(server: StartServer, installed: Path, tmp_path: Path) -> StartShelf:
    """A service with the configuration of the page: a store `attic` of type shelf."""

    def start(**more: str) -> Server:
        sections: dict[str, dict[str, object]] = {}
        for line in code_of("glance-api.conf").splitlines():
            if line.startswith("["):
                group = sections.setdefault(line.strip("[]"), {})
            elif line:
                name, _, value = line.partition(" = ")
                group[name] = value.replace("/srv", str(tmp_path))
        sections["attic"] |= more
        return server(config=sections, environment={"PYTHONPATH": f"{installed}:{ROOT}"})

    return start


def readers(server: Server, tmp_path: Path, image_id: str) -> str | None:
    with closing(sqlite3.connect(tmp_path / "images.shelf")) as connection:
        row = connection.execute("SELECT readers FROM things WHERE id = ?", (image_id,)).fetchone()
    assert row is not None
    found: str | None = row[0]
    return found


def test_images_in_the_shelf(shelf: StartShelf, tmp_path: Path) -> None:
    one = shelf()
    member = one.as_member("p")
    data = bytes(range(256)) * 20_000
    image = member.create_active(data)
    assert image["stores"] == "attic"
    assert member.get(f"/v2/images/{image['id']}/file").content == data
    part = member.get(f"/v2/images/{image['id']}/file", headers={"Range": "bytes=1048570-1048590"})
    assert (part.status_code, part.content) == (206, data[1048570:1048591])
    assert one.rows("SELECT value FROM image_locations") == [{"value": f"shelf:///{image['id']}"}]
    with closing(sqlite3.connect(tmp_path / "images.shelf")) as connection:
        # Options come as text and are typed as declared; the driver knows who asked.
        assert connection.execute("SELECT max(length(bytes)) FROM boxes").fetchone() == (65536,)
        assert connection.execute("SELECT owner FROM things").fetchone() == ("p",)
    assert member.delete(f"/v2/images/{image['id']}").status_code == 204
    with closing(sqlite3.connect(tmp_path / "images.shelf")) as connection:
        assert connection.execute("SELECT count(*) FROM boxes").fetchone() == (0,)
    assert "has no effect" not in one.log_text()


def test_what_discovery_says_of_it(shelf: StartShelf) -> None:
    one = shelf()
    stores = one.as_admin().get("/v2/info/stores").json()["stores"]
    assert stores == [{"id": "attic", "default": "true", "description": "everything in one file"}]
    detail = one.as_admin().get("/v2/info/stores/detail").json()["stores"]
    assert detail == [{**stores[0], "type": "shelf", "properties": {}, "weight": 0}]


def test_who_may_read_is_told(shelf: StartShelf, tmp_path: Path) -> None:
    one = shelf()
    owner, other = one.as_member("p"), one.as_member("other")
    image = owner.create_active(b"data", visibility="shared")
    path = f"/v2/images/{image['id']}"

    def told() -> str | None:
        return readers(one, tmp_path, image["id"])

    assert told() == ""
    assert owner.post(path + "/members", json={"member": "other"}).status_code == 200
    assert told() == "other"
    assert other.put(path + "/members/other", json={"status": "accepted"}).status_code == 200
    assert owner.post(path + "/members", json={"member": "third"}).status_code == 200
    assert told() == "other,third"
    assert owner.delete(path + "/members/other").status_code == 204
    assert told() == "third"
    change = {"op": "replace", "path": "/visibility", "value": "community"}
    assert owner.change(image["id"], change).status_code == 200
    assert told() == "everybody"
    assert owner.change(image["id"], {**change, "value": "private"}).status_code == 200
    assert told() == ""
    assert readers(one, tmp_path, owner.create_active(b"x", visibility="community")["id"]) == "everybody"


def test_a_store_that_cannot_be_told_undoes_nothing(shelf: StartShelf, tmp_path: Path) -> None:
    one = shelf()
    owner = one.as_member("p")
    image = owner.create_active(b"data", visibility="shared")
    with closing(sqlite3.connect(tmp_path / "images.shelf", isolation_level=None)) as connection:
        connection.execute("UPDATE things SET size = NULL")
    assert owner.post(f"/v2/images/{image['id']}/members", json={"member": "other"}).status_code == 200
    assert owner.change(image["id"], {"op": "add", "path": "/visibility", "value": "private"}).status_code == 200
    one.wait_for_log("attic was not told who may read image")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"shelf_box": "many"}, r"\[attic\]shelf_box = many is wrong: it must be a whole number"),
        ({"shelf_box": "0"}, "The default store attic does not work: shelf_file must be"),
    ],
)
def test_options_that_cannot_be_stop_the_start(shelf: StartShelf, options: dict[str, str], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        shelf(**options)
