"""Trusts of Keystone: the service acts for a user for longer than the user's token lasts."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from fanlight.errors import FanlightError
from fanlight.stores.swift_accounts import (
    Credentials,
    Service,
    keystone_explained,
    keystone_plugin,
    keystone_session,
    v3_address,
)

LOG = logging.getLogger(__name__)
LIFETIME = timedelta(days=2)
"""A trust that could not be ended, because the service died, ends by itself."""


class Trust:
    """A user lets the service have the user's roles in the user's project."""

    def __init__(self, trust_id: str, session: Any, url: str) -> None:
        self.id = trust_id
        self._session, self._url = session, url

    def end(self) -> None:
        """Take it back. What fails is logged: it ends by itself later."""
        try:
            with keystone_explained():
                self._session.delete(self._url)
        except FanlightError as error:
            LOG.warning("a trust could not be ended: %s", error)


def trusted(account: Credentials, service: Service, token: str) -> Trust | None:
    """A trust of the token's user for the account; None where Keystone gives none (it is logged why)."""
    from keystoneauth1.token_endpoint import Token

    url = v3_address(account.auth_address)
    session = keystone_session(service, Token(url, token))
    try:
        with keystone_explained():
            answer = session.get(f"{url}/auth/tokens?nocatalog", headers={"X-Subject-Token": token})
            user = answer.json()["token"]
            plugin = keystone_plugin(account)
            trust = {
                "trustor_user_id": user["user"]["id"],
                "trustee_user_id": plugin.get_access(keystone_session(service, plugin)).user_id,
                "project_id": user["project"]["id"],
                "roles": [{"id": role["id"]} for role in user["roles"]],
                "impersonation": True,
                "allow_redelegation": False,
                "expires_at": (datetime.now(UTC) + LIFETIME).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
            made = session.post(f"{url}/OS-TRUST/trusts", json={"trust": trust}).json()["trust"]["id"]
    except (FanlightError, KeyError, ValueError) as error:
        LOG.warning("no trust could be made, the transfer has as long as the user's token lasts: %s", error)
        return None
    return Trust(made, session, f"{url}/OS-TRUST/trusts/{made}")
