"""Chooses the mode of identity at start, from the settings."""

from __future__ import annotations

from collections.abc import Callable

from fanlight.errors import SettingsError
from fanlight.http.identity.anonymous import Anonymous
from fanlight.http.identity.fakeauth import FakeAuth
from fanlight.http.identity.local import Local
from fanlight.http.identity.parts import AdminRule, Identity
from fanlight.http.identity.trusted import Trusted
from fanlight.settings import Settings


def _basic(settings: Settings, policy: AdminRule) -> Identity:
    from fanlight.http.identity.basic import Basic

    return Basic(settings.identity, policy)


def _keystone(settings: Settings, policy: AdminRule) -> Identity:
    # Imported on demand: keystonemiddleware brings WebOb, requests and oslo, megabytes that other modes do without.
    from fanlight.http.identity.keystone import Keystone

    return Keystone(settings.keystone, policy)


MODES: dict[str, Callable[[Settings, AdminRule], Identity]] = {
    "none": lambda settings, policy: Local(settings.identity, policy),
    "http_basic": _basic,
    "keystone": _keystone,
    "trusted": lambda settings, policy: Trusted(policy),
    "fakeauth": lambda settings, policy: FakeAuth(policy),
}
"""THE table of modes: name -> how to build it."""


def open_identity(settings: Settings, policy: AdminRule) -> Identity:
    """Build the mode that `settings.identity.mode` names. Raises SettingsError with what to do."""
    build = MODES.get(settings.identity.mode)
    if build is None:
        raise SettingsError(f"Unknown identity mode {settings.identity.mode!r}; known are: {', '.join(MODES)}.")
    identity = build(settings, policy)
    # Mode none has no 401 to soften: it serves the administrator or refuses.
    if settings.identity.allow_anonymous_access and not isinstance(identity, Local):
        return Anonymous(identity)
    return identity
