"""Accounts of Swift: which ones the configuration names, and how to log in to one.

An account of the configuration is a reference: a section of `swift_store_config_file`, or the flat options under the
name `default_swift_reference`. Auth version 1 is Swift's own (and that of Ceph's gateway), 2 and 3 are Keystone's.
"""

from __future__ import annotations

import configparser
import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from fanlight.errors import BadStoreConfiguration, FanlightError, StoreForbidden, StoreTimeout, StoreUnreachable
from fanlight.stores.swift_wire import CONNECT_SECONDS, Grant, explained, swiftclient

LOG = logging.getLogger(__name__)
LOGIN_SECONDS = 10
V2 = ("/v2.0", "/v2")
"""How URLs of Keystone's version 2 end."""
_FIELDS = (
    "user",
    "key",
    "application_credential_id",
    "application_credential_secret",
    "project_name",
    "project_id",
    "user_domain_id",
    "user_domain_name",
    "project_domain_id",
    "project_domain_name",
    "auth_version",
)
"""What a section may hold beside `auth_address`."""


class Credentials(Struct, frozen=True, kw_only=True):
    """Who logs in, and where. `user` is `project:user`, of auth version 1 `account:user`."""

    auth_address: str
    user: str = ""
    key: str = ""
    application_credential_id: str = ""
    application_credential_secret: str = ""
    project_name: str = ""
    project_id: str = ""
    user_domain_id: str = ""
    user_domain_name: str = ""
    project_domain_id: str = ""
    project_domain_name: str = ""
    auth_version: str = "3"

    def __repr__(self) -> str:
        return "<Credentials>"

    @property
    def complete(self) -> bool:
        """Whether a login can be tried."""
        by_password = self.user and self.key
        return bool(self.auth_address and (by_password or self.application_credential_secret))

    def names(self) -> tuple[str, str]:
        """Project and user."""
        project, colon, user = self.user.partition(":")
        return (project, user) if colon else (self.project_name, self.user)

    def domain(self, whose: str) -> dict[str, str]:
        """Domain of the `user` or the `project`, as Keystone's libraries name it."""
        name, known = getattr(self, f"{whose}_domain_name"), getattr(self, f"{whose}_domain_id")
        if name and not known:
            return {f"{whose}_domain_name": name}
        return {f"{whose}_domain_id": known or "default"}


class Service(Struct, frozen=True):
    """Which storage URL of an account, and how its servers are verified."""

    endpoint: str
    interface: str
    kind: str
    region: str
    verify: bool | str

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Service:
        """As the options say."""
        return cls(
            endpoint=options.get("swift_store_endpoint") or "",
            interface=options.get("swift_store_endpoint_type") or "publicURL",
            kind=options.get("swift_store_service_type") or "object-store",
            region=options.get("swift_store_region") or "",
            verify=not options.get("swift_store_auth_insecure") and (options.get("swift_store_cacert") or True),
        )


def references(options: Mapping[str, Any]) -> dict[str, Credentials]:
    """The accounts of the configuration. Raises BadStoreConfiguration for a file that cannot be read."""
    version = str(options.get("swift_store_auth_version") or "3")
    name = options.get("swift_store_config_file")
    if name:
        return dict(_sections(name, version))
    flat = {field: options.get(f"swift_store_{field}") or "" for field in _FIELDS}
    address = options.get("swift_store_auth_address") or ""
    one = Credentials(auth_address=address, **{**flat, "auth_version": _version(version)})
    return {options.get("default_swift_reference") or "ref1": one} if one.complete else {}


def _sections(name: str, version: str) -> Any:
    parser = configparser.ConfigParser()
    try:
        with open(name, encoding="utf-8") as file:
            parser.read_file(file)
    except (OSError, ValueError, configparser.Error) as error:
        # The error of a parser may quote the line, and with it a key.
        kind = type(error).__name__
        raise BadStoreConfiguration(f"swift_store_config_file {name} cannot be read: {kind}") from None
    for reference in parser.sections():
        try:
            section = {key: _value(parser, reference, key) for key in parser.options(reference)}
        except ValueError:
            LOG.warning("section %s of %s is left out: a quote is not closed", reference, name)
            continue
        fields = {field: section[field] for field in _FIELDS if section.get(field)}
        fields["auth_version"] = _version(fields.get("auth_version", version))
        one = Credentials(auth_address=section.get("auth_address", ""), **fields)
        if one.complete:
            yield reference, one
        else:
            LOG.warning("section %s of %s is left out: an address or credentials are missing", reference, name)


def _value(parser: configparser.ConfigParser, reference: str, key: str) -> str:
    """As Glance reads it: `%%` is a percent sign, and only quotes around the whole are not part of it.

    Glance takes no other percent signs; here they are themselves. Raises ValueError for a quote that is not closed.
    """
    try:
        text = parser.get(reference, key).strip()
    except configparser.InterpolationError:
        text = parser.get(reference, key, raw=True).strip()
    if text[:1] not in ("'", '"'):
        return text
    if len(text) == 1 or text[-1] != text[0]:
        raise ValueError
    return text[1:-1]


