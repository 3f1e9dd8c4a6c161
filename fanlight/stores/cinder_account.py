"""Who talks to Cinder, and what its errors mean: the client half of the Cinder store."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from fanlight.errors import (
    BadStoreConfiguration,
    ObjectInUse,
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreForbidden,
    StoreFull,
    StoreUnreachable,
)
from fanlight.stores import rbd_cluster
from fanlight.stores.driver import Context
from fanlight.stores.patience import Turn

VERSION = "3.54"
"""Microversion with attachments that say how they are used."""
LOGIN_SECONDS = 10.0
CALL_SECONDS = 120.0
"""Seconds that a call may take: Cinder exports a volume to us within one."""


class Account:
    """Clients of Cinder: one for the account of the options, or one for each caller where the options name none."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        parts = str(options["cinder_catalog_info"]).split(":")
        if len(parts) != 3 or not parts[0] or not parts[2]:
            raise BadStoreConfiguration("cinder_catalog_info must be type:name:interface.")
        self._service, self._name, self._interface = parts[0], parts[1] or None, parts[2]
        if "\0" in str(options["cinder_store_auth_address"] or ""):
            raise BadStoreConfiguration("cinder_store_auth_address is no URL.")
        try:
            import cinderclient.client
            import keystoneauth1.identity
            import keystoneauth1.session
            import keystoneauth1.token_endpoint
        except ImportError as error:
            raise BadStoreConfiguration(f"pip install fanlight[cinder] ({error.name} is missing)") from error
        self._cinder, self._identity = cinderclient.client, keystoneauth1.identity
        self._session, self._endpoint = keystoneauth1.session.Session, keystoneauth1.token_endpoint.Token
        self._template = _template(options["cinder_endpoint_template"])
        self._lock = threading.Lock()
        self._own: Any = None
        self._entering = Turn()
        self._auth = self._credentials() if options["cinder_store_auth_address"] else None

    @property
    def is_callers(self) -> bool:
        """Whether there is none of the options, and each caller's volumes are in the caller's project."""
        return self._auth is None

    def client(self, context: Context | None) -> Any:
        """A client to work with. Raises StoreUnreachable, StoreDenied."""
        if self._auth is None:
            return self._of_caller(context)
        self._log_in(self._auth)
        with self._lock:
            if self._own is None:
                self._own = self._made(self._auth, self._template)
            return self._own

    def _log_in(self, auth: Any) -> None:
        """Fetch a token by itself, so that a Keystone that is silent costs seconds; it is kept."""
        with self._entering.taken(), explained():
            auth.get_access(self._session(timeout=LOGIN_SECONDS, verify=self._verify()))

    def _credentials(self) -> Any:
        given = self._options
        if given["cinder_store_application_credential_id"]:
            return self._identity.V3ApplicationCredential(
                given["cinder_store_auth_address"],
                application_credential_id=given["cinder_store_application_credential_id"],
                application_credential_secret=given["cinder_store_application_credential_secret"],
            )
        for name in ("cinder_store_user_name", "cinder_store_password", "cinder_store_project_name"):
            if not given[name]:
                raise BadStoreConfiguration(f"{name} is missing beside cinder_store_auth_address.")
        return self._identity.V3Password(
            given["cinder_store_auth_address"],
            username=given["cinder_store_user_name"],
            password=given["cinder_store_password"],
            project_name=given["cinder_store_project_name"],
            user_domain_name=given["cinder_store_user_domain_name"],
            project_domain_name=given["cinder_store_project_domain_name"],
        )

    def _of_caller(self, context: Context | None) -> Any:
        if context is None or not context.token:
            raise StoreDenied("Volumes belong to callers here, and nobody calls: set cinder_store_auth_address.")
        if self._template:
            endpoint = self._template % {"project_id": context.project_id, "user_id": context.user_id}
        else:
            endpoint = self._from_catalogue(context.service_catalog)
        return self._made(self._endpoint(endpoint, context.token), endpoint)

    def _from_catalogue(self, catalogue: str | None) -> str:
        """Our endpoint in what keystonemiddleware makes of a token: a list of services in the form of version 2."""
        region = self._options["cinder_os_region_name"]
        for service in msgspec.json.decode(catalogue or "[]"):
            if service.get("type") != self._service or (self._name and service.get("name") != self._name):
                continue
            for endpoint in service.get("endpoints", ()):
                if (not region or endpoint.get("region") == region) and endpoint.get(self._interface):
                    return str(endpoint[self._interface])
        raise StoreUnreachable(f"The caller's catalogue has no {self._service}.")

    def _made(self, auth: Any, endpoint: str | None) -> Any:
        return self._cinder.Client(
            VERSION,
            session=self._session(auth=auth, timeout=CALL_SECONDS, verify=self._verify()),
            service_type=self._service,
            service_name=self._name,
            interface=self._interface.removesuffix("URL"),
            region_name=self._options["cinder_os_region_name"],
            endpoint_override=endpoint,
            connect_retries=self._options["cinder_http_retries"],
        )

    def _verify(self) -> bool | str:
        file = self._options["cinder_ca_certificates_file"]
        return str(file) if file else not self._options["cinder_api_insecure"]


