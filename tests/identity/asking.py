"""How the tests of mode keystone ask: over HTTP, or the mode itself; and what a liar sends along."""

from __future__ import annotations

import httpx
from keystoneauth1.session import Session

from fanlight.http.identity import RequestHead
from tests.bed import callers

SPOOFED = {
    "X_Identity_Status": "Confirmed",
    "X_User_Id": "spoofed",
    "X_User": "spoofed",
    "X_Project_Id": "spoofed",
    "X_Tenant_Id": "spoofed",
    "X_Tenant": "spoofed",
    "X_Roles": "admin",
    "X_Role": "admin",
    "X_Service_Identity_Status": "Confirmed",
    "X_Service_Roles": "service",
    "X_Domain_Id": "spoofed",
    "X_User_Domain_Id": "spoofed",
    "X_Project_Domain_Id": "spoofed",
    "X_Is_Admin_Project": "True",
    "OpenStack_System_Scope": "all",
}


def token_of(session: Session) -> str:
    token = session.get_token()
    assert isinstance(token, str)
    return token


def head(token: str | None, *more: tuple[bytes, bytes], path: str = "/v2/images") -> RequestHead:
    headers = [(b"host", b"localhost"), *more]
    if token is not None:
        headers.append((b"x-auth-token", token.encode("latin-1")))
    return RequestHead("GET", path, "", headers, ("127.0.0.1", 1), "http")


def ask(base: str, token: str | None, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["X-Auth-Token"] = token
    return callers.get(base + "/v2/images", headers=sent, timeout=30)
