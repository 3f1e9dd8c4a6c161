"""Which part of the service a path belongs to: the API, the versions document or the health check.

First look at every request, before identity: clients ask for versions and load balancers for health without a token.
The rules are those of Glance's version negotiation (Image API V2, "Versions"): the first path segment names a
version, or the media type in `Accept` does; whatever names none is answered with the list of versions.
"""

from __future__ import annotations

import html
import os
import re
from typing import NamedTuple, Protocol

import msgspec

from fanlight.http.call import Answer

VENDOR_PREFIX = "application/vnd.openstack.images-"
HOST = re.compile(r"[A-Za-z0-9._~\-:\[\]]+\Z")
"""What may stand for a host, with or without a port, in a URL of ours."""

_ALWAYS = ("2.7", "2.6", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0")
_MULTI_STORE = ("2.13", "2.12", "2.11", "2.10", "2.9", "2.8")
_CACHE = ("2.18", "2.17", "2.16", "2.15", "2.14")


class Head(Protocol):
    """What negotiation needs to know of the request."""

    @property
    def method(self) -> str: ...

    @property
    def scheme(self) -> str: ...

    @property
    def public_url(self) -> str | None: ...

    def get(self, name: str) -> str | None: ...


class Versions:
    """The versions that this service announces, built once at start.

    `multi_store`: several stores are configured (`enabled_backends`); `cache`: `image_cache_dir` is set. These two
    alone decide the list. `public_endpoint` replaces scheme and host of the request in absolute links.
    `disable_file`: while this file exists, the health check says 503.
    """

    def __init__(
        self,
        *,
        multi_store: bool = True,
        cache: bool = False,
        public_endpoint: str | None = None,
        disable_file: str | None = None,
    ) -> None:
        numbers = _numbers(multi_store, cache)
        self.current = "v2.18" if cache else "v2.17"
        self.ids = tuple(f"v{number}" for number in numbers)
        self.accepted = frozenset({"v2", *self.ids})
        self.public_endpoint = public_endpoint.rstrip("/") if public_endpoint else None
        self.disable_file = disable_file
        self._bodies: dict[str, bytes] = {}
        if self.public_endpoint:
            self._bodies[self.public_endpoint] = self._encode(self.public_endpoint)

    def document(self, base_url: str) -> dict[str, list[dict[str, object]]]:
        """The versions document with links below `base_url` (no final slash)."""
        links = [{"rel": "self", "href": f"{base_url}/v2/"}]
        return {
            "versions": [
                {"id": name, "status": "CURRENT" if name == self.current else "SUPPORTED", "links": links}
                for name in self.ids
            ]
        }

    def body(self, head: Head) -> bytes:
        """The versions document as JSON, for this request."""
        base_url = self.base_url(head)
        return self._bodies.get(base_url) or self._encode(base_url)

    def base_url(self, head: Head) -> str:
        """Where clients find the service, without a final slash: every absolute link begins so."""
        return self.public_endpoint or head.public_url or request_url(head)

    def _encode(self, base_url: str) -> bytes:
        return msgspec.json.encode(self.document(base_url))


def _numbers(multi_store: bool, cache: bool) -> tuple[str, ...]:
    """Version numbers in the order of the document; clients take the list as it comes."""
    return (
        *(_CACHE if cache else ("2.15",)),
        *(_MULTI_STORE if multi_store else ("2.9",)),
        *(() if cache else ("2.17",)),
        *_ALWAYS,
    )


class Edge(Protocol):
    """The part of http.edge.Edge that is needed here."""

    @property
    def versions(self) -> Versions: ...


class Place(NamedTuple):
    """Where a request goes. `kind` is `api` (then `path` is below `/v2`), `versions`, `redirect` or `health`."""

    kind: str
    path: str
    status: int = 200

    def answer(self, head: Head, edge: Edge) -> Answer:
        """The answer of every kind but `api`."""
        if self.kind == "health":
            return health_answer(head, edge.versions.disable_file)
        if self.kind == "redirect":
            location = f"{edge.versions.base_url(head)}/v2/".encode()
            return Answer(302, [(b"content-type", b"text/plain; charset=utf8"), (b"location", location)])
        return Answer(self.status, [(b"content-type", b"application/json")], edge.versions.body(head))


_LISTED = Place("versions", "", 200)
_CHOICES = Place("versions", "", 300)
_HEALTH = Place("health", "")
_REDIRECT = Place("redirect", "")


def split(path: str, accept: str | None, versions: Versions) -> Place:
    """Where the decoded `path` leads. Runs on every request: no more than a few string and set look-ups."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    first, _, rest = path[1:].partition("/")
    if first == "v2" and rest and (accept is None or not accept.startswith(VENDOR_PREFIX)):
        return Place("api", path)
    if first == "versions":
        return _LISTED
    if first == "healthcheck":
        return _HEALTH
    if accept is not None and accept.startswith(VENDOR_PREFIX):
        # The version stands in the media type, so the path has no version segment at all.
        name = accept[len(VENDOR_PREFIX) :].partition(";")[0].strip()
        return Place("api", "/v2" + path) if name in versions.accepted else _CHOICES
    if first not in versions.accepted:
        return _CHOICES
    if not rest and not path.endswith("/"):
        return _REDIRECT
    return Place("api", "/v2/" + rest)


_SLASHES = re.compile("/{2,}")


def request_url(head: Head) -> str:
    """Scheme and host as they reached us, without a final slash."""
    host = head.get("host") or ""
    return f"{head.scheme}://{host if HOST.match(host) else 'localhost'}"


def health_answer(head: Head, disable_file: str | None) -> Answer:
    """200 or 503, in the shape that `Accept` names; a HEAD gets 204 when all is well."""
    disabled = disable_file is not None and os.path.exists(disable_file)
    status, reason = (503, "DISABLED BY FILE") if disabled else (200, "OK")
    media_type, body = _health_body((head.get("accept") or "").partition(",")[0].partition(";")[0].strip(), reason)
    if head.method == "HEAD":
        return Answer(503, [(b"content-type", media_type)]) if disabled else Answer(204, [])
    return Answer(status, [(b"content-type", media_type)], body)


def _health_body(accept: str, reason: str) -> tuple[bytes, bytes]:
    if accept == "application/json":
        return b"application/json", msgspec.json.encode({"detailed": False, "reasons": [reason]})
    if accept == "text/html":
        text = f"<html><head><title>Health</title></head><body><p>{html.escape(reason)}</p></body></html>"
        return b"text/html; charset=UTF-8", text.encode()
    return b"text/plain; charset=UTF-8", reason.encode()
