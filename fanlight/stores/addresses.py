"""Which hosts the service may reach when a URL that it was given says so; the guard against request forgery (SSRF).

A location can name any host. So a name is resolved here, every address that comes out is judged, and the connection
goes to an address that was judged: nothing is resolved a second time. How the host was spelt (decimal, octal, hex,
short, mapped into IPv6 …) does not matter, because only addresses are judged.

Refused by default are addresses that lead to this machine itself, to its link or to a cloud's metadata. Private
networks (RFC 1918, ULA) are not: that is where an operator's own image servers are. Source: OSSA-2026-004,
CVE-2026-34881.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from fanlight.errors import BadStoreConfiguration, MalformedLocation, StoreForbidden, StoreUnreachable

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_METADATA = frozenset(map(ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")))
"""Metadata services that are not link-local: Alibaba, Azure, Oracle, AWS on IPv6."""
_SELF = ip_network("0.0.0.0/8")
"""Linux takes 0.0.0.0 for itself; the rest of "this network" (RFC 1122) has no hosts either."""
_TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"), ip_network("::/96"))
"""NAT64 (RFC 6052, RFC 8215) and IPv4-compatible addresses: the IPv4 address is the last 32 bits."""


class Hosts:
    """What an operator allows and denies: host names, addresses and networks (`10.0.0.0/8`).

    Denied wins over allowed, allowed over what is refused by default. Raises BadStoreConfiguration.
    """

    def __init__(self, allowed: Iterable[str] = (), denied: Iterable[str] = ()) -> None:
        self._allowed_names, self._allowed = _sorted_out(allowed)
        self._denied_names, self._denied = _sorted_out(denied)

    def addresses(self, host: str, port: int) -> list[tuple[int, str]]:
        """Family and address of everything that `host` stands for.

        Raises StoreForbidden when any of it is refused, MalformedLocation, StoreUnreachable (no such name).
        """
        name = _plain(host)
        self._require_name(name)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except socket.gaierror as error:
            raise StoreUnreachable(f"The host {host} is unknown.") from error
        except (UnicodeError, ValueError) as error:
            raise MalformedLocation(f"{host!r} is no host name.") from error
        # One bad address is enough: a name that stands for a good and a bad one is an attack, not a service.
        for _, _, _, _, place in found:
            self._require(host, name, ip_address(str(place[0]).partition("%")[0]))
        return [(family, str(place[0])) for family, _, _, _, place in found]

    def names(self, host: str) -> bool:
        """Whether what is allowed names this host: by its name, or as a network that it is an address of."""
        try:
            address = ip_address(host)
        except ValueError:
            return _plain(host) in self._allowed_names
        return host in self._allowed_names or any(address in network for network in self._allowed)

    def require_text(self, host: str) -> None:
        """Judge a host that somebody else (a proxy) will resolve, as far as this machine can tell."""
        try:
            self.addresses(host, 0)
        except StoreUnreachable:
            # Often only the proxy knows the names of the world; what is refused by name was refused before.
            return

    def _require_name(self, name: str) -> None:
        if name in self._denied_names:
            raise StoreForbidden(f"The host {name} may not be reached.")

    def _require(self, host: str, name: str, address: IPAddress) -> None:
        meant = _meant(address)
        if any(one in network for network in self._denied for one in (address, meant)):
            raise StoreForbidden(f"The host {host} may not be reached.")
        if name in self._allowed_names or any(one in network for network in self._allowed for one in (address, meant)):
            return
        if is_refused(address):
            raise StoreForbidden(f"The host {host} may not be reached.")


def is_refused(address: IPAddress) -> bool:
    """Whether an address leads to this machine, its link, a metadata service or nowhere."""
    meant = _meant(address)
    if meant in _METADATA or meant.is_loopback or meant.is_link_local or meant.is_unspecified or meant.is_multicast:
        return True
    return meant.is_reserved or meant in _SELF or (isinstance(meant, IPv6Address) and meant.is_site_local)


def _meant(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 address is a wrapping of; else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if wrapped is not None:
        return wrapped
    if int(address) > 1 and any(address in network for network in _TRANSLATED):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _sorted_out(entries: Iterable[str]) -> tuple[frozenset[str], tuple[IPNetwork, ...]]:
    names: set[str] = set()
    networks: list[IPNetwork] = []
    for entry in entries:
        text = entry.strip().strip("[]")
        try:
            networks.append(ip_network(text))
        except ValueError:
            if not text or "/" in text or ":" in text:
                raise BadStoreConfiguration(f"{entry!r} is no host name, address or network.") from None
            names.add(_plain(text))
    return frozenset(names), tuple(networks)
