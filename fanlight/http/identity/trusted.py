"""Mode `trusted`: a front end has authenticated the caller and says who it is in headers.

The headers are those of keystonemiddleware (its documentation, "What auth_token adds to the request"), so whatever
filter a site runs in front of its services can run in front of this one. Nothing here can tell a front end from a
stranger who sends the same headers: the port must be reachable by the front end only, and the front end must strip them
from its clients.
"""

from __future__ import annotations

from msgspec import structs

from fanlight.errors import NotAuthenticated
from fanlight.http.identity.head import RawHeaders, RequestHead
from fanlight.http.identity.parts import AdminRule, named, role_names
from fanlight.model import Caller

ANNOUNCEMENT = (
    "Identity mode 'trusted': EVERY CALLER IS WHOEVER ITS HEADERS SAY (X-Identity-Status, X-User-Id, X-Project-Id, "
    "X-Roles). Only the front end that sets and strips them may reach this port."
)

HEADERS = frozenset(
    {
        b"x-identity-status",
        b"x-service-identity-status",
        b"x-user-id",
        b"x-user",
        b"x-project-id",
        b"x-tenant-id",
        b"x-tenant",
        b"x-roles",
        b"x-role",
        b"x-service-roles",
        b"x-service-user-id",
        b"x-service-project-id",
        b"x-service-user-domain-id",
        b"x-service-project-domain-id",
        b"x-domain-id",
        b"x-user-domain-id",
        b"x-project-domain-id",
        b"openstack-system-scope",
        b"x-auth-token",
        b"x-service-catalog",
    }
)


class Trusted:
    """Believes the identity headers of keystonemiddleware."""

    announcement: str | None = ANNOUNCEMENT

    def __init__(self, policy: AdminRule) -> None:
        self._policy = policy

    def identify(self, head: RequestHead) -> Caller:
        """Raises NotAuthenticated unless `X-Identity-Status: Confirmed`, or when a header is there twice."""
        found = _collect(head.headers)
        if found.get(b"x-identity-status") != "Confirmed":
            raise NotAuthenticated
        get = found.get
        confirmed = get(b"x-service-identity-status", "Confirmed") == "Confirmed"

        def of_service(name: bytes) -> str | None:
            return named(get(b"x-service-" + name)) if confirmed else None

        caller = Caller(
            user_id=named(get(b"x-user-id") or get(b"x-user")),
            project_id=named(get(b"x-project-id") or get(b"x-tenant-id") or get(b"x-tenant")),
            roles=role_names(get(b"x-roles") or get(b"x-role") or ""),
            service_roles=role_names(of_service(b"roles") or ""),
            service_user_id=of_service(b"user-id"),
            service_project_id=of_service(b"project-id"),
            service_user_domain_id=of_service(b"user-domain-id"),
            service_project_domain_id=of_service(b"project-domain-id"),
            domain_id=named(get(b"x-domain-id")),
            user_domain_id=named(get(b"x-user-domain-id")),
            project_domain_id=named(get(b"x-project-domain-id")),
            system_scope=named(get(b"openstack-system-scope")),
            token=get(b"x-auth-token"),
            service_catalog=get(b"x-service-catalog"),
        )
        return structs.replace(caller, is_admin=True) if self._policy.is_admin(caller) else caller


def _collect(headers: RawHeaders) -> dict[bytes, str]:
    """The identity headers by name. A name found twice is one that the front end added and did not replace."""
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name in HEADERS:
            if name in found:
                raise NotAuthenticated("An identity header is given twice.")
            found[name] = value.decode("latin-1").strip()
    return found
