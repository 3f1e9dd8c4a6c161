"""What a proxy in front says of the address by which clients know the service: RFC 7239 `Forwarded`, `X-Forwarded-*`.

Used by the pipeline, right after the head was read, and only with `[oslo_middleware] enable_proxy_headers_parsing`:
whoever can reach the port could say anything. Read as oslo.middleware does (the first proxy of `Forwarded`, else the
older headers), except that what is no scheme, host or path is ignored. Links are all that follows from it: who calls
is found out from the connection and the original headers.
"""

from __future__ import annotations

import re

from msgspec.structs import replace

from fanlight.http.identity import RequestHead
from fanlight.http.negotiation import HOST, request_url

_PREFIX = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%\-]+)+\Z")
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def believe(head: RequestHead) -> RequestHead:
    """The same head, with the address that its headers tell as `public_url`."""
    standard = head.get("forwarded")
    if standard is not None:
        told = _first_element(standard)
        scheme, host, port = told.get("proto", ""), told.get("host", ""), ""
    else:
        scheme, host, port = (_first(head, f"x-forwarded-{name}") for name in ("proto", "host", "port"))
    scheme = scheme.lower() if scheme.lower() in _DEFAULT_PORTS else head.scheme
    if not HOST.match(host):
        host = request_url(head).partition("://")[2]
    if _PORT.match(port) and port != _DEFAULT_PORTS[scheme] and not _has_port(host):
        host = f"{host}:{port}"
    prefix = _first(head, "x-forwarded-prefix").rstrip("/")
    return replace(head, public_url=f"{scheme}://{host}{prefix if _PREFIX.match(prefix) else ''}")


def _first(head: RequestHead, name: str) -> str:
    """What the outermost proxy said, where several made a list."""
    return (head.get(name) or "").partition(",")[0].strip()


def _first_element(header: str) -> dict[str, str]:
    """The first element of `Forwarded`: its parameters by name, without quotation marks."""
    pairs = (pair.partition("=") for pair in header.partition(",")[0].split(";"))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]
