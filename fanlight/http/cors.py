"""Cross-origin headers: which web pages may read our answers ([cors] of the configuration).

Without `allowed_origin` no header is ever sent. Every OPTIONS request is answered 200 without identity
(a browser's preflight carries no token), whatever the path; a refusal is an answer without these headers. Headers and
refusals are those of oslo.middleware, which is what Glance has here.
"""

from __future__ import annotations

from fanlight.http.call import Headers
from fanlight.http.identity import RequestHead
from fanlight.settings import CorsSettings

_SIMPLE = (
    "accept",
    "accept-language",
    "cache-control",
    "content-language",
    "content-type",
    "expires",
    "last-modified",
    "pragma",
)
"""Headers that a page may always send. A browser asks for Content-Type all the same: of what we take (JSON, patches,
octet streams) nothing is among the types that it lets pass unasked."""


class Cors:
    """The configured origins and the headers they get."""

    def __init__(self, settings: CorsSettings) -> None:
        self._origins = frozenset(settings.allowed_origin)
        self.enabled = bool(self._origins)
        """Whether any origin is allowed."""
        self._any = "*" in self._origins
        self._credentials = settings.allow_credentials
        self._expose = ",".join(settings.expose_headers).encode()
        self._methods = frozenset(settings.allow_methods)
        self._allowed = frozenset(_SIMPLE).union(name.lower() for name in settings.allow_headers)
        self._max_age = str(settings.max_age).encode() if settings.max_age else b""

    def headers(self, head: RequestHead) -> Headers:
        """What an answer to `head` carries; empty for an origin or a preflight's wish that is not allowed."""
        origin = head.get("origin") if self._origins else None
        if origin is None or not (self._any or origin in self._origins):
            return []
        found: Headers = [
            # Never the origin in place of *: together with credentials that would be leave for every page there is.
            (b"access-control-allow-origin", origin.encode("latin-1") if origin in self._origins else b"*"),
            (b"vary", b"Origin"),
        ]
        if self._credentials:
            found.append((b"access-control-allow-credentials", b"true"))
        if head.method == "OPTIONS":
            permission = self._preflight(head)
            return [*found, *permission] if permission else []
        if self._expose:
            found.append((b"access-control-expose-headers", self._expose))
        return found

    def _preflight(self, head: RequestHead) -> Headers:
        """Leave for the method and the headers asked for, or nothing if one of them is not allowed."""
        method = head.get("access-control-request-method")
        asked = head.get("access-control-request-headers") or ""
        names = [name for part in asked.split(",") if (name := part.strip())]
        if method not in self._methods or not self._allowed.issuperset(name.lower() for name in names):
            return []
        found: Headers = [(b"access-control-allow-methods", method.encode())]
        if self._max_age:
            found.append((b"access-control-max-age", self._max_age))
        if names:
            found.append((b"access-control-allow-headers", ",".join(names).encode()))
        return found
