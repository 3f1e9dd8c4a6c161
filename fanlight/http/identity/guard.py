"""Keeps proxies and web pages from borrowing the caller's place: peer, forwarding, Host and Origin.

Whoever is recognised by where it connects from (mode none), or by a password that browsers send along by themselves
(http_basic), can be impersonated by a web page that the user's browser shows: directly (cross-site requests) or through
a name that resolves to this machine (DNS rebinding). And a reverse proxy makes strangers look local. All of these
betray themselves in the head of the request (Fetch Metadata, RFC 6454 Origin, RFC 7239 Forwarded, RFC 9110 Host, Via).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from fanlight.errors import Forbidden
from fanlight.http.identity.head import RawHeaders, RequestHead

FORWARDED = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-original-forwarded-for",
        b"x-original-host",
        b"x-envoy-external-address",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"fastly-client-ip",
    }
)
"""What proxies add; every `X-Forwarded…` header counts too."""

_WEB = frozenset({b"host", b"origin", b"referer", b"sec-fetch-site"})
_NAMING = frozenset({b"host", b"origin"})
_OWN_SITE = frozenset({b"same-origin", b"none"})
"""Values of Sec-Fetch-Site of requests by our own pages, or by the user's own hand."""

HINT = (
    "If this is meant, choose another identity mode (http_basic or keystone), add the name to allowed_hosts, or allow "
    "remote callers explicitly."
)


class Guard:
    """The checks, with the names by which the service may be addressed besides those of the loopback."""

    def __init__(self, allowed_hosts: Iterable[str] = ()) -> None:
        self._names = frozenset(_host_of(name.encode()) for name in allowed_hosts if name.strip())

    def require_local(self, head: RequestHead) -> None:
        """Let only a program on this machine pass: loopback peer, no proxy, no web page. Raises Forbidden."""
        if head.client is None or not _is_loopback(head.client[0]):
            raise Forbidden(f"Without authentication only callers on the loopback address are served. {HINT}")
        if head.version == "1.0":
            # What nginx speaks to us unless told otherwise, with a Host of ours and no sign of whom it speaks for.
            raise Forbidden(f"Without authentication HTTP/1.0 is not served: proxies speak it. {HINT}")
        web = []
        for item in head.headers:
            name = item[0]
            if name in _WEB:
                web.append(item)
            elif name in FORWARDED or name.startswith(b"x-forwarded"):
                raise Forbidden(
                    f"Without authentication no forwarded request is served ({name.decode()} found). {HINT}"
                )
        self._require_local_host(web)
        if len(web) > 1:
            self._require_own_page(web)

    def require_own_page(self, headers: RawHeaders) -> None:
        """Refuse (Forbidden) what a browser sends on behalf of a page that is not the service's own."""
        web = [item for item in headers if item[0] in _WEB]
        if len(web) > 1:
            self._require_own_page(web)

    def require_unbound_page(self, headers: RawHeaders) -> None:
        """`require_own_page`, and that it came by an address or an allowed name: any other may be the page's own, made
        to lead here (DNS rebinding). Raises Forbidden.
        """
        web = [item for item in headers if item[0] in _WEB]
        if len(web) > 1:
            self._require_own_page(web)
            by_hand = all(name == b"host" or value.strip().lower() == b"none" for name, value in web)
            names = [_host_of(_authority(value.rpartition(b"://")[2])) for name, value in web if name in _NAMING]
            if not by_hand and not any(self._is_own_name(name) for name in names):
                raise Forbidden(f"Requests of web pages are served under addresses and allowed names only. {HINT}")

    def _require_local_host(self, web: RawHeaders) -> None:
        hosts = [value for name, value in web if name == b"host"]
        if len(hosts) != 1 or not self._is_local_name(_host_of(hosts[0])):
            raise Forbidden(f"Without authentication the Host header must name this machine's loopback. {HINT}")

    def _is_local_name(self, name: bytes) -> bool:
        if name in (b"127.0.0.1", b"localhost", b"::1") or name.endswith(b".localhost") or name in self._names:
            return True
        return _is_loopback(name.decode("latin-1"))

    def _is_own_name(self, name: bytes) -> bool:
        """Whether no name server of a stranger's has led here: a local name, an allowed one, or an IP address."""
        if self._is_local_name(name):
            return True
        try:
            ipaddress.ip_address(name.decode("latin-1"))
        except ValueError:
            return False
        return True

    def _require_own_page(self, web: RawHeaders) -> None:
        """Same origin as the Host, or a host that is allowed by name; Sec-Fetch-Site where a page is silent."""
        host, site, vouched, pages = b"", b"none", False, []
        for name, value in web:
            if name == b"host":
                host = _authority(value)
            elif name == b"sec-fetch-site":
                site = value.strip().lower()
            else:
                pages.append((name, value))
        for name, value in pages:
            page = _authority(value.partition(b"://")[2])
            allowed = _host_of(page) in self._names
            vouched = vouched or (allowed and name == b"origin")
            if not allowed and (not page or page != host):
                raise Forbidden(f"Requests of foreign web pages are refused ({name.decode()} header). {HINT}")
        if site not in _OWN_SITE and not vouched:
            raise Forbidden(f"Requests of foreign web pages are refused (sec-fetch-site header). {HINT}")


def _is_loopback(address: str) -> bool:
    """Whether `address` is in 127.0.0.0/8, ::1, or the former written as IPv6."""
    if address in ("127.0.0.1", "::1"):
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def _authority(value: bytes) -> bytes:
    """`host[:port]` of a Host header or of what follows a scheme: lower case, without a scheme's default port."""
    authority = value.strip().partition(b"/")[0].lower()
    for default in (b":80", b":443"):
        if authority.endswith(default):
            return authority[: -len(default)]
    return authority


def _host_of(authority: bytes) -> bytes:
    """The name or address of `host[:port]`, in lower case, without brackets and final dot."""
    text = authority.strip().lower()
    if text.startswith(b"["):
        return text[1:].partition(b"]")[0]
    return text.rpartition(b":")[0].rstrip(b".") if text.count(b":") == 1 else text.rstrip(b".")
