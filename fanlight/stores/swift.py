"""Images in OpenStack Swift, or what speaks like it (Ceph's gateway). Type `swift`; URLs: swift_address.py.

Single-tenant: everything lies in accounts of the service. Multi-tenant (`swift_store_multi_tenant`): an image lies in
its owner's account, in a container of its own, and is moved with the caller's token.

Objects from `swift_store_large_object_size` on are dynamic large objects, as Glance makes them, and both read the
other's. "MB" of its options are 1,024,000 bytes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectExists,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreDeleteUnsupported,
    StoreError,
    StoreForbidden,
)
from fanlight.stores.driver import Added, Context, Opened, Source, Store, Traits
from fanlight.stores.swift_accounts import (
    Credentials,
    Service,
    all_endpoints_of,
    endpoints_of,
    keystone,
    log_in,
    references,
)
from fanlight.stores.swift_address import SCHEMES, Address, scheme_and_place
from fanlight.stores.swift_download import Download
from fanlight.stores.swift_objects import delete_all, delete_whole, listing, parts_of, size_of
from fanlight.stores.swift_trusts import trusted
from fanlight.stores.swift_upload import Blocks, Upload
from fanlight.stores.swift_wire import Elsewhere, Grant, Link, Session, Wires, swiftclient
from fanlight.stores.transfer import trust

__all__ = ["Address", "Swift"]

MB = 1_024_000
"""What Glance's options call a megabyte, in bytes."""


