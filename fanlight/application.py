"""Where the service is put together, and the only place where it is: settings in, ASGI application out.

Runs in each worker process. Everything below is passed what it needs; nothing is found by a global name.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from fanlight.catalog import Catalog, make_engine, open_catalog, schema
from fanlight.errors import NotAuthenticated, SettingsError, StoreError
from fanlight.http.access import AccessLog
from fanlight.http.body import Budget
from fanlight.http.call import Headers
from fanlight.http.cors import Cors
from fanlight.http.edge import Edge
from fanlight.http.identity import RequestHead, open_identity
from fanlight.http.negotiation import Versions
from fanlight.http.pipeline import Pipeline
from fanlight.http.pools import Pools
from fanlight.http.protocol import Limits
from fanlight.http.routes import Router
from fanlight.http.v2 import discovery
from fanlight.http.v2.documents import DocumentOptions
from fanlight.http.v2.schemas import Schemas
from fanlight.http.v2.schemas.custom import read_custom_properties
from fanlight.logs import Log
from fanlight.operations import recovery
from fanlight.operations.filtering import UrlFilter
from fanlight.operations.keeper import Keeper
from fanlight.operations.policy import open_policy
from fanlight.operations.service import Service
from fanlight.settings import Settings, StoreSettings
from fanlight.stores import create_stores
from fanlight.stores.finding import make

LOG = logging.getLogger(__name__)


def make_application(settings: Settings, log: Log) -> Pipeline:
    """Build the service. Raises SettingsError and CatalogError with what to do."""
    prepare_folders(settings)
    service = make_service(settings)
    return Pipeline(make_edge(service, log), Router())


def prepare_folders(settings: Settings) -> None:
    """Make the folder of a SQLite database, readable by us alone: it holds everything about everybody's images.

    Raises SettingsError where that cannot be.
    """
    url = settings.database.connection
    if url.startswith("sqlite:///"):
        folder = Path(url.removeprefix("sqlite:///")).absolute().parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise SettingsError(f"The folder {folder} of the database cannot be made: {error}.") from None


def make_service(settings: Settings) -> Service:
    """Everything below HTTP."""
    catalog = open_catalog(settings.database, migrate=settings.server.migrate)
    return Service(
        settings=settings,
        catalog=catalog,
        stores=create_stores(settings.stores, settings.api.metadata_encryption_key),
        policy=open_policy(settings.policy),
        keeper=Keeper(catalog, settings.server.lease_seconds),
        url_filter=UrlFilter(settings.filtering),
    )


def make_edge(service: Service, log: Log) -> Edge:
    """The parts of HTTP."""
    settings = service.settings
    server = settings.server
    schemas = make_schemas(settings)
    pools = Pools(server.metadata_threads, server.transfer_threads, store_threads=server.store_threads)

    def start() -> None:
        log.start()
        service.keeper.start(lambda lease: recovery.recover(service, lease), lambda: recovery.adopt(service))

    def stop() -> None:
        service.keeper.stop()
        pools.close()
        service.catalog.close()

    return Edge(
        service=service,
        identity=open_identity(settings, service.policy),
        pools=pools,
        storing=_storing(service),
        budget=Budget(server.transfer_memory),
        access_log=AccessLog(log),
        cors=Cors(settings.cors),
        versions=Versions(
            multi_store=settings.stores.multi_store,
            cache=settings.api.image_cache_dir is not None,
            public_endpoint=settings.api.public_endpoint,
            disable_file=server.disable_by_file_path,
        ),
        schemas=schemas,
        documents=DocumentOptions(
            show_image_direct_url=settings.api.show_image_direct_url,
            show_multiple_locations=settings.api.show_multiple_locations,
            multi_store=settings.stores.multi_store,
            weights={store.id: store.weight for store in settings.stores.stores},
            declared=schemas.declared,
            placed=service.stores.placed,
            shown=service.stores.shown,
        ),
        create_headers=_create_headers(settings),
        max_json_body=server.max_json_body,
        max_request_id_length=server.max_request_id_length,
        start=start,
        stop=stop,
    )


def make_schemas(settings: Settings) -> Schemas:
    """What bodies are checked with. Raises SettingsError: the file with custom properties cannot be used."""
    file = settings.api.schema_image_file
    return Schemas(settings.formats, read_custom_properties(Path(file)) if file else None)


def _storing(service: Service) -> frozenset[str | None]:
    """What may wait for a store. A record's change does where it tells stores of readers, or locations may change."""
    found: set[str | None] = {"delete"}
    if service.stores.knows_acls:
        found |= {"location", "sharing"}
    if service.settings.api.show_multiple_locations:
        found.add("location")
    return frozenset(found)


