"""Which stores there are and with which options: several (`enabled_backends`), the classic form, or none configured."""

from __future__ import annotations

import re
import stat
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from oslo_config import cfg

from fanlight.errors import SettingsError
from fanlight.settings import StagingSettings, StoreSettings, StoresSettings
from fanlight.settings.drivers import ALIASES, DRIVER_OPTIONS, SCHEMES, STORE_OPTIONS, defaults
from fanlight.settings.reading import Reader, in_lower_case

COMMON = "backend_defaults"
"""The group with options for all stores that don't have their own."""
RESERVED = "os_glance_"
"""Ids with this prefix are the service's own stores."""
STAGING, TASKS = "os_glance_staging_store", "os_glance_tasks_store"
ENTRY_POINTS = "fanlight.stores"
"""Where a vendor's package names its types of stores."""


def select_stores(reader: Reader, data_dir: Path) -> tuple[StoresSettings, StagingSettings]:
    """All stores, and the service's own. Raises SettingsError.

    Without any file, or with a data folder named and no store: a store `local` of type file in that folder. With a file
    and neither: what Glance does, the classic form with its defaults.
    """
    if reader.value("DEFAULT", "enabled_backends"):
        return _several(reader), StagingSettings(staging=_own(reader, STAGING), tasks=_own(reader, TASKS))
    classic = "glance_store" in reader.sections or (reader.files and not reader.is_given("fanlight", "data_dir"))
    if classic:
        return _classic(reader), _classic_staging(reader, data_dir)
    if reader.files:
        reader.warn(f"No store is configured: images go to {data_dir / 'images'}.")
    return _embedded(data_dir)


def _embedded(data_dir: Path) -> tuple[StoresSettings, StagingSettings]:
    def folder(store_id: str, name: str) -> StoreSettings:
        options = {**defaults("file"), "filesystem_store_datadir": str(data_dir / name)}
        return StoreSettings(id=store_id, type="file", options=options)

    stores = StoresSettings(stores=(folder("local", "images"),), default="local")
    return stores, StagingSettings(staging=folder(STAGING, "staging"), tasks=folder(TASKS, "tasks"))


# -- several stores


def _several(reader: Reader) -> StoresSettings:
    stores = []
    pairs = reader.value("DEFAULT", "enabled_backends")
    for store_id, kind in pairs.items():
        if store_id.startswith(RESERVED):
            raise reader.wrong("DEFAULT", "enabled_backends", f"ids that begin with {RESERVED} are reserved")
        if store_id == "DEFAULT" or not store_id or not kind:
            raise reader.wrong("DEFAULT", "enabled_backends", "each store needs an id and a type")
        kind = ALIASES.get(kind, kind)
        if not _is_type(kind):
            raise reader.wrong("DEFAULT", "enabled_backends", f"there is no type {kind!r} ({_types()})")
        stores.append(_store(reader, store_id, kind, store_id, COMMON))
    default = reader.value("glance_store", "default_backend")
    if default is None:
        raise SettingsError(f"[glance_store]default_backend is not set: name one of {', '.join(pairs)}.")
    if default not in pairs:
        raise reader.wrong("glance_store", "default_backend", f"it must be one of {', '.join(pairs)}")
    return StoresSettings(stores=tuple(stores), default=default)


def _is_type(kind: str) -> bool:
    return kind in DRIVER_OPTIONS or bool(entry_points(group=ENTRY_POINTS, name=kind))


def _types() -> str:
    return "known are " + ", ".join(sorted({*DRIVER_OPTIONS, *entry_points(group=ENTRY_POINTS).names}))


def _own(reader: Reader, group: str) -> StoreSettings:
    folder = cfg.StrOpt("filesystem_store_datadir", default=f"/var/lib/glance/{group}")
    size = cfg.IntOpt("filesystem_store_chunk_size", default=65536, min=1)
    reader.register(group, [folder, size])
    options = {**defaults("file"), **{one.dest: reader.value(group, one.dest) for one in (folder, size)}}
    return StoreSettings(id=group, type="file", options=options)


