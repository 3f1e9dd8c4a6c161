"""The head of a request as the pipeline hands it on: what identity and the handlers may know of HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

RawHeaders = list[tuple[bytes, bytes]]


class RequestHead(Struct, frozen=True):
    """Method, decoded path, query string and raw headers (names in lower case) of one request.

    `client` is the peer of the connection, never what a header claims. `query` is still percent-encoded. `public_url`:
    scheme, host and path in front of ours as a proxy tells them, where proxies are believed (http/forwarded.py).
    """

    method: str
    path: str
    query: str
    headers: RawHeaders
    client: tuple[str, int] | None
    scheme: str
    public_url: str | None = None
    version: str = "1.1"
    """Of HTTP."""

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any]) -> RequestHead:
        """The head of an ASGI `http` scope."""
        return cls(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("utf-8", "replace"),
            scope["headers"],
            scope.get("client"),
            scope.get("scheme", "http"),
            version=scope.get("http_version", "1.1"),
        )

    def get(self, name: str) -> str | None:
        """The first header of that name (any case), without surrounding blanks; None when there is none."""
        wanted = name.lower().encode("latin-1")
        for key, value in self.headers:
            if key == wanted:
                return value.decode("latin-1").strip()
        return None

    def __repr__(self) -> str:
        # Headers hold tokens and passwords, the query may.
        return f"RequestHead({self.method} {self.path})"