def _create_headers(settings: Settings) -> Headers:
    """What the answer to a create tells of the ways to bring data."""
    headers: Headers = []
    methods = discovery.import_methods(settings)
    if methods:
        headers.append((b"openstack-image-import-methods", ",".join(methods).encode()))
    stores = discovery.store_ids(settings)
    if stores:
        headers.append((b"openstack-image-store-ids", ",".join(stores).encode()))
    return headers


def limits(settings: Settings) -> Limits:
    """What a client may cost, for the protocol."""
    server = settings.server
    return Limits(
        head_seconds=server.head_seconds,
        body_seconds=server.body_seconds,
        answer_seconds=server.answer_seconds,
        idle_seconds=server.idle_seconds,
    )


def check_database(settings: Settings) -> str:
    """What `doctor` says of the database. Raises CatalogError, SettingsError."""
    catalog = Catalog(make_engine(settings.database))
    try:
        if catalog.is_missing_file():
            return "will be made at the first start"
        schema.require_current(catalog)
        found = schema.version(catalog)
        return f"{catalog.describe()}, revision {found.ours} (Glance: {found.glance})"
    finally:
        catalog.close()


def check_policy(settings: Settings) -> str:
    """What `doctor` says of the policy files. Raises SettingsError."""
    open_policy(settings.policy)
    file = settings.policy.policy_file
    return f"{file} is in force" if file and Path(file).exists() else "the defaults are in force"


def idle_rules(settings: Settings) -> list[str]:
    """What `doctor` warns of: rules of the policy files that have no effect. Files that do not open have none."""
    try:
        return open_policy(settings.policy).idle()
    except (SettingsError, ValueError, OSError):
        return []  # check_policy tells


def check_schemas(settings: Settings) -> str:
    """What `doctor` says of the file with custom properties. Raises SettingsError."""
    return f"{settings.api.schema_image_file} declares {len(make_schemas(settings).declared)}"


def check_identity(settings: Settings) -> str:
    """What `doctor` says of the mode of identity. Raises SettingsError."""
    identity = open_identity(settings, open_policy(settings.policy))
    return f"{settings.identity.mode}" + (f": {identity.announcement}" if identity.announcement else "")


def keystone_options(settings: Settings) -> Any:
    """`[keystone_authtoken]` as the middleware reads it. Raises SettingsError."""
    from fanlight.http.identity.authtoken_options import GROUP, as_config

    return as_config(settings.keystone)[GROUP]


def memcached_address(text: str) -> tuple[int, Any]:
    """Family and address of the socket of one of memcached_servers. Raises SettingsError."""
    from fanlight.http.identity.authtoken_options import memcached_address as parsed

    return parsed(text)


def check_keystone_user(settings: Settings) -> None:
    """Let Keystone judge a token that is none, for which our own user must log in. Raises Busy when it cannot."""
    identity = open_identity(settings, open_policy(settings.policy))
    try:
        identity.identify(RequestHead("GET", "/", "", [(b"x-auth-token", b"not-a-token")], None, "http"))
    except NotAuthenticated:
        return


def check_file_store(store: StoreSettings) -> None:
    """Raise SettingsError for options that contradict each other. Nothing is made or written."""
    try:
        make(store.id, store.type, store.options).configure()
    except StoreError as error:
        raise SettingsError(f"The store {store.id} does not work: {error}") from error


def check_store(settings: Settings, store: StoreSettings) -> str:
    """What `doctor` says of one store. Raises SettingsError, StoreError."""
    stores = create_stores(replace(settings.stores, stores=(store,), default=store.id))
    return f"type {store.type}, {stores.check(store.id)}"