# -- the classic form


def _classic(reader: Reader) -> StoresSettings:
    stores: dict[str, StoreSettings] = {}
    for name in reader.value("glance_store", "stores"):
        kind = _short_name(name)
        if not _is_type(kind):
            raise reader.wrong("glance_store", "stores", f"there is no type {kind!r} ({_types()})")
        if kind not in stores:
            stores[kind] = _store(reader, kind, kind, "glance_store", None)
    default = SCHEMES[reader.value("glance_store", "default_store")]
    if default not in stores:
        raise reader.wrong("glance_store", "default_store", f"its type {default} is not in stores")
    return StoresSettings(stores=tuple(stores.values()), default=default, multi_store=False)


def _classic_staging(reader: Reader, data_dir: Path) -> StagingSettings:
    url = urlsplit(reader.value("DEFAULT", "node_staging_uri"))
    if url.scheme != "file" or url.netloc or not url.path:
        raise reader.wrong("DEFAULT", "node_staging_uri", "it must be file:// and the absolute path of a folder")
    work = reader.value("task", "work_dir") or str(data_dir / "tasks")
    staging, tasks = (
        StoreSettings(id=name, type="file", options={**defaults("file"), "filesystem_store_datadir": folder})
        for name, folder in ((STAGING, unquote(url.path)), (TASKS, work))
    )
    return StagingSettings(staging=staging, tasks=tasks)


def _short_name(name: str) -> str:
    """A type from any spelling of `stores`: its name, or the class of very old files."""
    match = re.fullmatch(r"glance\.store\.(\w+)\.Store", name)
    short = match[1] if match else name
    return ALIASES.get(short, short)


# -- one store


def _store(reader: Reader, store_id: str, kind: str, group: str, fallback: str | None) -> StoreSettings:
    known = [*DRIVER_OPTIONS.get(kind, []), *STORE_OPTIONS]
    for one in (group, fallback):
        if one is not None:
            reader.register(one, known)
    values: dict[str, Any] = {}
    for option in known:
        place = group if fallback is None or reader.is_given(group, option.dest) else fallback
        values[option.dest] = reader.value(place, option.dest)
        if option.dest == "filesystem_store_file_perm" and not _is_mode(values[option.dest]):
            raise reader.wrong(place, option.dest, "it must be octal digits that let the owner read, such as 640")
    accounts = values.get("swift_store_config_file")
    if accounts:
        values["swift_store_config_file"] = _beside(reader, accounts)
    if values.get("filesystem_store_datadirs") and reader.is_given(group, "filesystem_store_datadir"):
        reader.warn(f"[{group}]filesystem_store_datadir has no effect: filesystem_store_datadirs is set, too.")
    description, weight = values.pop("store_description"), values.pop("weight")
    if kind not in DRIVER_OPTIONS:
        values |= _untyped(reader, group, fallback)
    return StoreSettings(id=store_id, type=kind, options=values, description=description, weight=weight)


def _beside(reader: Reader, name: str) -> str:
    """Where a file is: a relative path is looked for beside the configuration files, as Glance does; the last first."""
    places = [Path(file).absolute().parent / name for file in reversed(reader.files)]
    return next((str(place) for place in places if place.exists()), name)


def _is_mode(digits: int) -> bool:
    """Whether octal digits, written as a decimal number, are a mode of files that can be read. 0 and below: none."""
    if digits <= 0:
        return True
    try:
        return int(str(digits), 8) <= 0o7777 and bool(int(str(digits), 8) & stat.S_IRUSR)
    except ValueError:
        return False


def _untyped(reader: Reader, group: str, fallback: str | None) -> dict[str, str]:
    """The options of a vendor's type, which we don't know: as text, the store's own over the common ones."""
    own = {"store_description", "weight", "stores", "default_store", "default_backend"}
    found = reader.raw_group(fallback) if fallback else {}
    found |= reader.raw_group(in_lower_case(group))
    return {name: text for name, text in found.items() if name not in own}
