"""Mode `fakeauth`, for tests: the token says who is calling, and is believed.

Form of the token, as in Glance's own test suite: `user:project:role[,role]`; project `none` means no project.
"""

from __future__ import annotations

from urllib.parse import unquote

from msgspec import structs

from fanlight.errors import NotAuthenticated
from fanlight.http.identity.head import RequestHead
from fanlight.http.identity.parts import AdminRule, role_names
from fanlight.model import Caller

ANNOUNCEMENT = (
    "Identity mode 'fakeauth': EVERY CALLER IS WHOEVER ITS TOKEN CLAIMS (user:project:role in X-Auth-Token). "
    "For tests only; whoever reaches this port can be administrator."
)


class FakeAuth:
    """Believes `X-Auth-Token: user:project:role[,role]`."""

    announcement: str | None = ANNOUNCEMENT

    def __init__(self, policy: AdminRule) -> None:
        self._policy = policy

    def identify(self, head: RequestHead) -> Caller:
        """Raises NotAuthenticated without a token of exactly three parts, with a user and a project."""
        token = head.get("x-auth-token")
        if not token:
            raise NotAuthenticated
        # python-glanceclient sends headers percent-encoded.
        parts = unquote(token).split(":")
        if len(parts) != 3 or not parts[0] or not parts[1]:
            raise NotAuthenticated("The token is not of the form user:project:role.")
        user, project, roles = parts
        caller = Caller(
            user_id=user,
            project_id=None if project.lower() == "none" else project,
            roles=role_names(roles),
            token=token,
        )
        return structs.replace(caller, is_admin=True) if self._policy.is_admin(caller) else caller
