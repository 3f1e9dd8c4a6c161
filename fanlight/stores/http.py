"""Images on web servers of others, read only. Type `http`; URLs `http://` and `https://`, also with `user:password@`.

A location may name any host, and a server may redirect to any other. So at each hop the URL is parsed as a location
again and the host is judged before anything is connected to it (stores/addresses.py).
"""

from __future__ import annotations

import base64
import logging
import re
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPSConnection
from typing import NoReturn
from urllib.parse import quote, unquote, urljoin, urlsplit

from msgspec import Struct

from fanlight.errors import BadStoreConfiguration, MalformedLocation, StoreError
from fanlight.stores.addresses import Hosts
from fanlight.stores.driver import Context, Opened, Store, Traits
from fanlight.stores.transfer import (
    Answer,
    ask,
    connection_to,
    explained,
    failure,
    nothing,
    opened,
    range_header,
    trust,
)

LOG = logging.getLogger(__name__)
PORTS = {"http": 80, "https": 443}
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MOST = 4
"""As many as Glance's store follows."""
_NO_SIZE = frozenset({403, 405, 501})
"""Answers to HEAD that say nothing of the object: a URL that is signed for GET alone, a server that knows no HEAD."""
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
"""What a parser drops or takes for something else, and another one does not."""


class Address(Struct, frozen=True, repr_omit_defaults=True):
    """Where an image is. `user` and `password` stand as in the URL, percent-encoded."""

    scheme: str
    host: str
    port: int | None
    target: str
    """Path and query."""
    user: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises MalformedLocation."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise MalformedLocation from None
        user, password, netloc = None, None, parts.netloc
        if "@" in netloc:
            credentials, _, netloc = netloc.rpartition("@")
            user, colon, password = credentials.partition(":")
            if not colon or not user or ":" in password or "@" in credentials:
                raise MalformedLocation("The location's credentials are not user:password.")
        host = parts.hostname or ""
        if _UNSAFE.search(url) or parts.scheme not in PORTS or not host or "%" in host or netloc.endswith(":"):
            raise MalformedLocation
        target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        if parts.query:
            target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]|^`{}\"<>")
        return cls(parts.scheme, _ascii(host), port, target, user, password)

    @property
    def url(self) -> str:
        """The canonical form, with credentials."""
        return f"{self.scheme}://{self._credentials}{self.netloc}{self.target}"

    @property
    def shown(self) -> str:
        """The form for requests and messages: without credentials, which go into a header."""
        return f"{self.scheme}://{self.netloc}{self.target}"

    @property
    def netloc(self) -> str:
        """Host and port as they stand in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Whom credentials are meant for."""
        return self.scheme, self.host, self.port or PORTS[self.scheme]

    @property
    def _credentials(self) -> str:
        return "" if self.user is None else f"{self.user}:{self.password}@"

    def authorization(self) -> dict[str, str]:
        """The header that credentials make."""
        if self.user is None or self.password is None:
            return {}
        pair = f"{unquote(self.user)}:{unquote(self.password)}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}

    def __repr__(self) -> str:
        return f"Address({self.scheme}://{self.netloc}/…)"


class Http(Store):
    """One store of images on web servers."""

    schemes = ("http", "https")
    traits = Traits(add=False, delete=False)

    def configure(self) -> None:
        """Read the options; nothing is connected."""
        options = self.options
        ca_file, insecure = options.get("https_ca_certificates_file"), bool(options.get("https_insecure", True))
        self._tls = trust(ca_file, insecure)
        self._proxies = {
            scheme.lower(): _proxy(value) for scheme, value in (options.get("http_proxy_information") or {}).items()
        }
        self._hosts = Hosts(options.get("http_allowed_hosts") or (), options.get("http_denied_hosts") or ())
        self._connect_seconds = float(options.get("http_connect_timeout") or 10)
        self._read_seconds = float(options.get("http_read_timeout") or 60)
        if insecure and not ca_file:
            LOG.warning(
                "store %s does not verify certificates (https_insecure, as Glance's default is): set "
                "https_ca_certificates_file, or https_insecure = false for the system's CAs",
                self.id,
            )

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """GET, with a Range where a part is wanted."""
        # Zero bytes cannot be asked for: ask for the first of them and take none.
        wanted = 1 if length == 0 else length
        answer = self._follow("GET", url, range_header(offset, wanted))
        if answer.status == 416:
            return nothing(answer, offset, length)
        if answer.status == 206 and length == 0:
            answer.close()
            return Opened(0, iter(()), answer.close)
        return opened(answer, offset, length)

    def get_size(self, url: str, context: Context | None = None) -> int:
        """HEAD; where that does not tell, the total that comes with the first byte."""
        answer = self._follow("HEAD", url, {})
        answer.close()
        if answer.status == 200 and answer.length is not None:
            return answer.length
        answer = self._follow("GET", url, range_header(0, 1))
        answer.close()
        size = answer.length if answer.status == 200 else answer.total
        if size is None:
            raise StoreError("The server does not tell the size of the data.")
        return size

    def check(self) -> str:
        """Ask the proxies, where there are any: the servers are only known when a location names them."""
        for scheme, proxy in self._proxies.items():
            connection = HTTPConnection(proxy.host, proxy.port, timeout=self._connect_seconds)
            ask(connection, "OPTIONS", "*", proxy.header, self._read_seconds).close()
            LOG.debug("the proxy for %s answers", scheme)
        return "can be used" + (" through its proxies" if self._proxies else "")

    def owns(self, url: str) -> bool:
        """Any URL of these schemes."""
        return url.partition("://")[0].lower() in self.schemes

    def _follow(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """The answer at the end of the redirects: 200, 206, 416, or to HEAD what says nothing. Raises StoreError."""
        address = Address.parse(url)
        for _ in range(REDIRECTS_MOST + 1):
            answer = self._ask(method, address, headers)
            if answer.status not in REDIRECTS:
                return answer if _is_useful(method, answer) else _refuse(answer)
            place = answer.header("Location")
            answer.close()
            if not place:
                raise MalformedLocation("The server redirects to nowhere.")
            address = _redirected(address, place)
        raise MalformedLocation(f"The server redirects more than {REDIRECTS_MOST} times.")

    def _ask(self, method: str, address: Address, headers: Mapping[str, str]) -> Answer:
        connection, target, more = self._connect(address)
        # The Host header is set here: through a proxy http.client would name the proxy.
        more = {"Host": address.netloc, **more, **address.authorization(), **headers}
        return ask(connection, method, target, more, self._read_seconds)

    def _connect(self, address: Address) -> tuple[HTTPConnection, str, dict[str, str]]:
        """A connection, what to ask for over it, and the headers that a proxy needs."""
        scheme, host, port = address.origin
        tls = self._tls if scheme == "https" else None
        proxy = self._proxies.get(scheme)
        if proxy is None:
            addresses = self._hosts.addresses(host, port)
            return connection_to(host, port, addresses, self._connect_seconds, tls), address.target, {}
        self._hosts.require_text(host)
        if tls is None:
            connection = HTTPConnection(proxy.host, proxy.port, timeout=self._connect_seconds)
            return connection, address.shown, proxy.header
        return _tunnel(proxy, host, port, self._connect_seconds, tls), address.target, {}


class _Proxy(Struct, frozen=True):
    host: str
    port: int
    header: dict[str, str] = {}


def _proxy(value: str) -> _Proxy:
    """`host:port`, also as `http://[user:password@]host:port`. Raises BadStoreConfiguration, without the value."""
    try:
        address = Address.parse(value if "://" in value else f"http://{value}")
    except MalformedLocation:
        raise BadStoreConfiguration("http_proxy_information: a proxy is not host:port.") from None
    if address.scheme != "http":
        raise BadStoreConfiguration("http_proxy_information: proxies are reached by HTTP only.")
    header = {f"Proxy-{name}": text for name, text in address.authorization().items()}
    return _Proxy(address.host, address.port or PORTS["http"], header)


def _tunnel(proxy: _Proxy, host: str, port: int, seconds: float, tls: ssl.SSLContext) -> HTTPConnection:
    connection = HTTPSConnection(proxy.host, proxy.port, timeout=seconds, context=tls)
    connection.set_tunnel(host, port, proxy.header)
    with explained():
        connection.connect()
    return connection


def _redirected(address: Address, place: str) -> Address:
    """Where a redirect leads. Credentials stay with whom they are meant for. Raises MalformedLocation."""
    try:
        found = Address.parse(urljoin(address.shown, place))
    except ValueError:
        raise MalformedLocation from None
    if found.user is None and found.origin == address.origin:
        return Address(found.scheme, found.host, found.port, found.target, address.user, address.password)
    return found


def _is_useful(method: str, answer: Answer) -> bool:
    return answer.status in (200, 206, 416) or (method == "HEAD" and answer.status in _NO_SIZE)


def _refuse(answer: Answer) -> NoReturn:
    answer.close()
    if answer.status >= 400:
        raise failure(answer.status)
    raise MalformedLocation(f"The server answered with status {answer.status}.")


def _ascii(host: str) -> str:
    """A host name as DNS has it. Raises MalformedLocation."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise MalformedLocation from None
