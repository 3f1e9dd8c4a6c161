"""The bed itself: what other tests believe about their servers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.bed.databases import Database
from tests.bed.servers import TRACEBACK, Server
from tests.conftest import StartServer


def test_an_image_goes_through_every_helper(server: StartServer) -> None:
    one = server()
    member = one.as_member("p1")
    image = member.create_active(b"0123456789", name="first")
    assert (image["status"], image["size"]) == ("active", 10)
    assert member.get(f"/v2/images/{image['id']}/file").content == b"0123456789"
    assert one.files() == {image["id"]: 10}
    assert one.rows("SELECT name, owner FROM images WHERE id = :id", id=image["id"]) == [
        {"name": "first", "owner": "p1"}
    ]
    assert member.change(image["id"], {"op": "replace", "path": "/name", "value": "second"}).status_code == 200
    assert one.as_admin().show(image["id"])["name"] == "second"
    assert one.as_reader("p2").get(f"/v2/images/{image['id']}").status_code == 404


def test_callers_of_a_trusted_front_end(server: StartServer) -> None:
    one = server(flavor="trusted")
    assert one.as_member("p1").create()["owner"] == "p1"
    assert one.client().get("/v2/images").status_code == 401


def test_without_identity_everybody_is_one_project(server: StartServer) -> None:
    one = server(flavor=None)
    assert one.client().create()["status"] == "queued"
    with pytest.raises(ValueError, match="believe"):
        one.as_admin()


def test_it_keeps_port_and_data_over_stop_and_kill(server: StartServer) -> None:
    one = server()
    url, image = one.url, one.as_member("p1").create_active(b"kept")
    assert one.stop() == 0
    assert not one.running
    one.start()
    one.kill()
    assert not one.running
    one.start()
    assert one.url == url
    assert one.as_member("p1").show(image["id"])["status"] == "active"


def test_kill_ends_the_workers_too(server: StartServer) -> None:
    one = server(workers=2)
    assert len(one.processes()) == 3
    one.kill()
    assert one.processes() == []


def test_policy_and_options_arrive(server: StartServer) -> None:
    one = server(policy={"add_image": "role:admin"}, config={"DEFAULT": {"image_tag_quota": 1}})
    assert one.as_member("p1").post("/v2/images", json={}).status_code == 403
    assert one.as_admin().post("/v2/images", json={"tags": ["a", "b"]}).status_code == 413


def test_a_server_that_does_not_start_says_why(server: StartServer) -> None:
    with pytest.raises(AssertionError, match="flavor"):
        server(flavor="nonsense")


def test_each_engine_serves(server: StartServer, database: Database) -> None:
    one = server(database=database.url)
    image = one.as_member("p1").create(name="on " + database.engine)
    assert one.rows("SELECT name FROM images WHERE id = :id", id=image["id"]) == [{"name": "on " + database.engine}]


def test_the_shared_service_is_one_process(service: Server, project: str, engine: str) -> None:
    member = service.as_member(project)
    image = member.create_active(b"x", name="shared")
    assert [found["id"] for found in member.get("/v2/images").json()["images"]] == [image["id"]]
    assert engine in service.folder.name


def test_a_logged_traceback_is_found_unless_allowed(tmp_path: Path) -> None:
    one = Server(tmp_path)
    one.log_file.write_text(f"fine\n{TRACEBACK}:\n  File x\nValueError: planted\n")
    assert len(one.unexpected_tracebacks()) == 1
    assert one.unexpected_tracebacks(since=one.log_size()) == []
    one.allow_traceback("planted")
    assert one.unexpected_tracebacks() == []


def test_the_end_leaves_nothing(tmp_path: Path) -> None:
    one = Server(tmp_path, workers=2).start()
    one.signal(signal.SIGSTOP)
    one.kill()
    one.end()
    assert one.processes() == []


def test_keystone_knows_the_users(keystone: Any) -> None:
    for user in ("admin", "glance", "demo", "viewer", "other"):
        assert keystone.token(user)


def test_the_image_service_is_found_in_the_region(keystone: Any, region: str) -> None:
    keystone.publish("http://127.0.0.1:1", region)
    keystone.publish("http://127.0.0.1:2", region)
    found = keystone._ask("GET", f"/endpoints?region_id={region}")["endpoints"]
    urls = sorted(endpoint["url"] for endpoint in found)
    assert urls == ["http://127.0.0.1:2"] * 3 + [keystone.url] * 3
