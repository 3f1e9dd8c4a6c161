"""What is asked of the service rather than of an image: versions, health, CORS, and its log of requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.edge.raw import eventually

ORIGIN = "https://dashboard.example"


def test_versions_for_everybody(service: Server) -> None:
    client = service.client()
    listed, choices = client.get("/versions"), client.get("/")
    assert (listed.status_code, choices.status_code) == (200, 300)
    assert listed.json() == choices.json()
    versions = choices.json()["versions"]
    assert [each["status"] for each in versions].count("CURRENT") == 1
    assert {each["links"][0]["href"] for each in versions} == {f"{service.url}/v2/"}
    redirected = client.get("/v2")
    assert (redirected.status_code, redirected.headers["location"]) == (302, f"{service.url}/v2/")
    # Below /v2/ begins the API: who is not known learns nothing, who is learns that nothing is there.
    assert client.get("/v2/").status_code == 401
    assert service.as_reader("anybody").get("/v2/").status_code == 404
    assert client.get("/v2/images").status_code == 401


def test_links_name_the_public_endpoint(server: StartServer) -> None:
    one = server(config={"DEFAULT": {"public_endpoint": "https://images.example/glance"}})
    links = {each["links"][0]["href"] for each in one.client().get("/").json()["versions"]}
    assert links == {"https://images.example/glance/v2/"}


def test_health_is_switched_off_by_a_file(server: StartServer, tmp_path: Path) -> None:
    switch = tmp_path / "drain"
    client = server(config={"healthcheck": {"disable_by_file_path": switch}}).client()
    assert client.get("/healthcheck").status_code == 200
    assert client.head("/healthcheck").status_code == 204
    switch.touch()
    closed = client.get("/healthcheck")
    assert closed.status_code == 503
    assert str(tmp_path) not in closed.text
    # It only speaks to the load balancer: requests are served on.
    assert client.get("/versions").status_code == 200
    switch.unlink()
    assert client.get("/healthcheck").status_code == 200


@pytest.fixture(scope="module")
def for_browsers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("cors"), config={"cors": {"allowed_origin": ORIGIN}}).start()
    yield one
    one.end()


def test_cors_preflight(for_browsers: Server) -> None:
    wanted = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "X-Auth-Token",
    }
    answer = for_browsers.client().options("/v2/images", headers=wanted)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "x-auth-token" in answer.headers["access-control-allow-headers"].lower()
    assert int(answer.headers["access-control-max-age"]) == 3600


@pytest.mark.parametrize(
    ("path", "method"), [("/v2/images", "POST"), ("/v2/images/x", "PATCH"), ("/v2/images/x/file", "PUT")]
)
def test_a_page_may_send_what_we_take(for_browsers: Server, path: str, method: str) -> None:
    """JSON, patches and octet streams are Content-Types for which a browser asks first."""
    wanted = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,x-auth-token",
    }
    answer = for_browsers.client().options(path, headers=wanted)
    assert (answer.status_code, answer.headers["access-control-allow-methods"]) == (200, method)
    assert answer.headers["access-control-allow-headers"] == "content-type,x-auth-token"


@pytest.mark.parametrize(("method", "headers"), [("TRACE", "x-auth-token"), ("PUT", "x-auth-token,x-own")])
def test_a_preflight_for_more_than_is_allowed(for_browsers: Server, method: str, headers: str) -> None:
    wanted = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }
    answer = for_browsers.client().options("/v2/images", headers=wanted)
    assert answer.status_code == 200
    assert [name for name in answer.headers if name.startswith("access-control")] == []


def test_cors_of_answers_and_errors(for_browsers: Server) -> None:
    member = for_browsers.as_member("p")
    image = member.create_active(b"data")
    for path in ("/v2/images", f"/v2/images/{image['id']}", f"/v2/images/{image['id']}/file", "/v2/images/none", "/"):
        answer = member.get(path, headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN, path
        assert "origin" in answer.headers["vary"].lower()
    nobody = for_browsers.client().get("/v2/images", headers={"Origin": ORIGIN})
    assert (nobody.status_code, nobody.headers["access-control-allow-origin"]) == (401, ORIGIN)


def test_cors_is_for_those_origins_alone(for_browsers: Server, service: Server, project: str) -> None:
    for one, origin in (
        (for_browsers, "https://evil.example"),
        (for_browsers, ORIGIN + ".evil.example"),
        (service, ORIGIN),
    ):
        for method in ("GET", "OPTIONS"):
            wanted = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            answer = one.as_member(project).request(method, "/v2/images", headers=wanted)
            assert answer.status_code == 200
            assert [name for name in answer.headers if name.startswith("access-control")] == []


def test_request_ids(service: Server, project: str) -> None:
    member = service.as_member(project)
    first, second = (member.get("/v2/images").headers["x-openstack-request-id"] for _ in range(2))
    assert first.startswith("req-")
    assert first != second
    own = member.get("/v2/images", headers={"X-Openstack-Request-Id": "req-mine"})
    assert own.headers["x-openstack-request-id"] == "req-mine"


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_access_log_tells_each_request(server: StartServer, style: str) -> None:
    one = server(config={"DEFAULT": {"use_json": style == "json"}})
    member = one.as_member("proj", "ann")
    image = member.create()
    path = f"/v2/images/{image['id']}/file"
    octets = {"Content-Type": "application/octet-stream", "X-Openstack-Request-Id": "req-up"}
    assert member.put(path, content=b"x" * 12_345, headers=octets).status_code == 204
    assert len(member.get(path, headers={"X-Openstack-Request-Id": "req-down"}).content) == 12_345
    member.get("/v2/images/none?a=b%20c", headers={"X-Openstack-Request-Id": "req-none"})
    one.client().get("/v2/images", headers={"X-Openstack-Request-Id": "req-who"})
    one.wait_for_log("req-who")
    found = {
        name: (_text_line if style == "text" else _json_line)(one.log_text(), f"req-{name}")
        for name in ("up", "down", "none", "who")
    }
    seconds = [fields.pop("seconds") for fields in found.values()]
    assert all(0 < float(str(each)) < 20 for each in seconds)
    # Bodies are counted as they are on the wire, so the JSON of an error has a size of its own.
    sent = {name: fields.pop("out") for name, fields in found.items()}
    assert sent["up"] == 0
    assert sent["down"] == 12_345
    ann = {"client": "127.0.0.1", "user": "ann", "project": "proj"}
    assert found["up"] == {**ann, "method": "PUT", "path": path, "status": 204, "in": 12_345}
    assert found["down"] == {**ann, "method": "GET", "path": path, "status": 200, "in": 0}
    assert found["none"] == {**ann, "method": "GET", "path": "/v2/images/none?a=b%20c", "status": 404, "in": 0}
    nobody = {"client": "127.0.0.1", "user": None, "project": None}
    assert found["who"] == {**nobody, "method": "GET", "path": "/v2/images", "status": 401, "in": 0}


def _text_line(log: str, request_id: str) -> dict[str, object]:
    [line] = [line for line in log.splitlines() if f"[{request_id}]" in line]
    _, _, level, client, _, user, project, method, path, status, came, went, seconds = line.split(" ")
    assert level == "ACCESS"
    return {
        "client": client,
        "user": None if user == "-" else user,
        "project": None if project == "-" else project,
        "method": method,
        "path": path,
        "status": int(status),
        "in": int(came.removeprefix("in=")),
        "out": int(went.removeprefix("out=")),
        "seconds": seconds.removesuffix("s"),
    }


def _json_line(log: str, request_id: str) -> dict[str, object]:
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    [fields] = [line for line in lines if line.get("request_id") == request_id]
    assert fields["level"] == "ACCESS"
    names = {"bytes_in": "in", "bytes_out": "out"}
    kept = ("client", "user", "project", "method", "path", "status", "bytes_in", "bytes_out", "seconds")
    return {names.get(name, name): fields[name] for name in kept}


def test_every_line_of_a_json_log_is_json(server: StartServer) -> None:
    one = server(config={"DEFAULT": {"use_json": True}})
    one.as_member("p").create_active(b"data")
    one.stop()
    # What the command prints before and beside the log is for the person who started it.
    lines = [line for line in one.log_text().splitlines() if line and not line.startswith(("Ready", "Deprecated:"))]
    assert len(lines) >= 3
    for line in lines:
        assert {"time", "level"} <= set(json.loads(line))


def test_the_log_goes_to_a_file(server: StartServer, tmp_path: Path) -> None:
    file = tmp_path / "fanlight.log"
    one = server(config={"DEFAULT": {"log_file": file}})
    one.as_member("p").get("/v2/images", headers={"X-Openstack-Request-Id": "req-in-file"})
    eventually(lambda: "req-in-file" in file.read_text())
    moved = tmp_path / "fanlight.log.1"
    file.rename(moved)
    # As logrotate does it: a moved file is opened anew within a second or two.
    eventually(lambda: _logs_to(one, file), 10)
    assert "req-in-file" in moved.read_text()


def _logs_to(server: Server, file: Path) -> bool:
    server.client().get("/versions")
    return file.exists() and "/versions" in file.read_text()


def test_values_that_mean_no_limit_in_a_glance_configuration(server: StartServer) -> None:
    database = {"max_pool_size": 0, "max_overflow": -1, "connection_recycle_time": -1}
    one = server(config={"database": database, "DEFAULT": {"workers": 0}}, workers=0)
    assert one.as_member("p").create()["status"] == "queued"


def test_usage(service: Server, project: str) -> None:
    """As of a Glance whose limits Keystone does not keep."""
    answer = service.as_member(project).get("/v2/info/usage")
    assert (answer.status_code, answer.json()) == (200, {"usage": {}})