def _version(text: str) -> str:
    version = text.partition(".")[0].removeprefix("v")
    if version not in ("1", "2", "3"):
        raise BadStoreConfiguration(f"{text!r} is no version of a login: 1, 2 or 3.")
    return version


def log_in(one: Credentials, service: Service) -> Grant:
    """A new token. Raises StoreError."""
    # Glance, too, has long taken a 2 for a 3; there are files in which it was left, and no Keystone that knows it.
    if one.auth_version == "3" or (one.auth_version == "2" and not one.auth_address.rstrip("/").endswith(V2)):
        return keystone(one, service)
    more = {
        "service_type": service.kind,
        "endpoint_type": service.interface,
        "region_name": service.region,
        "object_storage_url": service.endpoint,
    }
    with explained():
        storage, token = swiftclient().get_auth(
            one.auth_address,
            one.user,
            one.key,
            auth_version=one.auth_version,
            os_options=more,
            cacert=service.verify if isinstance(service.verify, str) else None,
            insecure=service.verify is False,
            timeout=(CONNECT_SECONDS, LOGIN_SECONDS) if one.auth_version == "1" else LOGIN_SECONDS,
        )
    return Grant(storage, token)


def keystone(one: Credentials, service: Service, trust: str = "") -> Grant:
    """A token of Keystone's version 3, of the account's project or of a trust. Raises StoreError."""
    plugin = keystone_plugin(one, trust)
    with keystone_explained():
        access: Any = plugin.get_access(keystone_session(service, plugin))
        storage = service.endpoint or access.service_catalog.url_for(
            service_type=service.kind, interface=service.interface, region_name=service.region or None
        )
    return Grant(storage, access.auth_token, access.expires.timestamp())


def keystone_plugin(one: Credentials, trust: str = "") -> Any:
    """How keystoneauth logs in."""
    from keystoneauth1.identity import v3

    address = v3_address(one.auth_address)
    if one.application_credential_id:
        return v3.ApplicationCredential(
            address,
            application_credential_id=one.application_credential_id,
            application_credential_secret=one.application_credential_secret,
        )
    project, user = one.names()
    scope: dict[str, Any] = {"trust_id": trust}
    if not trust:
        scope = {"project_name": project, "project_id": one.project_id, **one.domain("project")}
    login: dict[str, Any] = {"username": user, "password": one.key, **one.domain("user"), **scope}
    return v3.Password(address, **{name: value for name, value in login.items() if value})


def keystone_session(service: Service, plugin: Any) -> Any:
    """A session of keystoneauth."""
    from keystoneauth1.session import Session

    return Session(auth=plugin, verify=service.verify, timeout=LOGIN_SECONDS)


def v3_address(address: str) -> str:
    """The URL of version 3, whatever version the configured one ends in."""
    bare = address.rstrip("/")
    for version in (*V2, "/v3"):
        bare = bare.removesuffix(version)
    return f"{bare}/v3"


class keystone_explained:
    """What the errors of keystoneauth mean, as a context."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from keystoneauth1 import exceptions

        if isinstance(error, exceptions.ClientException):
            raise _of_keystone(error, exceptions) from error


def _of_keystone(error: Any, exceptions: Any) -> FanlightError:
    if isinstance(error, exceptions.ConnectTimeout):
        return StoreTimeout("Keystone did not answer in time.")
    if isinstance(error, exceptions.ConnectionError) or getattr(error, "http_status", 0) >= 500:
        return StoreUnreachable("Keystone cannot be reached.")
    if isinstance(error, exceptions.CatalogException):
        return BadStoreConfiguration("The catalogue of services has no such endpoint of Swift.")
    return StoreForbidden("Swift's account cannot be used: Keystone refused the login.")


def endpoints_of(catalogue: str | None, service: Service) -> list[str]:
    """Storage URLs in the text of `X-Service-Catalog`, of our kind, interface and region."""
    return [
        url
        for endpoint in _endpoints(catalogue, service.kind)
        if not service.region or service.region in (endpoint.get("region"), endpoint.get("region_id"))
        if (url := _endpoint_url(endpoint, service.interface))
    ]


def all_endpoints_of(catalogue: str | None, service: Service) -> list[str]:
    """The same of any interface and region: whoever Keystone says is Swift may see a token."""
    names = ("url", "publicURL", "internalURL", "adminURL")
    return [endpoint[name] for endpoint in _endpoints(catalogue, service.kind) for name in names if endpoint.get(name)]


def _endpoints(catalogue: str | None, kind: str) -> list[Mapping[str, Any]]:
    try:
        services = msgspec.json.decode(catalogue or "[]")
    except msgspec.DecodeError:
        return []
    return [endpoint for one in services if one.get("type") == kind for endpoint in one.get("endpoints", ())]


def _endpoint_url(endpoint: Mapping[str, Any], interface: str) -> str | None:
    """The middleware writes the form of Keystone's version 2; Keystone itself has that of version 3."""
    if "interface" in endpoint:
        return endpoint.get("url") if endpoint["interface"] == interface.removesuffix("URL") else None
    return endpoint.get(interface)
