"""Names everything in configuration files that has no effect: nothing that an operator wrote is ignored in silence."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator

from fanlight.settings import StoresSettings
from fanlight.settings.drivers import ALL_NAMES, DRIVER_OPTIONS, NO_EFFECT, RETIRED, STORE_OPTIONS
from fanlight.settings.known import INSTEAD, NOT_HONOURED
from fanlight.settings.options import KEYSTONE, OPTIONS, spellings
from fanlight.settings.reading import Reader, in_lower_case
from fanlight.settings.selection import COMMON, STAGING, TASKS

_OWN = {"filesystem_store_datadir", "filesystem_store_chunk_size"}
_FOR_SEVERAL, _FOR_CLASSIC = frozenset({"default_backend"}), frozenset({"stores", "default_store"})


def unused_options(reader: Reader, stores: StoresSettings) -> Iterator[str]:
    """A line for each option of the files that has no effect, and why."""
    look = _Look(stores, several=bool(reader.value("DEFAULT", "enabled_backends")))
    for group, values in sorted(reader.sections.items()):
        for name, given in sorted(values.items()):
            reason = look.reason(group, name)
            if reason:
                yield f"{given.file}: [{group}]{name} has no effect: {reason}" + ("" if reason.endswith("?") else ".")
    for variable in sorted(os.environ):
        match = re.fullmatch(r"OS_([A-Z0-9_]+?)__([A-Z0-9_]+)", variable)
        group = "DEFAULT" if match and match[1] == "DEFAULT" else match[1].lower() if match else ""
        reason = look.reason(group, match[2].lower()) if match and group in OPTIONS else None
        if reason:
            yield f"{variable} has no effect: {reason}" + ("" if reason.endswith("?") else ".")


class _Look:
    """What the options of a group may be, given the stores that are configured."""

    def __init__(self, stores: StoresSettings, several: bool) -> None:
        self._multi = several
        self._types: dict[str, set[str]] = {}
        if several:
            self._types = {in_lower_case(store.id): {store.type} for store in stores.stores}
            self._types[COMMON] = {store.type for store in stores.stores}
        elif not stores.multi_store:
            self._types["glance_store"] = {store.type for store in stores.stores}

    def reason(self, group: str, name: str) -> str | None:
        """Why an option has no effect; None where it has."""
        plain = name.replace("-", "_")
        if group == KEYSTONE:
            return None
        if (group, name) in _SPELLINGS and plain not in NOT_HONOURED.get(group, ()):
            return self._selection(group, name)
        if plain in NOT_HONOURED.get(group, ()):
            return INSTEAD.get((group, plain), "Fanlight does not honour this option")
        if group in (STAGING, TASKS):
            return "there is no import yet" if plain in _OWN else _unknown(name, _OWN)
        if group.startswith("cors."):
            return "only the group [cors] is honoured"
        if group in self._types:
            return self._store_option(group, name)
        if plain in ALL_NAMES:
            return self._misplaced(group, plain)
        if group not in OPTIONS and group not in NOT_HONOURED:
            return "there is no such group" + _guess(group, [*OPTIONS, *NOT_HONOURED, *self._types, KEYSTONE])
        return _unknown(name, [spelled for where, spelled in _SPELLINGS if where == group])

    def _selection(self, group: str, name: str) -> str | None:
        if group != "glance_store":
            return None
        if self._multi and name in _FOR_CLASSIC:
            return "with enabled_backends, default_backend and the types there decide"
        if not self._multi and name in _FOR_SEVERAL:
            return "without enabled_backends, stores and default_store decide"
        return None

    def _store_option(self, group: str, name: str) -> str | None:
        kinds = self._types[group]
        if any(kind not in DRIVER_OPTIONS for kind in kinds):
            return None
        known: set[str] = set()
        for kind in kinds:
            known |= {spelled for option in DRIVER_OPTIONS[kind] for _, spelled in spellings(option, group)}
        if name in known:
            without = set().union(*(NO_EFFECT.get(kind, frozenset()) for kind in kinds))
            return "Fanlight does not honour this option" if name in without else None
        if any(name in RETIRED.get(kind, ()) for kind in kinds):
            return "Fanlight does not honour this option"
        common = {option.dest for option in STORE_OPTIONS} if self._multi else set()
        if name in common:
            return None
        if name in ALL_NAMES:
            return f"it is for stores of type {ALL_NAMES[name]}, and there is none"
        return _unknown(name, {*known, *common})

    def _misplaced(self, group: str, name: str) -> str:
        if group == "glance_store":
            return "with enabled_backends, each store has a group of its own"
        if group in OPTIONS or group in NOT_HONOURED:
            return "it belongs into the group of a store" if self._multi else "it belongs into [glance_store]"
        return "the group is not that of a store" + _guess(group, self._types)


def _spellings() -> dict[tuple[str, str], None]:
    found: dict[tuple[str, str], None] = {}
    for group, options in OPTIONS.items():
        for option in options:
            for where, name in spellings(option, group):
                found[where, name] = None
    return found


_SPELLINGS = _spellings()
"""(Group, name) of everything that files may say, older names included."""


def _unknown(name: str, known: Iterable[str]) -> str:
    elsewhere = [group for group, spelled in _SPELLINGS if spelled == name]
    if elsewhere:
        return f"there is no such option in this group; there is one in [{elsewhere[0]}]"
    return "there is no such option" + _guess(name, known)


def _guess(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""
