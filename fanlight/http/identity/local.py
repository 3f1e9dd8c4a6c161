"""Mode `none`, the embedded default: every program on this machine is the administrator of one default project."""

from __future__ import annotations

from msgspec import structs

from fanlight.http.identity.guard import Guard
from fanlight.http.identity.head import RequestHead
from fanlight.http.identity.parts import AdminRule
from fanlight.model import Caller
from fanlight.settings import IdentitySettings

ROLES = ("admin", "member", "reader")
"""Keystone would imply the lower two; policy here implies nothing (facts: policy 1.1)."""

ANNOUNCEMENT = (
    "Identity mode 'none' with remote callers allowed: WHOEVER REACHES THIS PORT IS ADMINISTRATOR, from any address. "
    "Use http_basic or keystone unless the network is closed."
)


class Local:
    """No authentication: the place of the caller (loopback, no proxy, no web page) is the authentication."""

    def __init__(self, settings: IdentitySettings, policy: AdminRule) -> None:
        self._policy = policy
        self._remote = settings.allow_remote
        self._guard = Guard(settings.allowed_hosts)
        self._member = Caller(
            user_id=settings.default_user_id,
            project_id=settings.default_project_id,
            roles=ROLES,
            user_domain_id="default",
            project_domain_id="default",
        )
        self._admin = structs.replace(self._member, is_admin=True)
        self.announcement: str | None = ANNOUNCEMENT if self._remote else None

    def identify(self, head: RequestHead) -> Caller:
        """Raises Forbidden for anything that is, or may speak for, a stranger."""
        if self._remote:
            # Strangers are welcome, but a foreign web page still may not use its reader's place in the network.
            self._guard.require_unbound_page(head.headers)
        else:
            self._guard.require_local(head)
        # Asked each time, because the rule may change with the policy file.
        return self._admin if self._policy.is_admin(self._member) else self._member
