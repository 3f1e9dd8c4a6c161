"""What the modes of identity have in common: their interface, what they are given, and how they refuse."""

from __future__ import annotations

from typing import Protocol

from fanlight.errors import NotAuthenticated
from fanlight.http.identity.head import RequestHead
from fanlight.model import Caller


class Identity(Protocol):
    """One mode. `announcement` is what the service must say loudly at start, or None."""

    announcement: str | None

    def identify(self, head: RequestHead) -> Caller:
        """Who sent `head`. May block (bounded). Raises NotAuthenticated, Forbidden or Busy."""


class AdminRule(Protocol):
    """The part of policy that identity needs: the rule `context_is_admin`."""

    def is_admin(self, caller: Caller) -> bool: ...


class Challenged(NotAuthenticated):
    """Not authenticated, and `challenge` tells the client how to be: the value of WWW-Authenticate."""

    def __init__(self, challenge: str | None, message: str | None = None) -> None:
        super().__init__(message)
        self.challenge = challenge


def role_names(text: str) -> tuple[str, ...]:
    """The roles of a comma-separated list, lower-cased, as policy compares them."""
    return tuple([role for item in text.split(",") if (role := item.strip().lower())])


def named(value: str | None) -> str | None:
    """`value` without blanks; None for what is empty."""
    return (value.strip() or None) if value else None
