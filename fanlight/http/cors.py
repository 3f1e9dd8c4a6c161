"""Cross-origin headers: which web pages may read our answers ([cors] of the configuration).

Without `allowed_origin` no header is ever sent. Every OPTIONS request is answered 200 without identity
(a browser's preflight carries no token), whatever the path.
"""

from __future__ import annotations

from fanlight.http.call import Headers
from fanlight.http.identity import RequestHead
from fanlight.settings import CorsSettings


class Cors:
    """The configured origins and the headers they get."""

    def __init__(self, settings: CorsSettings) -> None:
        self._origins = frozenset(settings.allowed_origin)
        self.enabled = bool(self._origins)
        """Whether any origin is allowed."""
        self._any = "*" in self._origins
        self._credentials = settings.allow_credentials
        self._expose = ",".join(settings.expose_headers).encode()
        self._preflight: Headers = [
            (b"access-control-allow-methods", ",".join(settings.allow_methods).encode()),
            (b"access-control-allow-headers", ",".join(settings.allow_headers).encode()),
            (b"access-control-max-age", str(settings.max_age).encode()),
        ]

    def headers(self, head: RequestHead) -> Headers:
        """What an answer to `head` carries; empty for origins that are not allowed."""
        origin = head.get("origin") if self._origins else None
        if origin is None or not (self._any or origin in self._origins):
            return []
        found: Headers = [(b"access-control-allow-origin", origin.encode("latin-1", "replace")), (b"vary", b"Origin")]
        if self._credentials:
            found.append((b"access-control-allow-credentials", b"true"))
        if head.method == "OPTIONS" and head.get("access-control-request-method"):
            return [*found, *self._preflight]
        return [*found, (b"access-control-expose-headers", self._expose)]
