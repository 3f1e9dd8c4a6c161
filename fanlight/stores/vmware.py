"""Images as files of vSphere datastores. Type `vmware`; URLs `vsphere://HOST/folder/DIR/ID?dsName=NAME&dcPath=PATH`.

The bytes go over HTTPS to `/folder/` of the vCenter or ESXi, with the cookie of the SOAP session (vcenter.py).

Crash safety: an object is written under a temporary name, its size is asked for, and only then is it moved to its
place, which fails if that name is taken. So a name stands for whole bytes, and two uploads of one image don't mix.
"""

from __future__ import annotations

import logging
import re
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urljoin, urlsplit

from msgspec import Struct

from fanlight.errors import (
    BadStoreConfiguration,
    FanlightError,
    MalformedLocation,
    ObjectExists,
    ObjectNotFound,
    StoreError,
    StoreForbidden,
    StoreFull,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores.driver import Added, Context, Opened, Source, Store, leave_to_discard
from fanlight.stores.statuses import meaning
from fanlight.stores.transfer import Answer, ask, explained, failure, nothing, opened, range_header, trust
from fanlight.stores.vcenter import PORT, Account, Datastore, VCenter, file_name

LOG = logging.getLogger(__name__)
BLOCK = 1024 * 1024
"""Bytes written at a time."""
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
"""Limit for each wait for bytes."""
STORED_SECONDS = 300.0
"""Limit for the answer to an upload, which comes when everything is written."""
HANG_UP_SECONDS = 5.0
"""How long to wait for the server to notice that an upload was given up."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MOST = 4
ROOT = "/folder/"
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


class Address(Struct, frozen=True):
    """Where an object is."""

    host: str
    folder: str
    """Path of its folder in the datastore, without slashes at the ends."""
    name: str
    datastore: str
    datacenter: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises MalformedLocation."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            query = parse_qs(parts.query, strict_parsing=True)
        except ValueError:
            raise MalformedLocation from None
        datastores, datacenters = query.pop("dsName", []), query.pop("dcPath", [])
        folder, _, name = unquote(parts.path).removeprefix(ROOT).rpartition("/")
        steps = [*folder.split("/"), name]
        if _UNSAFE.search(url) or parts.scheme != "vsphere" or not host or port or "@" in parts.netloc:
            raise MalformedLocation
        if not parts.path.startswith(ROOT) or query or len(datastores) != 1 or len(datacenters) != 1:
            raise MalformedLocation
        # No step may lead elsewhere, and none may be empty: a folder must never be taken for an object.
        if any(step in ("", ".", "..") or any(ord(each) < 32 for each in step) for step in steps):
            raise MalformedLocation
        return cls(host, folder, name, *datastores, *datacenters)

    @property
    def url(self) -> str:
        """As Glance writes it."""
        return f"vsphere://{_bracketed(self.host)}{self.target}"

    @property
    def target(self) -> str:
        """Path and query for a request."""
        query = f"dsName={quote(self.datastore, safe='')}&dcPath={quote(self.datacenter, safe='')}"
        return f"{ROOT}{quote(self.path)}?{query}"

    @property
    def path(self) -> str:
        """Path in the datastore."""
        return f"{self.folder}/{self.name}"

    @property
    def file(self) -> str:
        """The name in the SOAP API."""
        return file_name(self.datastore, self.path)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class Vmware(Store):
    """One store in datastores of one vCenter."""

    schemes = ("vsphere",)

    def configure(self) -> None:
        """Read the options. Nothing is connected: the first who asks logs in."""
        try:
            import pyVmomi as _  # noqa: F401
        except ImportError as error:
            raise BadStoreConfiguration("pyvmomi is missing: pip install 'fanlight[vmware]'") from error
        options = self.options
        account = ("host", "username", "password")
        host, user, password = (str(options.get(f"vmware_server_{name}") or "") for name in account)
        if not host or not user or not password or "\0" in host:
            raise BadStoreConfiguration("vmware_server_host, _username and _password must be set.")
        self._host = host.strip("[]").lower()
        self._tls = trust(options.get("vmware_ca_file"), bool(options.get("vmware_insecure")))
        self._folder = str(options.get("vmware_store_image_dir") or "/openstack_glance").strip("/")
        if any(step in ("", ".", "..") for step in self._folder.split("/")) or _UNSAFE.search(self._folder):
            raise BadStoreConfiguration("vmware_store_image_dir must be the path of a folder.")
        retries = int(options.get("vmware_api_retry_count") or 10)
        interval = float(options.get("vmware_task_poll_interval") or 5)
        self._vcenter = VCenter(Account(self._host, user, password), self._tls, retries, interval)
        self._datastores: list[Datastore] = []

    def configure_add(self) -> None:
        """Log in, find the datastores and make the folder in each."""
        found = [self._require_known(one) for one in _datastores(self.options.get("vmware_datastores"))]
        self._datastores = sorted(found, key=lambda one: -one.weight)

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """GET, with a Range where a part is wanted."""
        # Zero bytes cannot be asked for: ask for the first of them and take none.
        answer = self._ask("GET", self._address(url), range_header(offset, 1 if length == 0 else length))
        if answer.status == 416:
            return nothing(answer, offset, length)
        if answer.status == 206 and length == 0:
            answer.close()
            return Opened(0, iter(()), answer.close)
        return opened(answer, offset, length)

    def get_size(self, url: str, context: Context | None = None) -> int:
        """HEAD."""
        return self._size(self._address(url))

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        """PUT under a temporary name, compare sizes, move to the final name."""
        if not self._datastores:
            self.configure_add()
        for one in self._datastores:
            with suppress(ObjectNotFound):
                self._size(self._place(one, object_id))
                raise ObjectExists
        one = self._choose(size or 0)
        final, part = self._place(one, object_id), self._place(one, f".{object_id}.{uuid.uuid4().hex}.part")
        self._vcenter.require_live()
        try:
            with self._full_where_no_room(one):
                written = self._put(part, source, size)
                stored = self._size(part)
                if stored != written:
                    raise StoreError(f"{written} bytes were sent, the datastore has {stored}.")
            self._vcenter.move(one.its_datacenter, part.file, final.file)
        except BaseException as error:
            self._undo(one, part, error)
            raise
        return Added(final.url, written)

    def _undo(self, one: Datastore, part: Address, reason: BaseException) -> None:
        """Remove what was written. What cannot be removed now is left to `discard`: Leftovers."""
        try:
            self._vcenter.delete(one.its_datacenter, part.file)
        except ObjectNotFound:
            return
        except StoreError as error:
            LOG.warning("store %s: %s of a failed upload could not be removed: %s", self.id, part.file, error)
            leave_to_discard(reason)

    def delete(self, url: str, context: Context | None = None) -> None:
        """A task of vCenter's file manager."""
        address = self._address(url)
        self._vcenter.delete(self._vcenter.find(address.datacenter), address.file)

    def discard(self, object_id: str) -> None:
        """Remove the object and its temporary files from all datastores."""
        part = re.compile(rf"\.{re.escape(object_id)}\.[0-9a-f]{{32}}\.part")
        listed = _datastores(self.options.get("vmware_datastores"))
        for one in self._datastores or [self._vcenter.resolve(each) for each in listed]:
            names = self._vcenter.names(one, self._folder, f".{object_id}.*.part")
            for name in (object_id, *filter(part.fullmatch, names)):
                with suppress(ObjectNotFound):
                    self._vcenter.delete(one.its_datacenter, self._place(one, name).file)

    def planned_url(self, object_id: str) -> str | None:
        """Known where there is one datastore."""
        return self._place(self._datastores[0], object_id).url if len(self._datastores) == 1 else None

    def check(self) -> str:
        """Log in and tell the free space."""
        self._vcenter.require_live()
        rooms = [(one.name, self._vcenter.room(one)) for one in self._datastores]
        free = ", ".join(f"{name} {room >> 30} GiB free" if room >= 0 else f"{name} not usable" for name, room in rooms)
        return free or "can be read"

    def owns(self, url: str) -> bool:
        """Whether it lies in our folder of our vCenter."""
        try:
            return self._address(url).host == self._host
        except StoreError:
            return False

    # -- places

    def _address(self, url: str) -> Address:
        """The address of a location. Only files in the folder of images can be read or removed: the datastores hold the
        disks of machines, too. Its host is not asked: whatever it says, the session's cookie goes to our own vCenter
        alone, and locations from before it had another name stay readable."""
        address = Address.parse(url)
        if address.folder != self._folder:
            raise StoreForbidden("The location is outside of the folder of images.")
        return address

    def _place(self, one: Datastore, name: str) -> Address:
        return Address(self._host, self._folder, name, one.name, one.datacenter)

    def _require_known(self, one: Datastore) -> Datastore:
        """The datastore with its folder. Raises BadStoreConfiguration, StoreUnreachable, StoreTimeout."""
        try:
            found = self._vcenter.resolve(one)
            self._vcenter.make_folder(found, self._folder)
        except (StoreUnreachable, StoreTimeout, BadStoreConfiguration):
            raise
        except StoreError as error:
            raise BadStoreConfiguration(f"Datastore {one.name} cannot be used: {error}") from error
        return found

    def _choose(self, size: int) -> Datastore:
        """Of the highest weight that has room, the datastore with most of it. Raises StoreFull."""
        for weight in dict.fromkeys(one.weight for one in self._datastores):
            rooms = [(self._vcenter.room(one), one) for one in self._datastores if one.weight == weight]
            room, one = max(rooms, key=lambda pair: pair[0])
            if room >= max(size, 0):
                return one
        raise StoreFull

    @contextmanager
    def _full_where_no_room(self, one: Datastore) -> Iterator[None]:
        """A server that runs out of space says nothing of it over HTTP: look at the datastore after an upload fails."""
        try:
            yield
        except StoreError as error:
            room = BLOCK
            with suppress(StoreError):
                room = self._vcenter.room(one, fresh=True)
            if room < BLOCK:
                raise StoreFull from error
            raise

    # -- requests

    def _size(self, address: Address) -> int:
        answer = self._ask("HEAD", address, {})
        answer.close()
        if answer.length is None:
            raise StoreError("vCenter does not tell the size of the data.")
        return answer.length

    def _ask(self, method: str, address: Address, headers: Mapping[str, str]) -> Answer:
        """A good answer (200, 206, 416), within a session. Raises StoreError."""
        target = address.target
        for _ in range(REDIRECTS_MOST + 1):
            answer = self._within_session(method, target, headers)
            if answer.status not in REDIRECTS:
                if answer.status in (200, 206, 416):
                    return answer
                answer.close()
                raise failure(answer.status)
            answer.close()
            target = self._redirected(target, answer.header("Location") or "")
        raise MalformedLocation(f"vCenter redirects more than {REDIRECTS_MOST} times.")

    def _within_session(self, method: str, target: str, headers: Mapping[str, str]) -> Answer:
        for _ in range(int(self.options.get("vmware_api_retry_count") or 10) + 1):
            number, cookie = self._vcenter.cookie()
            connection = HTTPSConnection(self._host, PORT, timeout=CONNECT_SECONDS, context=self._tls)
            answer = ask(connection, method, target, {"Cookie": cookie, **headers}, READ_SECONDS)
            if answer.status != 401:
                return answer
            answer.close()
            self._vcenter.forget(number)
        raise StoreUnreachable("vCenter ends every session at once.")

    def _redirected(self, target: str, place: str) -> str:
        """Where a redirect leads, which must be our own host: the cookie goes there."""
        try:
            found = urlsplit(urljoin(f"https://{_bracketed(self._host)}{target}", place))
            port = found.port or PORT
        except ValueError:
            raise MalformedLocation from None
        if not place or (found.scheme, found.hostname, port) != ("https", self._host, PORT):
            raise MalformedLocation("vCenter redirects to another server.")
        return found.path + (f"?{found.query}" if found.query else "")

    def _put(self, address: Address, source: Source, size: int | None) -> int:
        """Send everything that `source` gives, `size` bytes of it or in chunks; how much it was."""
        # The first block before anything else: a source that fails at once leaves no trace.
        first = source.read(BLOCK)
        _, cookie = self._vcenter.cookie()
        connection = HTTPSConnection(self._host, PORT, timeout=CONNECT_SECONDS, context=self._tls)
        try:
            with explained():
                connection.connect()
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sock.settimeout(READ_SECONDS)
                connection.putrequest("PUT", address.target)
                connection.putheader("Cookie", cookie)
                connection.putheader("Content-Type", "application/octet-stream")
                connection.putheader("Connection", "close")
                connection.putheader(*(("Transfer-Encoding", "chunked") if size is None else ("Content-Length", size)))
                connection.endheaders()
            written = _send_all(connection, first, source, chunked=size is None)
            with explained():
                connection.sock.settimeout(STORED_SECONDS)
                status = _status(connection)
        except BaseException:
            _hang_up(connection)
            raise
        finally:
            connection.close()
        if status not in (200, 201, 204):
            raise _refusal(status)
        return written


def _send_all(connection: HTTPSConnection, block: bytes | memoryview, source: Source, *, chunked: bool) -> int:
    """Send the body, of which `block` is the first; what `source` raises goes through as it is. Raises StoreError."""
    written = 0
    while len(block):
        _send(connection, *((b"%x\r\n" % len(block), block, b"\r\n") if chunked else (block,)))
        written += len(block)
        block = source.read(BLOCK)
    if chunked:
        _send(connection, b"0\r\n\r\n")
    return written


def _send(connection: HTTPSConnection, *pieces: bytes | memoryview) -> None:
    try:
        with explained():
            for piece in pieces:
                connection.send(piece)
    except StoreUnreachable as error:
        # A server that refuses an upload answers and closes while the client still sends. Its answer may be there to
        # read, or be lost; then that it hung up is all there is to tell.
        try:
            connection.sock.settimeout(CONNECT_SECONDS)
            status = _status(connection)
        except (OSError, HTTPException):
            raise error from None
        raise _refusal(status) from error


def _hang_up(connection: HTTPSConnection) -> None:
    """Say that nothing more comes, and wait until the server has hung up, too: what it has stored by then can be
    removed, and nothing appears afterwards."""
    with suppress(OSError):
        if connection.sock is not None:
            connection.sock.settimeout(HANG_UP_SECONDS)
            connection.sock.shutdown(socket.SHUT_WR)
            while connection.sock.recv(BLOCK):
                pass


def _status(connection: HTTPSConnection) -> int:
    answer = Answer(connection)
    answer.close()
    return answer.status


def _refusal(status: int) -> FanlightError:
    """What the status of an upload means that did not go well."""
    if status == 401:
        return StoreUnreachable("The session with vCenter ended before the upload.")
    return ObjectExists() if status == 409 else meaning(status, "vCenter", writing=True)


def _datastores(texts: Any) -> list[Datastore]:
    """`datacenter:datastore` or `datacenter:datastore:weight` each, taken apart from the end as glance_store does: the
    weight may be left empty, and with a weight a datacenter's path may have colons. Raises BadStoreConfiguration."""
    found: list[Datastore] = []
    for text in texts or ():
        datacenter, datastore, weight, *_ = [*(part.strip() for part in text.rsplit(":", 2)), "", ""]
        if not datacenter or not datastore or not re.fullmatch(r"(-?\d+)?", weight, re.ASCII):
            raise BadStoreConfiguration(f"vmware_datastores: {text!r} is not datacenter:datastore[:weight].")
        found.append(Datastore(datacenter, datastore, int(weight or 0)))
    if not found:
        raise BadStoreConfiguration("vmware_datastores is not set.")
    return found
