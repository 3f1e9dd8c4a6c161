"""Whatever a client sends: an answer that blames it (4xx), never a failure of ours, and nothing of our inside in it."""

from __future__ import annotations

import json
import socket
import urllib.parse
from collections.abc import Iterator

import pytest

from tests.bed.servers import Server
from tests.edge.raw import Answer, read_answer

PATCH_21 = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
INSIDE = (b"Traceback", b'File "', b"fanlight/", b"sqlalchemy", b"SELECT ", b"sqlite3", b"msgspec")
SOME_ID = "7b1a3f0e-0000-4000-8000-000000000001"


@pytest.fixture
def wary(service: Server) -> Iterator[Server]:
    """The shared service, held to no answer above 499 and no failure in its log."""
    since = service.log_size()
    yield service
    assert service.unexpected_tracebacks(since) == []


def raw(server: Server, data: bytes, seconds: float = 10.0) -> Answer:
    """Send exactly these bytes on a connection of their own."""
    with socket.create_connection(("127.0.0.1", server.port), seconds) as connection:
        try:
            connection.sendall(data)
            return read_answer(connection)
        except ConnectionError:
            return Answer(0, {}, b"", False)


def ask(server: Server, line: bytes, *headers: bytes, body: bytes | None = None) -> Answer:
    head = [line + b" HTTP/1.1", b"Host: x", b"X-Auth-Token: u:hostile:member,reader", b"Connection: close", *headers]
    if body is not None:
        head.append(b"Content-Length: %d" % len(body))
    return raw(server, b"\r\n".join(head) + b"\r\n\r\n" + (body or b""))


def assert_refused(answer: Answer, *allowed: int) -> None:
    """A 4xx (or what is allowed beside it) that shows nothing of the inside. 0: cut off, blunt but no failure."""
    assert 400 <= answer.status < 500 or answer.status in allowed, (answer.status, answer.body)
    for word in INSIDE:
        assert word not in answer.body


IDS = [
    b"x" * 37,
    b"x" * 300,
    b"x" * 6000,
    b"%00",
    b"7b1a3f0e-0000-4000-8000-00000000000%00",
    b"%ff%fe",
    b"%c3%28",
    b"%f0%9f%92%a9",
    b"%ed%a0%80",
    b"..",
    b"%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    b"..%2f..%2f..%2fetc%2fpasswd",
    b"'%20OR%20'1'='1",
    b"%25s%25n",
    b"%",
    b"%zz",
    b"%0d%0aX-Injected:%20yes",
    b"\xe2\x82\xac",
    b";",
    b"%e2%80%ae",
]
REST = [b"", b"/file", b"/members", b"/members/x", b"/tags/x", b"/actions/deactivate"]


@pytest.mark.parametrize("image_id", IDS, ids=range(len(IDS)))
def test_odd_image_ids(wary: Server, image_id: bytes) -> None:
    for rest in REST:
        methods = (b"PUT", b"DELETE") if rest == b"/tags/x" else (b"POST",) if b"actions" in rest else (b"GET",)
        for method in methods:
            answer = ask(wary, method + b" /v2/images/" + image_id + rest, b"Content-Length: 0")
            assert_refused(answer, 0)
            assert "x-injected" not in answer.headers
    for method, headers, body in (
        (b"DELETE", (), None),
        (b"PATCH", (b"Content-Type: application/openstack-images-v2.1-json-patch",), b"[]"),
        (b"PUT", (b"Content-Type: application/octet-stream",), b"data"),
    ):
        rest = b"/file" if method == b"PUT" else b""
        assert_refused(ask(wary, method + b" /v2/images/" + image_id + rest, *headers, body=body), 0)


@pytest.mark.parametrize("odd", IDS, ids=range(len(IDS)))
def test_odd_ids_of_members_and_tags(wary: Server, project: str, odd: bytes) -> None:
    """LP 1585917: a long member id was a 500. Some of these are good tags; none is a failure."""
    member = wary.as_member("hostile")
    image = member.create()
    path = f"/v2/images/{image['id']}".encode()
    for line in (b"PUT " + path + b"/tags/" + odd, b"DELETE " + path + b"/tags/" + odd):
        assert_refused(ask(wary, line, b"Content-Length: 0"), 0, 204)
    for line in (b"GET " + path + b"/members/" + odd, b"DELETE " + path + b"/members/" + odd):
        assert_refused(ask(wary, line), 0)
    assert_refused(ask(wary, b"PUT " + path + b"/members/" + odd, body=b'{"status": "accepted"}'), 0)
    assert member.show(image["id"])["status"] == "queued"


MEMBERS = [
    "m" * 256,
    "m" * 70_000,
    "\0",
    "m\0m",
    "\U0001f4a9",
    "\ud800",
    "",
    " ",
    "\r\nX: y",
    7,
    None,
    True,
    [],
    {},
    ["m"],
]


