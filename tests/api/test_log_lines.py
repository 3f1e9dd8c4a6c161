"""What a running service logs: one line a request with everything in it, the cause of a failure once; and gzip."""

from __future__ import annotations

import gzip
import json
import re
import signal
import socket
from typing import Any

import httpx
import pytest

from tests.bed.servers import Server
from tests.conftest import StartServer

TEXT_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<pid>\d+) ACCESS (?P<client>\S+) \[(?P<request_id>\S+)\] "
    r"(?P<user>\S+) (?P<project>\S+) (?P<method>[A-Z]+) (?P<path>\S+) (?P<status>\d+) "
    r"in=(?P<bytes_in>\d+) out=(?P<bytes_out>\d+) (?P<seconds>\d+\.\d+)s"
)
FIELDS = {
    *("time", "pid", "level", "client", "request_id", "user", "project"),
    *("method", "path", "status", "bytes_in", "bytes_out", "seconds"),
}


def lines_of(server: Server, request_id: str) -> list[dict[str, Any]]:
    """The access lines of one request, whatever their style."""
    server.wait_for_log(re.escape(request_id))
    found = []
    for line in server.log_text().splitlines():
        if request_id not in line or "ACCESS" not in line:
            continue
        if line.startswith("{"):
            document = json.loads(line)
            assert set(document) == FIELDS
            found.append(document)
        else:
            match = TEXT_LINE.fullmatch(line)
            assert match, line
            found.append({**match.groupdict(), "status": int(match["status"])})
    return found


@pytest.mark.parametrize("use_json", [False, True])
def test_one_line_for_each_request(server: StartServer, use_json: bool) -> None:
    one = server(config={"DEFAULT": {"use_json": use_json}})
    member, stranger = one.as_member("p", user="ann"), one.client()
    image = member.create()
    data = b"0123456789" * 1000
    url = f"/v2/images/{image['id']}"
    octets = {"Content-Type": "application/octet-stream"}
    asked: list[tuple[Any, str, str, dict[str, str], bytes | None, int, int | None, int | None]] = [
        (member, "GET", "/v2/images?name=a%20b&limit=3", {}, None, 200, 0, None),
        (member, "PUT", url + "/file", octets, data, 204, len(data), 0),
        (member, "PUT", url + "/file", octets, data, 409, None, None),
        (member, "GET", url + "/file", {}, None, 200, 0, len(data)),
        (member, "GET", url + "/file", {"Range": "bytes=5-14"}, None, 206, 0, 10),
        (member, "GET", "/v2/nothing", {}, None, 404, 0, None),
        (member, "PATCH", "/v2/images", {}, None, 405, 0, None),
        (member, "POST", "/v2/images", {}, b"{", 400, 1, None),
        (stranger, "GET", "/v2/images", {}, None, 401, 0, None),
        (stranger, "GET", "/healthcheck", {}, None, 200, 0, 2),
        (stranger, "GET", "/versions", {}, None, 200, 0, None),
        (stranger, "OPTIONS", "/v2/images", {}, None, 200, 0, 0),
    ]
    for number, (client, method, path, headers, body, status, came, went) in enumerate(asked):
        request_id = f"req-line-{use_json}-{number}-end"
        answer = client.request(
            method, path, content=body, headers={**headers, "X-Openstack-Request-Id": request_id, "User-Agent": "x"}
        )
        assert answer.status_code == status
        (line,) = lines_of(one, request_id)
        assert (line["method"], line["status"]) == (method, status)
        assert line["path"].startswith(path.partition("?")[0])
        assert line["client"] == "127.0.0.1"
        known = client is member
        assert (line["user"], line["project"]) == (("ann", "p") if known else (("-", "-"), (None, None))[use_json])
        assert came is None or int(line["bytes_in"]) == came, line
        assert went is None or int(line["bytes_out"]) == went, line
        assert 0 <= float(line["seconds"]) < 30


def test_a_stalled_body_is_logged_as_it_was_answered(server: StartServer) -> None:
    one = server(config={"fanlight": {"body_seconds": 1}})
    with socket.create_connection(("127.0.0.1", one.port), 10) as connection:
        head = "POST /v2/images HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ann:p:member\r\nContent-Length: 50\r\n\r\n{"
        connection.sendall(head.encode())
        assert connection.makefile("rb").readline().split()[1] == b"408"
    one.wait_for_log(r"ACCESS .* POST /v2/images 408 in=1 ")


