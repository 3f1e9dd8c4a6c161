"""Mode keystone, against the real Keystone and memcached of the test bed."""

from __future__ import annotations

import contextlib
import datetime
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from keystoneclient.v3 import client as keystone_client

from fanlight.errors import Busy, NotAuthenticated, SettingsError
from fanlight.http.identity import Identity
from tests.bed import callers

from .asking import SPOOFED, ask, head, token_of
from .conftest import Login, Open, Serve
from .relay import Relay

# WebOb, which keystonemiddleware uses, imports a module that Python 3.13 drops.
pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning")]


@pytest.fixture(scope="module")
def base(open_mode: Open, serve: Serve, options: dict[str, Any]) -> str:
    return serve(open_mode("keystone", options))


def test_a_token_says_who_calls(base: str, login: Login) -> None:
    session = login("demo")
    token = token_of(session)
    caller = ask(base, token).json()
    assert caller["user_id"] == session.get_user_id()
    assert caller["project_id"] == session.get_project_id()
    assert set(caller["roles"]) == {"member", "reader"}
    assert (caller["user_domain_id"], caller["project_domain_id"]) == ("default", "default")
    assert (caller["is_admin"], caller["read_only"], caller["system_scope"]) == (False, False, None)
    assert caller["service_roles"] == []
    assert caller["token"] == token
    assert callers.get(base, headers={"X-Storage-Token": token}).json()["token"] == token


def test_an_administrator_is_one_by_policy(base: str, login: Login) -> None:
    caller = ask(base, token_of(login("admin"))).json()
    assert caller["is_admin"] is True
    assert "admin" in caller["roles"]


@pytest.mark.parametrize("token", [None, "", "nonsense", "gAAAAABnonsense" * 20, "x" * 12000, "a\x80\xff", "..", "%00"])
def test_any_other_token_is_challenged(base: str, keystone_url: str, token: str | None) -> None:
    headers = {} if token is None else {b"X-Auth-Token": token.encode("latin-1")}
    answer = callers.get(base, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == f'Keystone uri="{keystone_url}"'


def test_identity_headers_of_the_client_are_never_believed(base: str, login: Login) -> None:
    assert ask(base, None, **SPOOFED).status_code == 401
    assert ask(base, "nonsense", **SPOOFED).status_code == 401
    token = token_of(login("demo"))
    assert ask(base, token, **SPOOFED).json() == ask(base, token).json()
    unscoped = token_of(login("demo", unscoped=True))
    caller = ask(base, unscoped, **SPOOFED).json()
    assert caller == ask(base, unscoped).json()
    assert (caller["project_id"], caller["roles"], caller["domain_id"]) == (None, [], None)


def test_a_revoked_token_is_refused(base: str, login: Login, admin: Any) -> None:
    token = token_of(login("demo"))
    admin.tokens.revoke_token(token)
    assert ask(base, token).status_code == 401


def test_a_revoked_token_lives_no_longer_than_the_cache(open_mode: Open, options: dict[str, Any], login: Login) -> None:
    identity = open_mode("keystone", {**options, "token_cache_time": "1"})
    session = login("demo")
    token = token_of(session)
    assert identity.identify(head(token)).user_id == session.get_user_id()
    keystone_client.Client(session=session).tokens.revoke_token(token)
    time.sleep(2.2)
    with pytest.raises(NotAuthenticated):
        identity.identify(head(token))


def application_credential(session: Session, **more: Any) -> Any:
    client = keystone_client.Client(session=session)
    return client.application_credentials.create(str(uuid.uuid4()), user=session.get_user_id(), **more)


def login_with(keystone_url: str, credential: Any) -> Session:
    plugin = v3.ApplicationCredential(
        keystone_url, application_credential_id=credential.id, application_credential_secret=credential.secret
    )
    return Session(auth=plugin)


@pytest.fixture
def expired_token(keystone_url: str, login: Login) -> str:
    """A token of demo that was valid until a moment ago: it ends with the application credential behind it."""
    end = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=3)
    session = login_with(keystone_url, application_credential(login("demo"), expires_at=end))
    token = token_of(session)
    time.sleep(max(0.0, (end - datetime.datetime.now(datetime.UTC).replace(tzinfo=None)).total_seconds()) + 1.2)
    return token


