"""Option `allow_anonymous_access`: a stranger may look around, where there would be a 401."""

from __future__ import annotations

from fanlight.errors import NotAuthenticated
from fanlight.http.identity.head import RequestHead
from fanlight.http.identity.parts import Identity
from fanlight.model import Caller

ANONYMOUS = Caller(read_only=True)
"""No roles: policy decides what a stranger sees (by default almost nothing), and nothing may be changed."""


class Anonymous:
    """Another mode, with its refusals for lack of authentication (and no others) turned into `ANONYMOUS`."""

    def __init__(self, inner: Identity) -> None:
        self._inner = inner
        self.announcement: str | None = inner.announcement

    def identify(self, head: RequestHead) -> Caller:
        """As the wrapped mode, or `ANONYMOUS`. Raises Forbidden or Busy."""
        try:
            return self._inner.identify(head)
        except NotAuthenticated:
            return ANONYMOUS