def test_a_reload_changes_how_lines_look(server: StartServer) -> None:
    one = server()
    one.configure({"paste_deploy": {"flavor": "fakeauth"}, "DEFAULT": {"use_json": True}})
    since = one.log_size()
    one.signal(signal.SIGHUP)
    one.wait_for_log(r"^\{.*reloaded: ", since=since)
    one.as_member("p").get("/v2/images", headers={"X-Openstack-Request-Id": "req-after"})
    one.wait_for_log(r"^\{.*req-after", since=since)


def break_catalogue(server: Server) -> None:
    server.rows("ALTER TABLE image_tags RENAME TO image_tags_gone")


@pytest.mark.parametrize("use_json", [False, True])
def test_the_cause_of_a_failure_is_logged_once_with_the_request(server: StartServer, use_json: bool) -> None:
    one = server(config={"DEFAULT": {"use_json": use_json}})
    one.allow_traceback("image_tags|CatalogError")
    member = one.as_member("p")
    image = member.create()
    break_catalogue(one)
    since = one.log_size()
    answer = member.get(f"/v2/images/{image['id']}", headers={"X-Openstack-Request-Id": "req-broken"})
    assert answer.status_code == 500
    assert "image_tags" not in answer.text
    one.wait_for_log("ACCESS.*req-broken|req-broken.*ACCESS", since=since)
    log = one.log_text(since)
    causes = [line for line in log.splitlines() if "failed" in line and "req-broken" in line]
    assert len(causes) == 1
    # A chain of exceptions names the cause where it happened and where it was translated, in one record.
    if use_json:
        document = json.loads(causes[0])
        assert (document["level"], document["request_id"]) == ("ERROR", "req-broken")
        assert "image_tags" in document["exception"]
        assert all(line.startswith("{") for line in log.splitlines())
    else:
        assert " ERROR " in causes[0]
        assert "[req-broken]" in causes[0]
        # What belongs to the record is indented; a line that begins at the margin is another record.
        margin = [line for line in log.splitlines() if not line.startswith("    ")]
        assert all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in margin), margin
        assert len([line for line in margin if "req-broken" in line]) == 2, margin


# -- gzip ------------------------------------------------------------------------------------------------------------


def raw(client: httpx.Client, path: str, **headers: str) -> tuple[httpx.Headers, bytes]:
    """Headers and body as they came, not unpacked."""
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        return answer.headers, b"".join(answer.iter_raw())


def test_gzip_for_documents_that_ask(service: Server, project: str) -> None:
    member = service.as_member(project)
    for number in range(5):
        member.create(name=f"image {number}")
    plain_headers, plain = raw(member, "/v2/images", **{"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain_headers
    assert plain_headers["vary"] == "Accept-Encoding"
    for wanted in ("gzip", "br, gzip;q=0.5", "*"):
        headers, packed = raw(member, "/v2/images", **{"Accept-Encoding": wanted})
        assert headers["content-encoding"] == "gzip"
        assert int(headers["content-length"]) == len(packed) < len(plain)
        assert gzip.decompress(packed) == plain
    for refused in ("gzip;q=0", "br", "deflate"):
        headers, body = raw(member, "/v2/images", **{"Accept-Encoding": refused})
        assert "content-encoding" not in headers
        assert body == plain


def test_gzip_for_the_list_of_versions(service: Server) -> None:
    anybody = service.client()
    plain = anybody.get("/versions", headers={"Accept-Encoding": "identity"}).content
    headers, packed = raw(anybody, "/versions", **{"Accept-Encoding": "gzip"})
    assert (headers["content-encoding"], headers["vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(packed) == plain


def test_never_for_the_data_of_images(service: Server, project: str) -> None:
    member = service.as_member(project)
    data = b"easy to pack " * 10_000
    image = member.create_active(data)
    for wanted in ("gzip", "*", "identity"):
        headers, body = raw(member, f"/v2/images/{image['id']}/file", **{"Accept-Encoding": wanted})
        assert "content-encoding" not in headers
        assert (int(headers["content-length"]), body) == (len(data), data)
    ranged = member.get(f"/v2/images/{image['id']}/file", headers={"Accept-Encoding": "gzip", "Range": "bytes=0-99"})
    assert (ranged.status_code, ranged.content) == (206, data[:100])
    assert "content-encoding" not in ranged.headers