class Swift(Store):
    """One Swift, single-tenant or multi-tenant."""

    schemes = SCHEMES

    def configure(self) -> None:
        """Read the options; nobody is asked yet. Raises BadStoreConfiguration."""
        swiftclient()
        options = self.options
        self._several = bool(options.get("swift_store_multi_tenant"))
        if self._several and options.get("swift_store_config_file"):
            raise BadStoreConfiguration("swift_store_multi_tenant and swift_store_config_file exclude each other.")
        self.traits = Traits(acls=self._several)
        self._service = Service.of(options)
        if isinstance(self._service.verify, str) and not os.path.isdir(self._service.verify):
            trust(self._service.verify, False)  # the libraries look at it with the first request
        self._references = references(options)
        self._reference = options.get("default_swift_reference") or "ref1"
        self._container = options.get("swift_store_container") or "glance"
        self._large = _mega(options, "swift_store_large_object_size", 5120)
        self._segment = _mega(options, "swift_store_large_object_chunk_size", 200)
        self._resumptions = int(options.get("swift_store_retry_get_count") or 0)
        self._margin = _number(options, "swift_store_expire_soon_interval", 60)
        self._wires = Wires(self._service.verify)
        self._sessions: dict[Credentials, Session] = {}
        self._lock = threading.Lock()
        self._known_containers: set[str] = set()

    def configure_add(self) -> None:
        """Look whether there is an account to write to. Raises BadStoreConfiguration."""
        self._folder = None
        if self.options.get("swift_buffer_on_upload"):
            self._folder = self.options.get("swift_upload_buffer_dir")
            if not self._folder or not os.access(self._folder, os.W_OK | os.X_OK):
                raise BadStoreConfiguration("swift_buffer_on_upload needs a folder in swift_upload_buffer_dir.")
        if not self._several:
            self._url("image", self._service_account().auth_address)

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """One GET; a broken one is resumed as often as `swift_store_retry_get_count` says."""
        address = Address.parse(url)
        link = self._link(address, context)
        if length == 0:
            size = self._size(link, address)
            if offset > size:
                raise RangeNotSatisfiable(size=size)
            return _nothing()
        with ExitStack() as stack:
            if self._resumptions and not address.user:
                link = stack.enter_context(self._lasting(link, context))
            try:
                download = Download(link, address.container, address.name, offset, length, self._resumptions)
            except RangeNotSatisfiable as error:
                # To Swift there is nothing behind the last byte; to us an empty rest.
                size = self._size(link, address)
                if length is None and offset == size:
                    return _nothing()
                raise RangeNotSatisfiable(size=size) from error
            stack.callback(download.close)
            return Opened(download.size, download.blocks(), stack.pop_all().close)

    def get_size(self, url: str, context: Context | None = None) -> int:
        """Size of the object, large ones with all their segments."""
        address = Address.parse(url)
        return self._size(self._link(address, context), address)

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        """PUT it, in segments where it is large or, without a known size, more than one block."""
        link = self._writing_link(context)
        container = self._container_of(object_id)
        made = self._require_container(link, container)
        try:
            _require_free(link, container, object_id)
            blocks = Blocks(source)
            whole = blocks.known if size is None else size
            tag: str | None = None
            if whole is not None and whole < self._large:
                tag = Upload(link, container, object_id, blocks).whole(whole) or None
            else:
                self._require_no_parts(link, container, object_id)
                with self._lasting(link, context) as lasting:
                    Upload(lasting, container, object_id, blocks, self._folder).segments(size, self._segment)
        except BaseException:
            # It may have gone since it was looked at.
            self._known_containers.discard(container)
            if made and self._several:
                with suppress(StoreError):
                    link.look("delete_container", container)
            raise
        return Added(self._url(object_id, link.storage()), blocks.count, md5=tag)

    def delete(self, url: str, context: Context | None = None) -> None:
        """Remove all segments, then the object; multi-tenant, its container too."""
        address = Address.parse(url)
        link = self._link(address, context)
        delete_whole(link, address.container, address.name)
        if self._several and address.container == self._container_of(address.name):
            # Somebody may have put something else there.
            with suppress(StoreError):
                link.look("delete_container", address.container)

    def discard(self, object_id: str, context: Context | None = None) -> None:
        """Remove the object and all segments of that name. Multi-tenant only its owner can: StoreDeleteUnsupported."""
        if self._several and (context is None or not context.token):
            raise StoreDeleteUnsupported("What is left lies in the account of the image's owner.")
        link = self._writing_link(context)
        container = self._container_of(object_id)
        with suppress(ObjectNotFound):
            delete_whole(link, container, object_id)
        # A segment that was on its way when its upload died may come after the first look. And a list may still have
        # what is gone, for as long as its server is behind.
        gone: set[str] = set()
        while parts := set(parts_of(link, container, object_id)) - gone:
            delete_all(link, container, parts)
            gone |= parts
        if self._several:
            with suppress(StoreError):
                link.look("delete_container", container)

    def planned_url(self, object_id: str) -> str | None:
        """Known where the service's own account has it."""
        return None if self._several else self._url(object_id, self._service_account().auth_address)

    def set_acls(
        self,
        url: str,
        public: bool,
        readers: Collection[str],
        writers: Collection[str],
        context: Context | None = None,
    ) -> None:
        """Of the image's container: multi-tenant only. Administrators' projects may always write."""
        if not self._several:
            super().set_acls(url, public, readers, writers, context)
        address = Address.parse(url)
        headers = {
            "X-Container-Read": "*:*" if public else ",".join(f"{project}:*" for project in readers),
            "X-Container-Write": ",".join(f"{project}:*" for project in [*writers, *self._administrators()]),
        }
        self._link(address, context).look("post_container", address.container, headers)

    def check(self) -> str:
        """Log in, and look at the container."""
        if self._several:
            account = self._references.get(self._reference)
            if account is None:
                return "images lie in the accounts of their owners: nothing can be asked in nobody's name"
            self._session(account).grant()
            return "images lie in the accounts of their owners; the account of the service can log in"
        link = self._writing_link(None)
        if self.options.get("swift_store_multiple_containers_seed"):
            link.look("head_account")
            return f"containers {self._container}_…: the account can be used"
        try:
            found = link.look("head_container", self._container)
        except ObjectNotFound:
            return f"container {self._container}: not there yet"
        return f"container {self._container}: {found.get('x-container-object-count', '0')} objects"

    def owns(self, url: str) -> bool:
        """Whether the URL has an account of the configuration, or is of the kind that we write."""
        try:
            address = Address.parse(url)
        except MalformedLocation:
            return False
        if address.scheme == "swift+config":
            return address.place in self._references
        return bool(address.user) != self._several

    def may_be_named(self, url: str) -> bool:
        """Credentials only for servers of the configuration's accounts: we would log in wherever somebody says."""
        address = Address.parse(url)
        known = {urlsplit(account.auth_address)[:2] for account in self._references.values()}
        return not address.user or urlsplit(address.endpoint)[:2] in known

    # -- where things are

    def _container_of(self, object_id: str) -> str:
        if self._several:
            return f"{self._container}_{object_id}"
        seed = _number(self.options, "swift_store_multiple_containers_seed", 0)
        if not seed:
            return self._container
        # Dashes among the first characters come free.
        start = object_id.lower()[: seed + object_id[:seed].count("-")]
        return f"{self._container}_{start}"

    def _url(self, object_id: str, endpoint: str) -> str:
        """The URL of a new object; `endpoint`: the URL to log in at, multi-tenant the storage URL."""
        account = None if self._several else self._service_account()
        container = self._container_of(object_id)
        if account is not None and (self.options.get("swift_store_config_file") or not account.key):
            return Address(scheme="swift+config", place=self._reference, container=container, name=object_id).url
        try:
            scheme, place = scheme_and_place(endpoint if account is None else account.auth_address)
        except ValueError:
            raise BadStoreConfiguration("Swift's address is no http or https URL.") from None
        user, key = ("", "") if account is None else (account.user, account.key)
        return Address(scheme=scheme, place=place, container=container, name=object_id, user=user, key=key).url

    def _service_account(self) -> Credentials:
        try:
            return self._references[self._reference]
        except KeyError:
            raise BadStoreConfiguration(f"There is no account {self._reference} of Swift in the options.") from None

    def _administrators(self) -> list[str]:
        return list(self.options.get("swift_store_admin_tenants") or ())

    # -- ways to get there

    def _writing_link(self, context: Context | None) -> Link:
        """To the account in which new objects lie."""
        if not self._several:
            return self._account_link(self._service_account())
        if context is None or not context.token:
            raise BadStoreConfiguration("A multi-tenant store can only be written in somebody's name.")
        endpoints = (
            [self._service.endpoint] if self._service.endpoint else endpoints_of(context.service_catalog, self._service)
        )
        if not endpoints:
            raise BadStoreConfiguration("The caller's catalogue of services has no Swift.")
        return self._token_link(endpoints[0], context.token)

    def _link(self, address: Address, context: Context | None) -> Link:
        """To the account of an object."""
        if address.scheme == "swift+config":
            account = self._references.get(address.place)
            if account is None:
                raise MalformedLocation
            return self._account_link(account)
        if address.user:
            return self._account_link(self._account_of(address))
        if context is not None and context.token:
            known = [self._service.endpoint, *all_endpoints_of(context.service_catalog, self._service)]
            _require_known(address, known)
            return self._token_link(address.endpoint, context.token)
        account = self._references.get(self._reference)
        if account is None:
            raise StoreForbidden("The image data lies in the account of its owner.")
        # The service in its own name, where the owner's account lets it.
        session = self._session(account)
        _require_known(address, [self._service.endpoint, session.grant().storage])
        return Link(Elsewhere(session, address.endpoint), self._wires)

    def _account_of(self, address: Address) -> Credentials:
        """Of credentials in a URL: what is not in it is as for the account of the configuration."""
        default = self._references.get(self._reference) or Credentials(
            auth_address="", auth_version=str(self.options.get("swift_store_auth_version") or "3")
        )
        return Credentials(
            auth_address=address.endpoint,
            user=address.user,
            key=address.key,
            user_domain_id=default.user_domain_id,
            user_domain_name=default.user_domain_name,
            project_domain_id=default.project_domain_id,
            project_domain_name=default.project_domain_name,
            auth_version=default.auth_version,
        )

    def _account_link(self, account: Credentials) -> Link:
        return Link(self._session(account), self._wires)

    def _session(self, account: Credentials) -> Session:
        with self._lock:
            session = self._sessions.get(account)
            if session is None:
                session = self._sessions[account] = Session(lambda: log_in(account, self._service), self._margin)
            return session

    @contextmanager
    def _lasting(self, link: Link, context: Context | None) -> Iterator[Link]:
        """The same account for longer than the caller's token lasts, where a trust can be had."""
        account = self._references.get(self._reference)
        trust = None
        if self._several and context and context.token and account and self.options.get("swift_store_use_trusts", True):
            trust = trusted(account, self._service, context.token)
        if account is None or trust is None:
            yield link
            return
        login = partial(keystone, account, self._service, trust.id)
        try:
            yield Link(Elsewhere(Session(login, self._margin), link.storage()), self._wires)
        finally:
            trust.end()

    def _token_link(self, storage: str, token: str) -> Link:
        return Link(Session(lambda: Grant(storage, token), renewable=False), self._wires)

    # -- steps

    def _size(self, link: Link, address: Address) -> int:
        return size_of(link, link.look("head_object", address.container, address.name))

    def _require_container(self, link: Link, container: str) -> bool:
        """Raises StoreError where it is missing and must not be made. Whether it was made now."""
        if container in self._known_containers:
            return False
        try:
            link.look("head_container", container)
        except ObjectNotFound:
            if not self._several and not self.options.get("swift_store_create_container_on_put"):
                raise StoreError(f"Container {container} does not exist.") from None
            administrators = ",".join(f"{project}:*" for project in self._administrators())
            link.look("put_container", container, {"X-Container-Write": administrators} if administrators else {})
            made = True
        else:
            made = False
        if not self._several:
            self._known_containers.add(container)
        return made

    def _require_no_parts(self, link: Link, container: str, object_id: str) -> None:
        """Whatever is named so, such as what an upload that died has left, would become part of a large object.

        Raises ObjectExists.
        """
        if self._several:
            # Nobody but the owner can remove what is left, and this is the owner.
            delete_all(link, container, parts_of(link, container, object_id))
        if next(listing(link, container, f"{object_id}-"), None) is not None:
            raise ObjectExists("The store has parts of an upload of this image that failed.")


def _require_free(link: Link, container: str, object_id: str) -> None:
    """Ceph's gateway does not know If-None-Match. Raises ObjectExists."""
    try:
        link.look("head_object", container, object_id)
    except ObjectNotFound:
        return
    raise ObjectExists


def _nothing() -> Opened:
    return Opened(0, iter(()), lambda: None)


def _require_known(address: Address, endpoints: Collection[str]) -> None:
    """A token goes to no other server than those of Swift: a URL may be anybody's invention."""
    wanted = urlsplit(address.endpoint)
    for endpoint in endpoints:
        parts = urlsplit(endpoint)
        if (parts.scheme, parts.netloc) == (wanted.scheme, wanted.netloc):
            return
    raise StoreForbidden("The location is not on this cloud's Swift.")


def _number(options: Mapping[str, Any], name: str, default: int) -> int:
    value = options.get(name)
    return default if value is None else int(value)


def _mega(options: Mapping[str, Any], name: str, default: int) -> int:
    return MB * _number(options, name, default)
