"""What the service tells about itself below /v2/info: import methods and stores. Documents only, from the settings and
what the stores say of themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fanlight.errors import NotFound

if TYPE_CHECKING:
    from fanlight.settings import Settings, StoreSettings
    from fanlight.stores import Stores

IMPORT_METHODS: tuple[str, ...] = ()
"""The import methods that this service can run; of these it offers the ones that are enabled."""
RESERVED_PREFIX = "os_glance_"
"""Stores with this prefix are the service's own (staging, tasks) and are never shown."""
READ_ONLY_TYPES = frozenset({"http"})

Document = dict[str, Any]

_PROPERTIES: Mapping[str, tuple[tuple[str, str, object], ...]] = {
    "file": (
        ("data_dir", "filesystem_store_datadir", None),
        ("chunk_size", "filesystem_store_chunk_size", 65536),
        ("thin_provisioning", "filesystem_thin_provisioning", False),
    ),
    "rbd": (
        ("chunk_size", "rbd_store_chunk_size", 8),
        ("pool", "rbd_store_pool", "images"),
        ("thin_provisioning", "rbd_thin_provisioning", False),
    ),
    "cinder": (
        ("volume_type", "cinder_volume_type", None),
        ("use_multipath", "cinder_use_multipath", False),
    ),
    "swift": (
        ("container", "swift_store_container", "glance"),
        ("large_object_size", "swift_store_large_object_size", 5120),
        ("large_object_chunk_size", "swift_store_large_object_chunk_size", 200),
    ),
    "s3": (
        ("s3_store_large_object_size", "s3_store_large_object_size", 100),
        ("s3_store_large_object_chunk_size", "s3_store_large_object_chunk_size", 10),
        ("s3_store_thread_pools", "s3_store_thread_pools", 10),
    ),
}
"""Type of a store -> name shown, its option, and what holds when that is unset."""


def import_methods(settings: Settings) -> tuple[str, ...]:
    """The import methods on offer, in the order in which they are enabled."""
    return tuple(name for name in settings.api.enabled_import_methods if name in IMPORT_METHODS)


def store_ids(settings: Settings) -> tuple[str, ...]:
    """The ids of all stores that clients may name, read-only ones included; empty in single-store mode."""
    if not settings.stores.multi_store:
        return ()
    return tuple(store.id for store in settings.stores.stores if not store.id.startswith(RESERVED_PREFIX))


def import_info(settings: Settings) -> Document:
    """GET /v2/info/import"""
    methods = list(import_methods(settings))
    return {"import-methods": {"description": "The import methods on offer.", "type": "array", "value": methods}}


def stores_info(settings: Settings, stores: Stores | None = None) -> Document:
    """GET /v2/info/stores. Raises NotFound in single-store mode."""
    return {"stores": [_store(store, settings.stores.default, stores) for store in _shown(settings)]}


def stores_detail(settings: Settings, stores: Stores | None = None) -> Document:
    """GET /v2/info/stores/detail. Raises NotFound in single-store mode."""
    default = settings.stores.default
    return {"stores": [{**_store(store, default, stores), **_details(store, stores)} for store in _shown(settings)]}


def _shown(settings: Settings) -> list[StoreSettings]:
    if not settings.stores.multi_store:
        raise NotFound("Several stores are not configured.")
    return [
        store for store in settings.stores.stores if not store.id.startswith(RESERVED_PREFIX) and not _is_odd(store)
    ]


def _is_odd(store: StoreSettings) -> bool:
    """Swift in its owners' accounts and with accounts of its own: no client can use that (Glance hides it, too)."""
    return bool(store.options.get("swift_store_multi_tenant") and store.options.get("swift_store_config_file"))


def _store(store: StoreSettings, default: str, stores: Stores | None) -> Document:
    """What everybody may know. Clients know the two flags as texts that are absent when false."""
    document: Document = {"id": store.id}
    if store.description:
        document["description"] = store.description
    if store.id == default:
        document["default"] = "true"
    if store.type in READ_ONLY_TYPES or (stores is not None and not stores.get(store.id).traits.add):
        document["read-only"] = "true"
    return document


def _details(store: StoreSettings, stores: Stores | None) -> Document:
    properties: Document = {}
    for name, option, default in _PROPERTIES.get(store.type, ()):
        value = store.options.get(option)
        properties[name] = default if value is None else value
    if store.options.get("filesystem_store_datadirs"):
        properties["data_dir"] = ",".join(store.options["filesystem_store_datadirs"])
    if stores is not None:
        properties |= stores.get(store.id).details()
    return {"type": store.type, "properties": properties, "weight": store.weight}
