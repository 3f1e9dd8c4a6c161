"""Custom properties that an operator declared in a schema-image.json with other types than text, on every database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bed.callers import Client
from tests.bed.databases import Database
from tests.conftest import StartServer

DECLARED = {
    "cores": {"type": "integer"},
    "ratio": {"type": "number"},
    "fast": {"type": "boolean"},
    "flags": {"type": "array"},
    "extra": {"type": "object"},
    "kernel_id": {"type": ["null", "string"]},
    "any": {},
}
KEPT: list[tuple[str, Any, Any]] = [
    ("cores", 5, "5"),
    ("cores", -7, "-7"),
    ("cores", 0, "0"),
    ("cores", 2.0, "2.0"),
    ("cores", 2**63 - 1, str(2**63 - 1)),
    ("ratio", 1.5, "1.5"),
    ("ratio", 1e300, "1e+300"),
    ("fast", True, "1"),
    ("fast", False, "0"),
    ("kernel_id", None, None),
    ("kernel_id", "k", "k"),
    ("any", 3, "3"),
]
"""Name, value as given and as answered to that, and what is read from then on: Glance's column is one of texts."""
REFUSED: list[tuple[str, Any]] = [
    ("cores", 10**30),
    ("cores", -(2**63) - 1),
    ("cores", "5"),
    ("fast", 1),
    ("flags", []),
    ("flags", ["a"]),
    ("extra", {}),
    ("extra", {"a": 1}),
    ("any", ["a"]),
    ("undeclared", 5),
    ("undeclared", None),
]


@pytest.fixture
def member(server: StartServer, database: Database, tmp_path: Path) -> Client:
    file = tmp_path / "declared.json"
    file.write_text(json.dumps(DECLARED))
    config = {"fanlight": {"schema_image_file": file}}
    return server(database=database.url, config=config).as_member("p1")


def test_what_stands_beside_the_configuration_counts(server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "server-0").mkdir()
    (tmp_path / "server-0" / "schema-image.json").write_text(json.dumps(DECLARED))
    member = server().as_member("p1")
    assert member.get("/v2/schemas/image").json()["properties"]["cores"] == {"type": "integer", "is_base": False}
    assert member.post("/v2/images", json={"cores": "5"}).status_code == 400


def test_what_is_kept(member: Client) -> None:
    for name, given, read in KEPT:
        made = member.create(**{name: given})
        assert (made[name], type(made[name])) == (given, type(given)), (name, given)
        assert member.show(made["id"])[name] == read, (name, given)
        other = member.create()
        for op in ("add", "replace"):
            changed = member.change(other["id"], {"op": op, "path": f"/{name}", "value": given})
            assert (changed.status_code, changed.json()[name]) == (200, given), (name, given)
            assert member.show(other["id"])[name] == read, (name, given)
        if read is not None:
            listed = member.get(f"/v2/images?limit=100&{name}={read.replace('+', '%2B')}").json()["images"]
            assert {made["id"], other["id"]} <= {image["id"] for image in listed}, (name, given)


def test_what_no_column_of_texts_can_keep(member: Client) -> None:
    image = member.create()
    for name, given in REFUSED:
        answer = member.post("/v2/images", json={name: given})
        assert answer.status_code == 400, (name, given)
        changed = member.change(image["id"], {"op": "add", "path": f"/{name}", "value": given})
        assert changed.status_code == 400, (name, given)
    assert member.show(image["id"]) == image
