"""Which class serves a type of stores: THE table of our own, and the entry points of other packages."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from fanlight.errors import BadStoreConfiguration, SettingsError
from fanlight.stores.driver import Option, Store

GROUP = "fanlight.stores"
"""Entry-point group in which a package names its stores: type = module:class."""
BUILT_IN = {
    "file": "fanlight.stores.filesystem:Filesystem",
    "http": "fanlight.stores.http:Http",
    "swift": "fanlight.stores.swift:Swift",
    "s3": "fanlight.stores.s3:S3",
    "rbd": "fanlight.stores.rbd:Rbd",
    "cinder": "fanlight.stores.cinder:Cinder",
    "vmware": "fanlight.stores.vmware:Vmware",
    "sheepdog": "fanlight.stores.sheepdog:Sheepdog",
    "gridfs": "fanlight.stores.gridfs:GridFS",
    "memory": "fanlight.stores.memory:Memory",
}
"""THE table of drivers: type -> module:class. Imported only when a store of that type is configured."""
_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def driver_of(kind: str) -> type[Store]:
    """The class of a type of stores, built in or a package's. Raises SettingsError."""
    place = BUILT_IN.get(kind)
    if place is not None:
        module, _, name = place.partition(":")
        found: type[Store] = getattr(importlib.import_module(module), name)
        return found
    for entry in entry_points(group=GROUP, name=kind):
        loaded: type[Store] = entry.load()
        return loaded
    raise SettingsError(f"There is no store of type {kind}.")


def make(store_id: str, kind: str, options: Mapping[str, Any]) -> Store:
    """A store that is not configured yet. Raises SettingsError; BadStoreConfiguration for an option of a package's."""
    driver = driver_of(kind)
    declared = {one.name: _typed(store_id, one, options.get(one.name)) for one in driver.declares}
    return driver(store_id, {**options, **declared})


def _typed(store_id: str, option: Option, given: Any) -> Any:
    """The value of a declared option: packages' options come as the text that stands in the file."""
    if given is None:
        return option.default
    if not isinstance(given, str) or option.kind == "text":
        return given
    text = given.strip()
    if option.kind == "list":
        return [part.strip() for part in text.split(",") if part.strip()]
    if option.kind == "switch" and text.lower() in _YES | _NO:
        return text.lower() in _YES
    try:
        if option.kind in ("whole", "number"):
            return int(text) if option.kind == "whole" else float(text)
    except ValueError:
        pass
    shown = "" if option.secret else f" = {text}"
    raise BadStoreConfiguration(f"[{store_id}]{option.name}{shown} is wrong: it must be {_KINDS[option.kind]}.")


_KINDS = {"whole": "a whole number", "number": "a number", "switch": "true or false", "list": "a list"}