@pytest.mark.parametrize("value", MEMBERS, ids=range(len(MEMBERS)))
def test_lp_1585917_odd_member_ids_in_bodies(wary: Server, value: object) -> None:
    member = wary.as_member("hostile")
    url = f"/v2/images/{member.create()['id']}/members"
    for body in ({"member": value}, {"member": value, "x": 1}, [value], value):
        answer = member.post(url, content=json.dumps(body))
        assert answer.status_code == 200 or 400 <= answer.status_code < 500
        for word in INSIDE:
            assert word not in answer.content
    for each in member.get(url).json()["members"]:
        assert len(each["member_id"]) <= 255


TEXTS = [
    "x" * 256,
    "x" * 70_000,
    "\0",
    "a\0b",
    "\U0001f4a9",
    "\ud800",
    "\udfff\ud800",
    7,
    1.5,
    True,
    [],
    {},
    [["x"]],
    -1,
    2**31,
    2**63,
    2**70,
    -(2**70),
    1e308,
]
FIELDS = (
    "name",
    "id",
    "visibility",
    "owner",
    "disk_format",
    "container_format",
    "min_disk",
    "min_ram",
    "tags",
    "protected",
)


@pytest.mark.parametrize("field", [*FIELDS, "os_hidden", "any_property"])
def test_odd_values_of_fields(wary: Server, field: str) -> None:
    member, admin = wary.as_member("hostile"), wary.as_admin("hostile")
    image = member.create()
    for value in TEXTS:
        for wanted in (value, [value]):
            operation = {"op": "add", "path": f"/{field}", "value": wanted}
            for one in (member, admin):
                made = one.post("/v2/images", content=json.dumps({field: wanted}))
                assert made.status_code == 201 or 400 <= made.status_code < 500, (field, value)
                kind = {**PATCH_21, "X-Roles": "x"}
                changed = one.patch(f"/v2/images/{image['id']}", content=json.dumps([operation]), headers=kind)
                assert changed.status_code == 200 or 400 <= changed.status_code < 500, (field, value)
                for word in INSIDE:
                    assert word not in made.content + changed.content


NAMES = [
    "x" * 256,
    "x" * 70_000,
    "\0",
    "\U0001f4a9",
    "\ud800",
    "",
    "__class__",
    "a/b",
    "~",
    "%s",
    "properties",
    "members",
]


def test_odd_names_of_properties(wary: Server) -> None:
    member = wary.as_member("hostile")
    image = member.create()
    for name in NAMES:
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")
        made = member.post("/v2/images", content=json.dumps({name: "v"}))
        body = json.dumps([{"op": "add", "path": pointer, "value": "v"}])
        changed = member.patch(f"/v2/images/{image['id']}", content=body, headers=PATCH_21)
        assert made.status_code == 201 or 400 <= made.status_code < 500, name
        assert changed.status_code == 200 or 400 <= changed.status_code < 500, name


BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"7",
    b'"x"',
    b"\xff\xfe{}",
    b'{"name": "\xff"}',
    b'{"name": "\xed\xa0\x80"}',
    b"\xef\xbb\xbf{}",
    b'{"name": NaN}',
    b'{"min_disk": 1e999}',
    b'{"min_disk": ' + b"9" * 5000 + b"}",
    b'{"name": "a", "name": "b"}',
    b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b'{"tags": [' + b'"x",' * 100_000 + b'"x"]}',
    b'{"tags": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"x": "' + b"y" * (1 << 20) + b'"}',
    b'{"x": "' + b"y" * (3 << 20) + b'"}',
    b"{" + b",".join(b'"p%d": "v"' % number for number in range(20_000)) + b"}",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_hostile_json(wary: Server, body: bytes) -> None:
    image_id = wary.as_member("hostile").create()["id"].encode()
    patch = b"Content-Type: application/openstack-images-v2.1-json-patch"
    answers = [
        ask(wary, b"POST /v2/images", body=body),
        ask(wary, b"PATCH /v2/images/" + image_id, patch, body=body),
        ask(wary, b"PATCH /v2/images/" + image_id, patch.replace(b"2.1", b"2.0"), body=body),
        ask(wary, b"POST /v2/images/" + image_id + b"/members", body=body),
        ask(wary, b"PUT /v2/images/" + image_id + b"/members/m", body=body),
    ]
    for answer in answers:
        assert_refused(answer, 0, 200, 201)


