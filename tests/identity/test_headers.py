"""Modes fakeauth and trusted: who the caller claims to be, and nothing more than it claims."""

from __future__ import annotations

import pytest

from fanlight.errors import SettingsError
from fanlight.http.identity import RequestHead
from tests.bed import callers

from .conftest import Open, Serve


def test_fakeauth_takes_the_token_apart(open_mode: Open, serve: Serve) -> None:
    base = serve(open_mode("fakeauth"))
    caller = callers.get(base, headers={"X-Auth-Token": "alice:p1:Member,READER"}).json()
    assert (caller["user_id"], caller["project_id"], caller["roles"]) == ("alice", "p1", ["member", "reader"])
    assert caller["is_admin"] is False
    # As python-glanceclient sends every header.
    encoded = callers.get(base, headers={"X-Auth-Token": "alice%3Ap1%3AMember%2CREADER"}).json()
    assert {**encoded, "token": None} == {**caller, "token": None}
    caller = callers.get(base, headers={"X-Auth-Token": "root:None:Admin"}).json()
    assert caller["project_id"] is None
    assert caller["is_admin"] is True


@pytest.mark.parametrize(
    "token", [None, "", "alice", "alice:p1", "alice:p1:member:x", ":p1:member", "alice::member", "::"]
)
def test_fakeauth_refuses_every_other_shape(open_mode: Open, serve: Serve, token: str | None) -> None:
    answer = callers.get(serve(open_mode("fakeauth")), headers={"X-Auth-Token": token} if token is not None else {})
    assert answer.status_code == 401


def test_fakeauth_gives_no_role_for_an_empty_list(open_mode: Open, serve: Serve) -> None:
    assert callers.get(serve(open_mode("fakeauth")), headers={"X-Auth-Token": "a:p:,"}).json()["roles"] == []


CONFIRMED = {"X-Identity-Status": "Confirmed", "X-User-Id": "u1", "X-Project-Id": "p1", "X-Roles": "Member,reader"}


def test_trusted_reads_what_the_front_end_set(open_mode: Open, serve: Serve) -> None:
    more = {
        "X-User-Domain-Id": "d1",
        "X-Project-Domain-Id": "d2",
        "X-Service-Identity-Status": "Confirmed",
        "X-Service-Roles": "Service",
        "X-Service-User-Id": "u2",
        "X-Service-Project-Id": "p2",
        "X-Service-User-Domain-Id": "d3",
        "X-Service-Project-Domain-Id": "d4",
        "X-Auth-Token": "t",
        "X-Service-Catalog": "[]",
    }
    caller = callers.get(serve(open_mode("trusted")), headers=CONFIRMED | more).json()
    assert (caller["user_id"], caller["project_id"], caller["roles"]) == ("u1", "p1", ["member", "reader"])
    assert (caller["user_domain_id"], caller["project_domain_id"]) == ("d1", "d2")
    assert caller["service_roles"] == ["service"]
    assert (caller["service_user_id"], caller["service_project_id"]) == ("u2", "p2")
    assert (caller["service_user_domain_id"], caller["service_project_domain_id"]) == ("d3", "d4")
    assert (caller["token"], caller["service_catalog"]) == ("t", "[]")
    assert caller["is_admin"] is False


def test_trusted_knows_scopes(open_mode: Open, serve: Serve) -> None:
    base = serve(open_mode("trusted"))
    plain = {"X-Identity-Status": "Confirmed", "X-User-Id": "u1", "X-Roles": "admin"}
    assert callers.get(base, headers=plain | {"OpenStack-System-Scope": "all"}).json()["system_scope"] == "all"
    assert callers.get(base, headers=plain | {"X-Domain-Id": "d1"}).json()["domain_id"] == "d1"
    assert callers.get(base, headers=plain).json()["is_admin"] is True


def test_trusted_knows_the_old_names(open_mode: Open, serve: Serve) -> None:
    old = {"X-Identity-Status": "Confirmed", "X-User": "u1", "X-Tenant-Id": "p1", "X-Role": "admin"}
    caller = callers.get(serve(open_mode("trusted")), headers=old).json()
    assert (caller["user_id"], caller["project_id"], caller["roles"]) == ("u1", "p1", ["admin"])


@pytest.mark.parametrize("status", [None, "Invalid", "confirmed", ""])
def test_trusted_needs_the_confirmation(open_mode: Open, serve: Serve, status: str | None) -> None:
    headers = {name: value for name, value in CONFIRMED.items() if name != "X-Identity-Status"}
    if status is not None:
        headers["X-Identity-Status"] = status
    assert callers.get(serve(open_mode("trusted")), headers=headers).status_code == 401


def test_trusted_takes_service_roles_only_when_the_service_is_confirmed(open_mode: Open, serve: Serve) -> None:
    said = {"X-Service-Roles": "service", "X-Service-User-Id": "u2"}
    headers = CONFIRMED | {"X-Service-Identity-Status": "Invalid", **said}
    caller = callers.get(serve(open_mode("trusted")), headers=headers).json()
    assert (caller["service_roles"], caller["service_user_id"]) == ([], None)


def test_trusted_refuses_a_header_that_was_added_to_the_clients_own(open_mode: Open, serve: Serve) -> None:
    twice = [*CONFIRMED.items(), ("X-Roles", "admin")]
    assert callers.get(serve(open_mode("trusted")), headers=twice).status_code == 401


@pytest.mark.parametrize("mode", ["fakeauth", "trusted"])
def test_both_are_announced(open_mode: Open, mode: str) -> None:
    announcement = open_mode(mode).announcement
    assert announcement is not None
    assert mode in announcement


@pytest.mark.parametrize("mode", ["fakeauth", "trusted"])
def test_anonymous_access_is_read_only_and_without_roles(open_mode: Open, serve: Serve, mode: str) -> None:
    identity = open_mode(mode, allow_anonymous_access=True)
    assert identity.announcement is not None
    caller = callers.get(serve(identity), headers={"X-Auth-Token": "nonsense", "X-Roles": "admin"}).json()
    assert caller["read_only"] is True
    assert caller["roles"] == []
    assert caller["is_admin"] is False
    assert caller["user_id"] is None
    assert caller["project_id"] is None


def test_an_unknown_mode_stops_the_start(open_mode: Open) -> None:
    with pytest.raises(SettingsError, match=r"noauth.*http_basic"):
        open_mode("noauth")


def test_no_secret_shows_in_a_repr(open_mode: Open) -> None:
    head = RequestHead("GET", "/v2", "q=planted", [(b"x-auth-token", b"planted:p:member")], None, "http")
    caller = open_mode("fakeauth").identify(head)
    assert "planted:p" not in repr(caller)
    assert "planted" not in repr(head)
    assert caller.token == "planted:p:member"


def test_a_head_finds_headers_by_any_case() -> None:
    head = RequestHead("GET", "/", "", [(b"accept", b" a "), (b"accept", b"b")], None, "http")
    assert head.get("Accept") == "a"
    assert head.get("ACCEPT") == "a"
    assert head.get("host") is None


def test_a_head_keeps_a_query_that_is_no_ascii() -> None:
    scope = {"method": "GET", "path": "/", "query_string": b"name=\xc3\xa9\xff", "headers": []}
    head = RequestHead.from_scope(scope)
    assert head.query == "name=é�"
    assert head.client is None