def _template(text: str | None) -> str | None:
    """The URL with the names that keystoneauth fills in by itself. Raises BadStoreConfiguration."""
    if not text:
        return None
    names = {"tenant": "project_id", "tenant_id": "project_id", "project_id": "project_id"}
    names |= {"user": "user_id", "user_id": "user_id"}
    try:
        return str(text % {name: f"%({ours})s" for name, ours in names.items()})
    except (KeyError, TypeError, ValueError) as error:
        raise BadStoreConfiguration("cinder_endpoint_template is no URL with %(tenant)s or %(user)s.") from error


@contextmanager
def explained(*, writing: bool = False, deleting: bool = False) -> Iterator[None]:
    """What the errors of Cinder's client, of os-brick, and of a volume's file mean. Their texts stay in the cause."""
    from cinderclient import exceptions
    from keystoneauth1 import exceptions as login
    from os_brick import exception as brick
    from oslo_concurrency import processutils

    try:
        yield
    except StoreError:
        raise
    except (exceptions.NotFound, login.NotFound) as error:
        raise ObjectNotFound from error
    except (exceptions.OverLimit, login.http.RequestEntityTooLarge) as error:
        raise StoreFull from error
    except (exceptions.Forbidden, exceptions.Unauthorized, login.Forbidden, login.Unauthorized) as error:
        raise (StoreDenied() if writing else StoreForbidden()) from error
    except exceptions.BadRequest as error:
        raise (ObjectInUse() if deleting else StoreError("Cinder refused the request.")) from error
    except (exceptions.ConnectionError, login.ConnectFailure, login.DiscoveryFailure, login.EndpointNotFound) as error:
        raise StoreUnreachable from error
    except (exceptions.ClientException, login.ClientException) as error:
        raise StoreUnreachable(f"Cinder failed ({type(error).__name__}).") from error
    except (brick.BrickException, processutils.ProcessExecutionError) as error:
        raise StoreUnreachable(f"The volume could not be attached ({type(error).__name__}).") from error
    except _errors_of_privsep() as error:
        raise BadStoreConfiguration("privsep-helper does not run as root (docs/stores/cinder.md, Rights).") from error
    except _errors_of_ceph() as error:
        raise rbd_cluster.explain(error, writing=writing) from error
    except OSError as error:
        raise _of_file(error, writing) from error


def _errors_of_privsep() -> tuple[type[Exception], ...]:
    """Those of the helper that does for os-brick what only root may. By then os-brick has loaded these modules."""
    from oslo_privsep import comm, daemon

    return daemon.FailedToDropPrivileges, daemon.ProtocolError, comm.PrivsepTimeout


def _errors_of_ceph() -> tuple[type[Exception], ...]:
    """librbd's own exceptions, where os-brick has loaded it: they come out of its files as they are."""
    modules = [sys.modules[name] for name in ("rados", "rbd") if name in sys.modules]
    return tuple(module.Error for module in modules)


def _of_file(error: OSError, writing: bool) -> StoreError:
    """What an error of a device, or of a file on a share, means."""
    if writing and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull()
    text = f"The volume failed: {error.strerror or type(error).__name__}"
    return (
        StoreDenied(text) if writing and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else StoreError(text)
    )