POINTERS: tuple[object, ...] = (
    *(7, None, [], {}, "", "/", "//", "name", "/name/"),
    *("/a/b", "/tags/-", "/tags/0", "/~", "/~2", "/" * 5000),
)
OPS: tuple[object, ...] = (7, None, [], {}, "test", "move", "copy", "ADD", "x" * 10_000)
OPERATIONS: tuple[object, ...] = (
    *({"op": op, "path": pointer, "value": "v"} for op in ("add", "replace", "remove") for pointer in POINTERS),
    *({"op": op, "path": "/name", "value": "v"} for op in OPS),
    {"op": "add", "path": "/name"},
    {"path": "/name", "value": "v"},
    {"op": "move", "from": "/name", "path": "/x"},
    7,
    None,
    [],
    "x",
    {},
)


def test_hostile_patches(wary: Server) -> None:
    member = wary.as_member("hostile")
    image = member.create(name="kept")
    for operation in OPERATIONS:
        for version in ("2.1", "2.0"):
            kind = {"Content-Type": f"application/openstack-images-v{version}-json-patch"}
            for body in ([operation], operation, {"x": operation}):
                answer = member.patch(f"/v2/images/{image['id']}", content=json.dumps(body), headers=kind)
                assert answer.status_code == 200 or 400 <= answer.status_code < 500, (operation, version)
    assert member.show(image["id"])["name"] == "kept"


QUERIES = [
    b"limit=-1",
    b"limit=9" + b"9" * 400,
    b"limit=1e3",
    b"limit=%ff",
    b"limit=%D9%A1",
    b"marker=%00",
    b"marker=%ff",
    b"marker=" + b"x" * 5000,
    b"marker=%f0%9f%92%a9",
    b"sort=%00",
    b"sort=name:asc:desc",
    b"sort=" + b"name," * 1000,
    b"sort_key=properties",
    b"sort_key=__class__&sort_dir=asc",
    b"sort_key=id;drop%20table%20images",
    b"sort_dir=sideways",
    b"name=%00",
    b"name=%ff",
    b"name=%f0%9f%92%a9",
    b"name=in:%22",
    b"name=in:" + b"x," * 2000,
    b"id=in:" + b"x," * 2000,
    b"status=in:%22%5c",
    b"size_min=" + b"9" * 400,
    b"size_min=-1",
    b"size_max=%D9%A1",
    b"size_max=x",
    b"nonsense_min=1",
    b"properties_min=1",
    b"created_at_min=1",
    b"created_at=gt:",
    b"created_at=gt:9999999999-01-01",
    b"created_at=gte:0000-00-00T00:00:00Z",
    b"updated_at=in:2020",
    b"created_at=lt:2020-01-01T00:00:00%2B99:99",
    b"visibility=%00",
    b"visibility=",
    b"member_status=x",
    b"os_hidden=%00",
    b"protected=1",
    b"properties=x",
    b"locations=x",
    b"members=x",
    b"tags=x",
    b"deleted=x",
    b"deleted_at=x",
    b"metadata=x",
    b"__class__=x",
    b"min_disk=x",
    b"min_disk=" + b"9" * 40,
    b"size=" + b"9" * 40,
    b"virtual_size=%00",
    b"owner=%00",
    b"tag=%00",
    b"tag=" + b"x" * 3000,
    b"&".join(b"tag=t%d" % number for number in range(500)),
    b"&".join(b"p%d=v" % number for number in range(500)),
    b"%00=x",
    b"%ff=%ff",
    b"=x",
    b"&&&",
    b"x" * 20_000,
    b"x=%",
    b"x=%u1234",
    b"changes-since=x",
]


@pytest.mark.parametrize("query", QUERIES, ids=[query[:20].decode("latin-1") for query in QUERIES])
def test_hostile_queries(wary: Server, query: bytes) -> None:
    assert_refused(ask(wary, b"GET /v2/images?" + query), 0, 200)
    assert_refused(ask(wary, b"GET /v2/images?visibility=all&" + query), 0, 200)


def test_queries_elsewhere_are_harmless(wary: Server) -> None:
    image_id = wary.as_member("hostile").create_active(b"data")["id"].encode()
    for query in (b"%ff=%00", b"prefer=%00", b"prefer=" + b"x," * 2000, b"prefer=%ff", b"x" * 20_000):
        assert_refused(ask(wary, b"GET /v2/images/" + image_id + b"/file?" + query), 0, 200)
        assert_refused(ask(wary, b"GET /v2/images/" + image_id + b"?" + query), 0, 200)