def test_an_expired_token_needs_a_service_to_vouch_for_it(base: str, login: Login, expired_token: str) -> None:
    assert ask(base, expired_token).status_code == 401
    vouched = ask(base, expired_token, X_Service_Token=token_of(login("glance")))
    assert vouched.status_code == 200
    assert "service" in vouched.json()["service_roles"]
    assert ask(base, expired_token, X_Service_Token=token_of(login("other"))).status_code == 401


def test_a_cached_token_expires_in_time(
    open_mode: Open, options: dict[str, Any], keystone_url: str, login: Login
) -> None:
    identity = open_mode("keystone", options)
    end = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=3)
    token = token_of(login_with(keystone_url, application_credential(login("demo"), expires_at=end)))
    assert identity.identify(head(token)).user_id
    time.sleep(4.2)
    with pytest.raises(NotAuthenticated):
        identity.identify(head(token))


def test_service_roles_come_from_a_service_token_only(base: str, login: Login) -> None:
    user, service = token_of(login("demo")), token_of(login("glance"))
    caller = ask(base, user, X_Service_Token=service).json()
    assert set(caller["service_roles"]) >= {"admin", "service"}
    assert set(caller["roles"]) == {"member", "reader"}, "a service's roles are not the user's"
    assert caller["is_admin"] is False
    for other in (token_of(login("other")), "nonsense"):
        answer = ask(base, user, X_Service_Token=other)
        assert answer.status_code == 200
        assert answer.json()["service_roles"] == []
    assert ask(base, None, X_Service_Token=service).status_code == 401
    assert ask(base, "nonsense", X_Service_Token=service).status_code == 401


def test_scopes(base: str, login: Login, admin: Any) -> None:
    system = token_of(login("admin", system_scope="all"))
    caller = ask(base, system).json()
    assert (caller["system_scope"], caller["project_id"]) == ("all", None)
    service = token_of(login("glance"))
    assert ask(base, system, X_Service_Token=service).json()["system_scope"] == "all"
    user = token_of(login("demo"))
    assert ask(base, user, X_Service_Token=system, OpenStack_System_Scope="all").json()["system_scope"] is None

    roles = {role.name: role for role in admin.roles.list()}
    viewer = next(user for user in admin.users.list(domain="default") if user.name == "viewer")
    admin.roles.grant(roles["reader"], user=viewer, domain="default")
    try:
        caller = ask(base, token_of(login("viewer", domain_id="default"))).json()
        assert (caller["domain_id"], caller["project_id"], caller["roles"]) == ("default", None, ["reader"])
    finally:
        admin.roles.revoke(roles["reader"], user=viewer, domain="default")


@pytest.fixture
def image_service(admin: Any) -> Iterator[None]:
    """A catalogue with an image service in it, which access rules need."""
    if any(service.type == "image" for service in admin.services.list()):
        yield
        return
    service = admin.services.create("glance", type="image")
    endpoint = admin.endpoints.create(service, "http://127.0.0.1:9292", interface="public", region="RegionOne")
    yield
    admin.endpoints.delete(endpoint)
    admin.services.delete(service)


@pytest.mark.usefixtures("image_service")
def test_access_rules_of_application_credentials_hold(base: str, keystone_url: str, login: Login) -> None:
    rules = [{"service": "image", "method": "GET", "path": "/v2/images/*"}]
    token = token_of(login_with(keystone_url, application_credential(login("demo"), access_rules=rules)))
    headers = {"X-Auth-Token": token}
    assert callers.get(base + "/v2/images/1", headers=headers).status_code == 200
    assert callers.get(base + "/v2/images", headers=headers).status_code == 401
    assert callers.get(base + "/v2/images/1/file", headers=headers).status_code == 401
    assert httpx.delete(base + "/v2/images/1", headers=headers).status_code == 401


def test_a_token_is_asked_about_once(open_mode: Open, through: dict[str, Any], relay: Relay, login: Login) -> None:
    token = token_of(login("demo"))
    identity = open_mode("keystone", through)
    for _ in range(3):
        assert identity.identify(head(token)).token == token
    assert relay.validations == 1
    elsewhere = open_mode("keystone", through)
    assert elsewhere.identify(head(token)).token == token
    assert relay.validations == 1, "another worker finds it in memcached"


@pytest.mark.parametrize("strategy", ["MAC", "ENCRYPT"])
def test_the_cache_can_be_protected(
    open_mode: Open, through: dict[str, Any], relay: Relay, login: Login, strategy: str
) -> None:
    protected = {**through, "memcache_security_strategy": strategy, "memcache_secret_key": "planted-key"}
    token = token_of(login("demo"))
    identity = open_mode("keystone", protected)
    for _ in range(2):
        assert identity.identify(head(token)).token == token
    assert relay.validations == 1


