"""Which URLs that clients name the service may ask: `[import_filtering_opts]`, before anything is connected.

The text of a URL decides first, then what its host stands for. Which addresses are refused whatever the options say is
known to stores/addresses.py; the store that then asks judges each connection once more by its own options, redirects
included, so that a name that changes between the two leads nowhere either.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

from fanlight.errors import BadStoreConfiguration, Invalid, MalformedLocation, SettingsError, StoreForbidden
from fanlight.settings import FilteringSettings
from fanlight.stores.addresses import Hosts

T = TypeVar("T")


class UrlFilter:
    """The filter of one service. Raises SettingsError for what is no host."""

    def __init__(self, settings: FilteringSettings) -> None:
        self._settings = settings
        allowed, denied = settings.allowed_hosts, settings.disallowed_hosts
        try:
            self._hosts = Hosts(allowed, [host for host in denied if not allowed or _is_network(host)])
        except BadStoreConfiguration as error:
            raise SettingsError(f"[import_filtering_opts]: {error}") from error

    def require(self, url: str) -> None:
        """Raise Invalid unless `url` may be asked. One text for all reasons: nobody maps a network with it."""
        try:
            parts = urlsplit(url)
            allowed = self._allows(parts.scheme, parts.hostname or "", parts.port)
            if allowed:
                self._hosts.require_text(parts.hostname or "")
        except (ValueError, MalformedLocation, StoreForbidden):
            allowed = False
        if not allowed:
            raise Invalid("Invalid location: the service may not ask for this URL.")

    def _allows(self, scheme: str, host: str, port: int | None) -> bool:
        """Whether the lists do, by the text alone. A port counts only where the URL names one."""
        own = self._settings
        if not host or (own.allowed_hosts and not self._hosts.names(host)):
            return False
        if port is not None and not _passes(port, own.allowed_ports, own.disallowed_ports):
            return False
        return _passes(scheme, own.allowed_schemes, own.disallowed_schemes)


def _passes(value: T, allowed: Collection[T], refused: Collection[T]) -> bool:
    return value in allowed if allowed else value not in refused


def _is_network(host: str) -> bool:
    """Whether it is meant as an address or a network; a wrong one is for `Hosts` to refuse."""
    if "/" in host:
        return True
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
