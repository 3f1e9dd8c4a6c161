"""A vCenter or ESXi by its SOAP API (pyVmomi): a session that lives on, and what the VMware store asks of datastores.

The session begins with the first call. It may end at any time: the server forgets it after half an hour without calls,
or an administrator ends it. Then the next call says so, a new one is begun, and the call is made again.
"""

from __future__ import annotations

import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any, TypeVar

from msgspec import Struct

from fanlight.errors import (
    BadStoreConfiguration,
    ObjectExists,
    ObjectInUse,
    ObjectNotFound,
    StoreError,
    StoreForbidden,
    StoreFull,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores.patience import Turn
from fanlight.stores.transfer import explained

PORT = 443
"""A vCenter has no other, and `vmware_server_host` names none."""
SECONDS = 60.0
"""Limit for each wait for an answer of the SOAP API."""
TASK_SECONDS = 900.0
"""Limit for a task, which moves or deletes one file."""
FIRST_LOOK = 0.05
"""Seconds until a task is looked at for the first time; each further pause is twice as long, up to the option's."""
FAULTS: dict[str, type[StoreError]] = {
    "vim.fault.FileNotFound": ObjectNotFound,
    "vim.fault.InvalidDatastore": ObjectNotFound,
    "vim.fault.InvalidDatastorePath": ObjectNotFound,
    "vmodl.fault.ManagedObjectNotFound": ObjectNotFound,
    "vim.fault.FileAlreadyExists": ObjectExists,
    "vim.fault.FileLocked": ObjectInUse,
    "vim.fault.ResourceInUse": ObjectInUse,
    "vim.fault.NoDiskSpace": StoreFull,
    "vim.fault.NoPermission": StoreForbidden,
    "vmodl.fault.SecurityError": StoreForbidden,
    "vim.fault.InvalidLogin": StoreForbidden,
    "vim.fault.InaccessibleDatastore": StoreUnreachable,
    "vim.fault.HostConnectFault": StoreUnreachable,
    "vmodl.fault.HostCommunication": StoreUnreachable,
}
"""THE table of vSphere's faults, most of which have subclasses. What is not here is a StoreError."""
EXPIRED = "vim.fault.NotAuthenticated"

T = TypeVar("T")


class Account(Struct, frozen=True):
    """Where a vCenter is and who logs in."""

    host: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"Account({self.host!r}, {self.user!r})"


class Datastore(Struct, frozen=True):
    """A datastore of the configuration, and what stands for it in the API."""

    datacenter: str
    """Inventory path, as configured."""
    name: str
    weight: int
    its: Any = None
    """vim.Datastore"""
    its_datacenter: Any = None
    """vim.Datacenter"""


class VCenter:
    """One session for all threads of this process; begun when it is needed."""

    def __init__(self, account: Account, tls: ssl.SSLContext, retries: int, interval: float) -> None:
        self.account = account
        self._tls = tls
        self._tries = retries + 1
        self._interval = interval
        self._turn = Turn()
        self._stub: Any = None
        self._content: Any = None
        self._logins = 0
        self._noting = threading.Lock()
        self._over = 0
        """Sessions up to this number are known to be over."""

    # -- the session ---------------------------------------------------------------------------------------------

    def cookie(self) -> tuple[int, str]:
        """The number of the session and the header that names it, for requests besides SOAP. Raises StoreError."""
        number = self._begin()
        return number, str(self._stub.cookie).partition(";")[0]

    def forget(self, number: int) -> None:
        """The session of that number turned out to be over."""
        # Not the lock of logins: whoever waited for that here would come too late to wait there.
        with self._noting:
            self._over = max(self._over, number)

    def require_live(self) -> None:
        """Ask whether the session still lives, and begin another if not: before a body that can be sent only once."""

        def look(content: Any) -> None:
            if content.sessionManager.currentSession is None:
                raise _Expired

        self.call(look)

    def call(self, what: Callable[[Any], T]) -> T:
        """`what(content)` within a session, again within a new one where it was over. Raises StoreError."""
        for _ in range(self._tries):
            number = self._begin()
            try:
                with _explained():
                    return what(self._content)
            except _Expired:
                self.forget(number)
        raise StoreUnreachable("vCenter ends every session at once.")

    def _begin(self) -> int:
        """A session that is not known to be over; its number. Raises StoreError."""
        with self._turn.taken():
            if self._over == self._logins:
                with _explained():
                    self._log_in()
                self._logins += 1
            return self._logins

    def _log_in(self) -> None:
        if self._stub is None:
            stub = self._adapter()
            weakref.finalize(self, stub.DropConnections)
            self._content = _sdk().vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
            self._stub = stub
        # By an adapter of its own, without the old cookie: a Login within a session that still lives is refused, as if
        # the password were wrong. The other adapter stays, since whatever was found hangs on it.
        entering = self._adapter()
        try:
            sessions = type(self._content.sessionManager)(self._content.sessionManager._moId, entering)
            sessions.Login(self.account.user, self.account.password, None)
            self._stub.cookie, entering.cookie = entering.cookie, self._stub.cookie
            if entering.cookie:
                # The old session lives if only files were refused to it. So many are allowed, and it has half an hour.
                with suppress(StoreError, _Expired), _explained():
                    sessions.Logout()
        finally:
            entering.DropConnections()

    def _adapter(self) -> Any:
        """A way to vCenter, not connected yet."""
        # Not connect.SmartConnect: its look for the newest version has no time limit, and it keeps the session in a
        # global. The adapter's own version (5.5) has all that is needed, and every later vCenter speaks it.
        return _sdk().SoapStubAdapter(self.account.host, PORT, sslContext=self._tls, httpConnectionTimeout=SECONDS)

    # -- datastores and files ------------------------------------------------------------------------------------

    def find(self, datacenter: str) -> Any:
        """The vim.Datacenter at an inventory path. Raises ObjectNotFound."""
        found = self.call(lambda content: content.searchIndex.FindByInventoryPath(datacenter))
        if found is None:
            raise ObjectNotFound(f"There is no datacenter {datacenter}.")
        return found

    def resolve(self, one: Datastore) -> Datastore:
        """The same with what stands for it. Raises BadStoreConfiguration where vCenter does not know it."""
        try:
            datacenter = self.find(one.datacenter)
        except ObjectNotFound as error:
            raise BadStoreConfiguration(f"vmware_datastores: {error}") from error
        for found, name in self.call(lambda _: [(each, each.name) for each in datacenter.datastore]):
            if name == one.name:
                return Datastore(one.datacenter, one.name, one.weight, found, datacenter)
        raise BadStoreConfiguration(f"vmware_datastores: there is no datastore {one.name} in {one.datacenter}.")

    def room(self, one: Datastore, *, fresh: bool = False) -> int:
        """Free bytes; -1 where nothing can be written now. `fresh`: ask the datastore, not what vCenter remembers."""
        if fresh:
            with suppress(StoreError):  # it may be refused; then what vCenter remembers has to do
                self.call(lambda _: one.its.RefreshDatastore())
        summary = self.call(lambda _: one.its.summary)
        usable = summary.accessible and summary.maintenanceMode in (None, "normal")
        return int(summary.freeSpace) if usable else -1

    def make_folder(self, one: Datastore, folder: str) -> None:
        """Make a folder and those above it, where they are not there."""
        name = file_name(one.name, folder)
        try:
            self.call(lambda content: content.fileManager.MakeDirectory(name, one.its_datacenter, True))
        except ObjectExists:
            return

    def names(self, one: Datastore, folder: str, pattern: str) -> list[str]:
        """Names of the files in a folder that a pattern (with `*`) fits."""
        wanted = _sdk().vim.host.DatastoreBrowser.SearchSpec(matchPattern=[pattern])
        place = file_name(one.name, folder)
        try:
            found = self.run(lambda _: one.its.browser.SearchDatastore_Task(place, wanted))
        except ObjectNotFound:
            return []
        return [str(each.path) for each in found.file]

    def delete(self, datacenter: Any, name: str) -> None:
        """Remove a file. Raises ObjectNotFound, ObjectInUse, StoreForbidden."""
        self.run(lambda content: content.fileManager.DeleteDatastoreFile_Task(name, datacenter))

    def move(self, datacenter: Any, name: str, to: str) -> None:
        """Give a file another name, which must be free. Raises ObjectExists."""
        self.run(
            lambda content: content.fileManager.MoveDatastoreFile_Task(name, datacenter, to, datacenter, force=False)
        )

    def run(self, what: Callable[[Any], Any]) -> Any:
        """Start a task and wait for its result. Raises StoreError."""
        task = self.call(what)
        pause, end = FIRST_LOOK, time.monotonic() + TASK_SECONDS
        while True:
            info = self.call(lambda _: task.info)
            if info.state == "success":
                return info.result
            if info.state == "error":
                raise _meaning(info.error) from info.error
            if time.monotonic() > end:
                raise StoreTimeout("A task of vCenter does not end.")
            time.sleep(pause)
            pause = min(2 * pause, self._interval)


def _sdk() -> Any:
    """pyVmomi, which has no types; imported with the first call, because that takes a while."""
    import pyVmomi

    return pyVmomi


def file_name(datastore: str, path: str) -> str:
    """A file as the API names it."""
    return f"[{datastore}] {path}"


class _Expired(Exception):
    """The session is over."""


@contextmanager
def _explained() -> Iterator[None]:
    """What pyVmomi's exceptions mean."""
    try:
        yield
    except (StoreError, _Expired):
        raise
    except _sdk().vmodl.MethodFault as fault:
        if EXPIRED in _names(fault):
            raise _Expired from None
        raise _meaning(fault) from fault
    except (OSError, HTTPException):
        with explained():
            raise
    except Exception as error:
        # Of an answer that is not what it expects, pyVmomi raises what just happens: ExpatError, AttributeError …
        raise StoreError(f"vCenter cannot be understood: {type(error).__name__}") from error


def _meaning(fault: Any) -> StoreError:
    kind = next((FAULTS[name] for name in _names(fault) if name in FAULTS), StoreError)
    # Only its name: the text may hold paths of the server's, and is in its language.
    return kind(f"vCenter: {_names(fault)[0].rpartition('.')[2]}")


def _names(fault: Any) -> list[str]:
    """The name of a fault and of those that it is a kind of, the nearest first."""
    return [kind.__name__ for kind in type(fault).__mro__]