def test_many_threads_share_one_middleware(open_mode: Open, options: dict[str, Any], login: Login) -> None:
    identity = open_mode("keystone", options)
    sessions = {name: login(name) for name in ("demo", "admin", "other")}
    tokens = {name: token_of(session) for name, session in sessions.items()}
    wrong: list[str] = []

    def work(name: str) -> None:
        for _ in range(50):
            if identity.identify(head(tokens[name])).user_id != sessions[name].get_user_id():
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in [*sessions] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_anonymous_access(open_mode: Open, serve: Serve, through: dict[str, Any], relay: Relay, login: Login) -> None:
    base = serve(open_mode("keystone", through, allow_anonymous_access=True))
    for token in (None, "nonsense"):
        caller = ask(base, token, **SPOOFED).json()
        assert (caller["read_only"], caller["roles"], caller["is_admin"]) == (True, [], False)
        assert (caller["project_id"], caller["system_scope"]) == (None, None)
    assert ask(base, token_of(login("demo"))).json()["read_only"] is False
    relay.stop()
    assert ask(base, "another").status_code == 503, "a user with a token is not a stranger while Keystone is down"


def test_no_secret_reaches_the_log(
    open_mode: Open, through: dict[str, Any], relay: Relay, login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    good, gone = login("demo"), login("other")
    tokens = [token_of(good), token_of(gone), token_of(login("glance")), "planted-token", "gAAAAABplanted"]
    keystone_client.Client(session=gone).tokens.revoke_token(tokens[1])
    secret = {
        **through,
        "password": "glance",
        "memcache_secret_key": "planted-key",
        "memcache_security_strategy": "MAC",
    }
    with caplog.at_level(logging.DEBUG):
        identity = open_mode("keystone", secret)
        for token in tokens:
            with contextlib.suppress(NotAuthenticated):
                identity.identify(head(token, (b"x-service-token", tokens[2].encode())))
        open_mode("keystone", {**secret, "password": "planted-password"})
        relay.stop()
        with pytest.raises(Busy):
            identity.identify(head("planted-late"))
    assert "Keystone" in caplog.text
    for planted in (*tokens, "planted", '"password": "glance"'):
        assert planted not in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"auth_type": None}, "auth_type is not set"),
        ({"auth_type": "telepathy"}, "no such plugin"),
        ({"token_cache_time": "soon"}, "token_cache_time"),
        ({"auth_url": None}, "auth_url|auth-url"),
        ({"memcache_security_strategy": "MAC"}, "secret_key"),
        ({"password": "glance$planted"}, r"password refers .* \$\$"),
        ({"auth_section": "elsewhere"}, "auth_section"),
    ],
)
def test_options_that_do_not_suffice_stop_the_start(
    open_mode: Open, options: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        open_mode("keystone", options | change)
    assert "glance" not in str(caught.value)


def test_option_names_have_many_spellings(
    open_mode: Open, options: dict[str, Any], login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    renamed = {name.replace("auth_type", "auth_plugin").replace("_", "-"): value for name, value in options.items()}
    renamed["memcache-servers"] = renamed.pop("memcached-servers")
    identity: Identity = open_mode("keystone", renamed | {"planted_option": "planted-value", "region_name": ""})
    token = token_of(login("demo"))
    assert identity.identify(head(token)).token == token
    assert "planted_option" in caplog.text
    assert "planted-value" not in caplog.text


def understood(options: dict[str, Any]) -> Any:
    """The group as the middleware will see it; imported here, where the warning of its libraries is expected."""
    from fanlight.http.identity.authtoken_options import GROUP, as_config

    return as_config(options)[GROUP]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("pa$$word", "pa$word"), (r"pa\$word", "pa$word"), ("%(x)s", "%(x)s"), ("a,b #c;d", "a,b #c;d")],
)
def test_a_password_is_read_as_oslo_config_reads_it(options: dict[str, Any], written: str, meant: str) -> None:
    assert understood({**options, "password": written}).password == meant


def test_what_is_not_set_has_values_that_end(options: dict[str, Any]) -> None:
    group = understood({**options, "delay_auth_decision": "false"})
    assert (group.http_connect_timeout, group.http_request_max_retries) == (5, 1)
    assert group.service_type == "image"
    assert group.delay_auth_decision is True
    assert understood({**options, "http_connect_timeout": "60"}).http_connect_timeout == 60
