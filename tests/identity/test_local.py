"""Mode none: programs on this machine are administrator; proxies, web pages and strangers are not."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from fanlight.errors import Forbidden
from fanlight.http.identity import RequestHead
from tests.bed import callers

from .conftest import Open, Serve

OTHER_PAGES = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": ""},
    {"Referer": "http://evil.example/page"},
    {"Referer": "http://127.0.0.1:3000/page"},
    {"Referer": "about:blank"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "something-new"},
]


def test_a_local_program_is_the_administrator_of_the_default_project(open_mode: Open, serve: Serve) -> None:
    caller = callers.get(serve(open_mode("none")) + "/v2/images").json()
    assert caller["is_admin"] is True
    assert caller["read_only"] is False
    assert caller["project_id"] == "default"
    assert caller["user_id"] == "admin"
    assert set(caller["roles"]) == {"admin", "member", "reader"}


@pytest.mark.parametrize("token", ["anything", "u:p:member"])
def test_a_token_changes_nothing(open_mode: Open, serve: Serve, token: str) -> None:
    caller = callers.get(serve(open_mode("none")), headers={"X-Auth-Token": token, "X-Roles": "reader"}).json()
    assert caller["project_id"] == "default"
    assert caller["is_admin"] is True


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Something",
        "X-Forwarded",
        "X-Real-IP",
        "Via",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
    ],
)
@pytest.mark.parametrize("value", ["127.0.0.1", ""])
def test_a_forwarded_request_is_refused(open_mode: Open, serve: Serve, name: str, value: str) -> None:
    answer = callers.get(serve(open_mode("none")), headers={name: value})
    assert answer.status_code == 403
    assert name.lower() in answer.text


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9292",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1:9292",
        "0.0.0.0:9292",
        "[::]:9292",
        "[2001:db8::1]",
        "2130706433",
        "127.1",
        "notlocalhost",
        "evil.example@127.0.0.1",
        "127.0.0.1@evil.example",
        "127.0.0.1, evil.example",
        "",
    ],
)
def test_a_foreign_host_is_refused(open_mode: Open, serve: Serve, host: str) -> None:
    answer = callers.get(serve(open_mode("none")), headers={"Host": host})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:9292",
        "localhost.",
        "images.localhost:80",
        "127.0.0.1",
        "127.9.8.7:1",
        "[::1]",
        "[::1]:9292",
    ],
)
def test_every_name_of_the_loopback_is_served(open_mode: Open, serve: Serve, host: str) -> None:
    assert callers.get(serve(open_mode("none")), headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("headers", OTHER_PAGES, ids=str)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_foreign_web_pages_are_refused(open_mode: Open, serve: Serve, headers: dict[str, str], method: str) -> None:
    answer = callers.request(method, serve(open_mode("none")), headers=headers)
    assert answer.status_code == 403
    assert "web page" in answer.text


def test_dns_rebinding_is_refused(open_mode: Open, serve: Serve) -> None:
    """A name of the attacker's that now resolves to 127.0.0.1: to the browser all of it is one origin."""
    headers = {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}
    assert callers.get(serve(open_mode("none")), headers=headers).status_code == 403


def test_our_own_pages_are_served(open_mode: Open, serve: Serve) -> None:
    base = serve(open_mode("none"))
    own = {"Origin": base, "Referer": base + "/console", "Sec-Fetch-Site": "same-origin"}
    assert callers.post(base, headers=own).status_code == 200
    assert callers.get(base, headers={"Sec-Fetch-Site": "none"}).status_code == 200
    default_port = {"Host": "localhost", "Origin": "http://localhost"}
    assert callers.get(base, headers=default_port).status_code == 200


