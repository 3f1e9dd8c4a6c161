"""A policy file of a running service, over HTTP: what it changes, and that changing it needs no restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.bed.servers import Server
from tests.conftest import StartServer


def until(expected: int, ask: Callable[[], int]) -> None:
    """The new rules hold within seconds."""
    deadline = time.monotonic() + 5
    while (found := ask()) != expected:
        assert time.monotonic() < deadline, f"still {found}, not {expected}"
        time.sleep(0.05)


def test_a_changed_policy_holds_without_restart(server: StartServer) -> None:
    one: Server = server(policy={"add_image": "@"})
    reader = one.as_reader("p1")

    def create() -> int:
        return reader.post("/v2/images", json={}).status_code

    assert create() == 201
    one.write_policy({"add_image": "role:member"})
    until(403, create)
    since = one.log_size()
    one.write_policy('"add_image": "role:reader or"\n')
    deadline = time.monotonic() + 5
    while "policy cannot be understood" not in one.log_text(since):
        assert create() == 403
        assert time.monotonic() < deadline
        time.sleep(0.05)
    one.policy_file.unlink()
    until(403, create)
    one.write_policy({"add_image": "role:reader"})
    until(201, create)
    assert one.log_text(since).count("policy cannot be understood") == 1


def test_an_image_that_policy_hides_is_not_found(server: StartServer) -> None:
    one = server(policy={"get_image": "rule:context_is_admin", "modify_image": "role:member"})
    member = one.as_member("p1")
    image = member.create(name="hidden")
    change = {"op": "replace", "path": "/name", "value": "x"}
    assert member.get(f"/v2/images/{image['id']}").status_code == 404
    assert member.delete(f"/v2/images/{image['id']}").status_code in (204, 404)
    other = one.as_member("p2").create(name="of another")
    assert member.change(other["id"], change).status_code == 404
    assert one.as_admin().get(f"/v2/images/{other['id']}").status_code == 200


def test_policy_comes_before_what_an_image_has(server: StartServer) -> None:
    """Who may not change an image is told so, whatever the image has or lacks."""
    one = server()
    owner, other = one.as_member("p1"), one.as_member("p2")
    image = owner.create(visibility="community", there="yes")
    missing = {"op": "replace", "path": "/missing", "value": "x"}, {"op": "remove", "path": "/missing"}
    for operation in (*missing, {"op": "remove", "path": "/there"}, {"op": "remove", "path": "/name"}):
        assert other.change(image["id"], operation).status_code == 403
        assert one.as_reader("p1").change(image["id"], operation).status_code == 403
    draft_4 = {"Content-Type": "application/openstack-images-v2.0-json-patch"}
    there = [{"add": "/there", "value": "x"}]
    for client, status in ((other, 403), (owner, 409)):
        assert client.patch(f"/v2/images/{image['id']}", json=there, headers=draft_4).status_code == status
    assert [owner.change(image["id"], operation).status_code for operation in missing] == [409, 409]
    assert other.change(image["id"]).json() == owner.show(image["id"]) == image


def test_a_rule_that_one_may_see_but_not_pass_is_forbidden(server: StartServer) -> None:
    one = server(policy={"modify_image": "role:nobody", "delete_image": "role:nobody"})
    member = one.as_member("p1")
    image = member.create()
    assert member.change(image["id"], {"op": "replace", "path": "/name", "value": "x"}).status_code == 403
    assert member.delete(f"/v2/images/{image['id']}").status_code == 403
    assert member.get(f"/v2/images/{image['id']}").status_code == 200


def test_a_slow_answer_of_another_service_holds_nobody_up(server: StartServer) -> None:
    """It is asked while no transaction is open, and once."""
    asked: list[str] = []
    answering, go = threading.Event(), threading.Event()

    class Judge(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            answering.set()
            assert go.wait(20)
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"True")

        def log_message(self, format: str, *words: object) -> None:
            """Silence."""

    judge = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=judge.serve_forever, daemon=True).start()
    one = server(policy={"modify_image": f"http://127.0.0.1:{judge.server_port}/%(id)s"})
    image = one.as_member("p1").create(name="before")
    statuses: list[int] = []

    def change() -> None:
        rename = {"op": "replace", "path": "/name", "value": "after"}
        statuses.append(one.as_member("p1").change(image["id"], rename).status_code)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        assert answering.wait(20)
        assert one.as_member("p2").create(name="of another")["status"] == "queued"
        assert statuses == []
    finally:
        go.set()
        changing.join(20)
        judge.shutdown()
        judge.server_close()
    assert statuses == [200]
    assert one.as_member("p1").show(image["id"])["name"] == "after"
    assert asked == [f"/{image['id']}"]
