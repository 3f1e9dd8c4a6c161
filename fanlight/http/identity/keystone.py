"""Mode `keystone`: keystonemiddleware.auth_token, unmodified, run over the head of each request.

The middleware is WSGI and speaks by headers; it is given a small environment that holds the tokens and the path (which
the access rules of application credentials ask for) and nothing else of the request, so that no header of a client can
ever pass for one that the middleware set. There is no token code of our own: fetching, caching, expiry, binding,
service tokens and access rules are the middleware's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any

from keystoneauth1 import exceptions as auth_errors
from keystonemiddleware import auth_token
from keystonemiddleware import exceptions as middleware_errors
from msgspec import structs
from oslo_cache import exception as cache_errors

from fanlight.errors import Busy, SettingsError
from fanlight.http.identity.admission import Admission
from fanlight.http.identity.authtoken_options import GROUP, as_config, memcached_address
from fanlight.http.identity.head import RequestHead
from fanlight.http.identity.parts import AdminRule, Challenged, named, role_names
from fanlight.model import Caller

LOG = logging.getLogger(__name__)

TOKENS = {
    b"x-auth-token": "HTTP_X_AUTH_TOKEN",
    b"x-storage-token": "HTTP_X_STORAGE_TOKEN",
    b"x-service-token": "HTTP_X_SERVICE_TOKEN",
}
"""All that the middleware is given of a request's headers."""

CLIENTS_FAULT = frozenset({400, 413, 414, 431})
"""What Keystone (or a proxy before it) answers to a token that is too odd to be looked at."""

UNUSABLE = (auth_errors.ClientException, middleware_errors.ConfigurationError, ImportError, OSError, ValueError)
"""What options that do not fit together raise when the middleware is built."""

StartResponse = Callable[..., Any]


class AuthToken(auth_token.AuthProtocol):  # type: ignore[misc]  # keystonemiddleware ships no types
    """The middleware, telling "Keystone cannot be asked" from "Keystone says no".

    With `delay_auth_decision` it answers both with an invalid token; a client that is told 401 because Keystone is down
    would log in again, or give up.
    """

    def __init__(self, conf: Mapping[str, Any], known_seconds: float) -> None:
        super().__init__(_application, dict(conf))
        self._admission = Admission(known_seconds)

    def fetch_token(self, token: str, allow_expired: bool = False) -> Any:
        """As the middleware. Raises InvalidToken, or Busy when Keystone gives no answer."""
        admission = self._admission
        try:
            if admission.knows(token):
                data = super().fetch_token(token, allow_expired=allow_expired)
            else:
                with admission.place():
                    data = super().fetch_token(token, allow_expired=allow_expired)
        except auth_token.InvalidToken as error:
            admission.refused(token)
            if _is_outage(error):
                raise Busy("The identity service cannot be asked; try again later.") from None
            raise
        except (auth_errors.ClientException, cache_errors.QueueEmpty) as error:
            admission.refused(token)
            LOG.error("Keystone cannot be asked: %s", type(error).__name__)
            raise Busy("The identity service cannot be asked; try again later.") from None
        admission.accepted(token)
        return data


class Keystone:
    """Asks Keystone, through the middleware and its cache."""

    announcement: str | None = None

    def __init__(self, options: Mapping[str, Any], policy: AdminRule) -> None:
        self._policy = policy
        conf = as_config(options)
        for server in conf[GROUP].memcached_servers or ():
            memcached_address(server)
        try:
            self._middleware = AuthToken({"oslo_config_config": conf}, conf[GROUP].token_cache_time)
        except UNUSABLE as error:
            raise SettingsError(f"[{GROUP}] does not suffice to ask Keystone: {error}") from None

    def identify(self, head: RequestHead) -> Caller:
        """Blocks while Keystone or memcached is asked. Raises Challenged (401) or Busy (503)."""
        environ = _environ(head)
        status, challenge = "", None

        def start_response(line: str, headers: Iterable[tuple[str, str]], exc_info: object = None) -> Any:
            nonlocal status, challenge
            status = line
            challenge = next((value for name, value in headers if name.lower() == "www-authenticate"), None)

        try:
            self._middleware(environ, start_response)
        except (auth_errors.ClientException, cache_errors.QueueEmpty) as error:
            LOG.error("Keystone cannot be asked: %s", type(error).__name__)
            raise Busy("The identity service cannot be asked; try again later.") from None
        if status.startswith("503"):
            raise Busy("The identity service cannot be asked; try again later.")
        if not status.startswith("200"):
            raise Challenged(challenge)
        caller = _caller(environ)
        return structs.replace(caller, is_admin=True) if self._policy.is_admin(caller) else caller


def _application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    """What the middleware wraps: 401 for callers that are not confirmed, so that it adds its challenge."""
    confirmed = environ.get("HTTP_X_IDENTITY_STATUS") == "Confirmed"
    start_response("200 OK" if confirmed else "401 Unauthorized", [])
    return []


def _environ(head: RequestHead) -> dict[str, Any]:
    """A WSGI environment without a body: method, path and tokens."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": head.path if head.path.isascii() else head.path.encode().decode("latin-1"),
        "SERVER_NAME": "fanlight",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": head.scheme,
        "wsgi.input": BytesIO(),
        "wsgi.errors": None,
    }
    for name, value in head.headers:
        if name in TOKENS:
            environ.setdefault(TOKENS[name], value.decode("latin-1").strip())
    return environ


def _caller(environ: Mapping[str, Any]) -> Caller:
    """The identity headers that the middleware set."""
    get = environ.get
    confirmed = get("HTTP_X_SERVICE_IDENTITY_STATUS") == "Confirmed"

    def of_service(name: str) -> str | None:
        return named(get(f"HTTP_X_SERVICE_{name}")) if confirmed else None

    return Caller(
        user_id=named(get("HTTP_X_USER_ID")),
        project_id=named(get("HTTP_X_PROJECT_ID")),
        roles=role_names(get("HTTP_X_ROLES") or ""),
        service_roles=role_names(of_service("ROLES") or ""),
        service_user_id=of_service("USER_ID"),
        service_project_id=of_service("PROJECT_ID"),
        service_user_domain_id=of_service("USER_DOMAIN_ID"),
        service_project_domain_id=of_service("PROJECT_DOMAIN_ID"),
        domain_id=named(get("HTTP_X_DOMAIN_ID")),
        user_domain_id=named(get("HTTP_X_USER_DOMAIN_ID")),
        project_domain_id=named(get("HTTP_X_PROJECT_DOMAIN_ID")),
        system_scope=_system_scope(environ),
        token=get("HTTP_X_AUTH_TOKEN") or get("HTTP_X_STORAGE_TOKEN"),
        service_catalog=get("HTTP_X_SERVICE_CATALOG"),
    )


def _system_scope(environ: Mapping[str, Any]) -> str | None:
    """`all` for a system-scoped user token.

    Read from the token itself: the header OpenStack-System-Scope is the service token's once there is one, and a
    system-scoped caller would pass for a project's.
    """
    token = environ["keystone.token_info"]["token"]
    return "all" if (token.get("system") or {}).get("all") else None


def _is_outage(error: BaseException) -> bool:
    """Whether the middleware gave up on a token because Keystone failed, and not because of the token."""
    cause = error.__context__
    if isinstance(cause, auth_token.ServiceError):
        answer = cause.__context__
        return not (isinstance(answer, auth_errors.HttpError) and answer.http_status in CLIENTS_FAULT)
    return isinstance(cause, auth_errors.ClientException) and not isinstance(cause, auth_errors.NotFound)