def test_a_name_can_be_allowed(open_mode: Open, serve: Serve) -> None:
    base = serve(open_mode("none", allowed_hosts=("Images.Lab", "console.lab", "other.lab:9292", "[2001:db8::1]")))
    assert callers.get(base, headers={"Host": "other.lab:9292"}).status_code == 200
    assert callers.get(base, headers={"Host": "[2001:db8::1]:9292"}).status_code == 200
    assert callers.get(base, headers={"Host": "images.lab:9292"}).status_code == 200
    assert callers.get(base, headers={"Host": "another.lab:9292"}).status_code == 403
    console = {"Origin": "https://console.lab", "Sec-Fetch-Site": "cross-site", "Referer": "https://console.lab/"}
    assert callers.get(base, headers=console).status_code == 200
    assert callers.get(base, headers={**console, "Referer": "https://evil.example/"}).status_code == 403
    assert callers.get(base, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize("peer", [("192.0.2.7", 1), ("::ffff:192.0.2.7", 1), ("2001:db8::1", 1), ("", 0), None])
def test_a_peer_elsewhere_is_refused(open_mode: Open, peer: tuple[str, int] | None) -> None:
    """Called directly: no test machine has a stranger to connect from."""
    head = RequestHead("GET", "/", "", [(b"host", b"localhost")], peer, "http")
    with pytest.raises(Forbidden, match="loopback"):
        open_mode("none").identify(head)


@pytest.mark.parametrize("peer", [("127.0.0.1", 1), ("127.3.2.1", 1), ("::1", 1), ("::ffff:127.0.0.1", 1)])
def test_a_loopback_peer_is_served(open_mode: Open, peer: tuple[str, int]) -> None:
    head = RequestHead("GET", "/", "", [(b"host", b"localhost")], peer, "http")
    assert open_mode("none").identify(head).is_admin


@pytest.mark.parametrize(
    "hosts",
    [[], [(b"host", b"localhost"), (b"host", b"evil.example")], [(b"host", b"localhost"), (b"host", b"localhost")]],
)
def test_exactly_one_host_is_needed(open_mode: Open, hosts: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Forbidden, match="Host"):
        open_mode("none").identify(RequestHead("GET", "/", "", hosts, ("127.0.0.1", 1), "http"))


def test_remote_callers_can_be_allowed_and_that_is_announced(open_mode: Open, serve: Serve) -> None:
    identity = open_mode("none", allow_remote=True)
    assert identity.announcement is not None
    assert "ADMINISTRATOR" in identity.announcement
    assert open_mode("none").announcement is None
    stranger = RequestHead("GET", "/", "", [(b"host", b"images.example")], ("192.0.2.7", 1), "http")
    assert identity.identify(stranger).is_admin
    base = serve(identity)
    assert callers.get(base, headers={"Host": "images.example", "X-Forwarded-For": "192.0.2.7"}).status_code == 200
    for host in ("192.0.2.1:9292", "[2001:db8::1]", "localhost"):
        assert callers.post(base, headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200
    by_hand = {"Host": "images.example", "Sec-Fetch-Site": "none"}
    assert callers.get(base, headers=by_hand).status_code == 200
    for page in OTHER_PAGES:
        assert callers.get(base, headers=page).status_code == 403


@pytest.mark.parametrize("page", [{"Origin": "http://evil.example"}, {"Referer": "http://evil.example/page"}])
def test_remote_callers_are_no_pages_whose_name_leads_here(open_mode: Open, serve: Serve, page: dict[str, str]) -> None:
    """DNS rebinding: page and service have one name, which the page's owner has chosen."""
    base = serve(open_mode("none", allow_remote=True, allowed_hosts=("images.example", "console.example")))
    assert callers.post(base, headers={"Host": "evil.example", **page}).status_code == 403
    own = {"Host": "images.example", "Origin": "http://images.example", "Sec-Fetch-Site": "same-origin"}
    assert callers.post(base, headers=own).status_code == 200
    console = {"Host": "elsewhere.example", "Origin": "https://console.example", "Sec-Fetch-Site": "cross-site"}
    assert callers.post(base, headers=console).status_code == 200


def test_http_1_0_is_what_proxies_speak(open_mode: Open, serve: Serve) -> None:
    """nginx, unless told otherwise, with its own idea of a Host and no sign of whom it speaks for."""
    url = urlsplit(serve(open_mode("none")))
    for version, status in ((b"1.0", b"403"), (b"1.1", b"200")):
        with socket.create_connection((url.hostname or "", url.port or 0), 10) as connection:
            connection.sendall(b"GET / HTTP/%s\r\nHost: localhost\r\nConnection: close\r\n\r\n" % version)
            assert connection.makefile("rb").readline().split()[1] == status


def test_anonymous_access_opens_no_door(open_mode: Open, serve: Serve) -> None:
    base = serve(open_mode("none", allow_anonymous_access=True))
    assert callers.get(base, headers={"Host": "evil.example"}).status_code == 403
    assert callers.get(base).json()["is_admin"] is True