HEADERS = [
    b"Range: bytes=" + b"9" * 5000 + b"-",
    b"Range: bytes=0-" + b"9" * 19,
    b"Range: bytes=\xff-1",
    b"Range: bytes=\xb2-\xb3",
    b"Content-Range: bytes " + b"9" * 300 + b"-1/*",
    b"Accept: " + b"x" * 5000,
    b"Accept: \xff\xfe",
    b"Accept-Encoding: " + b"gzip," * 1000,
    b"Accept-Encoding: gzip;q=nan",
    b"Accept-Encoding: gzip;q=" + b"9" * 1000,
    b"X-Image-Meta-Store: \xff",
    b"X-Forwarded-For: " + b"1," * 1000,
    b"X-Forwarded-Proto: javascript",
    b"Origin: \xff",
    b"Cookie: " + b"x" * 5000,
    b"X-Openstack-Request-Id: \xff\xfe",
    b"X-Openstack-Request-Id: req-\t\x7f",
    b"X-Big: " + b"x" * 200_000,
    b"\r\n".join(b"X-%d: y" % number for number in range(2000)),
    b"X-Bad name: y",
    b": y",
    b"X-Nul: \x00",
    b"Expect: 200-maybe",
    b"Transfer-Encoding: gzip",
    b"Upgrade: websocket\r\nConnection: upgrade",
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_hostile_headers(wary: Server, header: bytes) -> None:
    image_id = wary.as_member("hostile").create_active(b"data")["id"].encode()
    for line in (b"GET /v2/images/" + image_id, b"GET /v2/images/" + image_id + b"/file", b"GET /v2/images", b"GET /"):
        assert_refused(ask(wary, line, header), 0, 200, 206, 300)
    answer = ask(
        wary, b"PUT /v2/images/" + image_id + b"/file", b"Content-Type: application/octet-stream", header, body=b"d"
    )
    assert_refused(answer, 0)


SIZES = [b"-1", b"x", b"", b" ", b"1.5", b"9" * 30, b"9" * 400, b"\xd9\xa1", b"0x10", b"1_0", b"+1", b"\xb2"]


@pytest.mark.parametrize("size", SIZES, ids=range(len(SIZES)))
def test_hostile_sizes(wary: Server, size: bytes) -> None:
    member = wary.as_member("hostile")
    image_id = member.create()["id"]
    line = f"PUT /v2/images/{image_id}/file".encode()
    octets = b"Content-Type: application/octet-stream"
    assert_refused(ask(wary, line, octets, b"X-Openstack-Image-Size: " + size, body=b"data"), 0)
    head = b"\r\n".join(
        [line + b" HTTP/1.1", b"Host: x", b"X-Auth-Token: u:hostile:member", octets, b"Content-Length: " + size]
    )
    assert_refused(raw(wary, head + b"\r\n\r\ndata", 3), 0)
    assert member.show(image_id)["status"] == "queued"


def test_two_framings_at_once_are_refused(wary: Server) -> None:
    """Request smuggling: a front end and we must never read two different requests out of the same bytes."""
    member = wary.as_member("hostile")
    image_id = member.create()["id"]
    head = f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: u:hostile:member\r\n"
    head += "Content-Type: application/octet-stream\r\n"
    smuggled = f"DELETE /v2/images/{image_id} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: u:hostile:member\r\n\r\n"
    for framing in (
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity, chunked, identity\r\n",
    ):
        answer = raw(wary, f"{head}{framing}\r\n0\r\n\r\n{smuggled}".encode(), 3)
        assert_refused(answer, 0)
        assert member.show(image_id)["status"] == "queued", framing


PATHS = [
    b"/%00",
    b"/%ff",
    b"//",
    b"/v2//images/x",
    b"/v2/../v2/images",
    b"/v2/%2e%2e/images",
    b"/v2/schemas/%00",
    b"/v2/schemas/..%2f..%2fetc%2fpasswd",
    b"/v2/schemas/" + b"x" * 5000,
    b"/v2/images/" + urllib.parse.quote("é" * 500).encode(),
    b"/v9999999999999999999999/images",
    b"/v2.%00/images",
    b"/" + b"a/" * 2000,
    b"http://evil/v2/images/x",
]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
@pytest.mark.parametrize("method", [b"GET", b"PUT", b"POST", b"DELETE", b"PATCH", b"HEAD"])
def test_hostile_paths(wary: Server, method: bytes, path: bytes) -> None:
    length = [] if method in (b"GET", b"HEAD") else [b"Content-Length: 0"]
    assert_refused(ask(wary, method + b" " + path, *length), 0, 300)


def test_strange_methods(wary: Server) -> None:
    for method in (b"TRACE", b"CONNECT", b"FOO", b"get", b"PROPFIND", b"X" * 5000):
        answer = ask(wary, method + b" /v2/images")
        assert answer.status in (0, 400, 404, 405, 501), (method, answer.status)


def test_not_http_at_all(wary: Server) -> None:
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\0" * 100,
        b"GET\r\n\r\n",
        b"GET /v2/images HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        assert raw(wary, data + b"\r\n\r\n", 5).status in (0, 400, 505)
    assert wary.client().get("/healthcheck").status_code == 200
