"""`[paste_deploy]`: the flavor as a mode of identity; and what a pipeline file says that we do not do.

Pipeline files are read and compared, never executed: which filters a request passes is decided by our own code.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SUFFIXES = ("caching", "cachemanagement")
_MODES = ("keystone", "http_basic", "trusted", "fakeauth")


def _flavors() -> Iterator[tuple[str, str]]:
    for plain in ("", "none", "default"):
        yield plain, "none"
        for suffix in SUFFIXES:
            yield f"{plain}+{suffix}".lstrip("+"), "none"
    for mode in _MODES:
        yield mode, mode
        for suffix in SUFFIXES:
            yield f"{mode}+{suffix}", mode


FLAVORS: dict[str, str] = dict(_flavors())
"""Flavor -> mode of identity: Glance's names, and ours with the same suffixes."""

_BEFORE = ("cors", "http_proxy_to_wsgi", "versionnegotiation", "osprofiler")
_SHIPPED: dict[str, tuple[str, ...]] = {
    "": (*_BEFORE, "unauthenticated-context"),
    "caching": (*_BEFORE, "unauthenticated-context", "cache"),
    "cachemanagement": (*_BEFORE, "unauthenticated-context", "cache", "cachemanage"),
    "keystone": (*_BEFORE, "authtoken", "context"),
    "keystone+caching": (*_BEFORE, "authtoken", "context", "cache"),
    "keystone+cachemanagement": (*_BEFORE, "authtoken", "context", "cache", "cachemanage"),
}
"""Flavor -> filters of the pipeline that Glance ships, outermost first."""

_FACTORIES: dict[str, str] = {
    "authtoken": "keystonemiddleware.auth_token:filter_factory",
    "cache": "glance.api.middleware.cache:CacheFilter.factory",
    "cachemanage": "glance.api.middleware.cache_manage:CacheManageFilter.factory",
    "context": "glance.api.middleware.context:ContextMiddleware.factory",
    "cors": "oslo_middleware.cors:filter_factory",
    "gzip": "glance.api.middleware.gzip:GzipMiddleware.factory",
    "healthcheck": "oslo_middleware:Healthcheck.factory",
    "http_proxy_to_wsgi": "oslo_middleware:HTTPProxyToWSGI.factory",
    "osprofiler": "osprofiler.web:WsgiMiddleware.factory",
    "unauthenticated-context": "glance.api.middleware.context:UnauthenticatedContextMiddleware.factory",
    "versionnegotiation": "glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory",
}
"""Filter -> its factory in shipped files, present and older."""

_OPTIONS: dict[str, frozenset[str]] = {
    "authtoken": frozenset({"delay_auth_decision"}),
    "cors": frozenset({"oslo_config_project", "oslo_config_program"}),
    "healthcheck": frozenset({"backends", "disable_by_file_path"}),
    "osprofiler": frozenset({"hmac_keys", "enabled"}),
}
"""Filter -> options that shipped files give it."""

_UNTOLD = frozenset({"healthcheck", "gzip"})
"""Filters whose presence makes no difference: older files have the first, and both are done here anyway."""


KNOWN = f"known are '' (or 'none', 'default'), {', '.join(_MODES)}, each also with +caching or +cachemanagement"
"""The flavors, in words."""


class Paste(NamedTuple):
    """What a pipeline file has to tell: warnings, and the file that switches the health check off (None: none)."""

    warnings: tuple[str, ...] = ()
    disable_file: str | None = None


def read_paste(config_file: str | None, files: Sequence[str], flavor: str) -> Paste:
    """Look at the pipeline file that Glance would execute: the one named, or the one beside the last of `files`."""
    if config_file:
        path = Path(config_file)
        if not path.is_absolute() and files and not path.is_file():
            path = Path(files[-1]).parent / path
        if not path.is_file():
            return Paste((f"[paste_deploy]config_file: {config_file} does not exist; it is not needed.",))
    else:
        path = Path(files[-1]) if files else Path("-")
        path = path.with_name(path.name.removesuffix(".conf") + "-paste.ini")
        if not path.is_file():
            return Paste()
    parser = configparser.RawConfigParser(strict=False)
    # As paste.deploy does it: names of options keep their case.
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # the documented way to say so
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        return Paste((f"{path} is not executed, and cannot be read as a pipeline file ({type(error).__name__}).",))
    found = _differences(parser, flavor)
    told = (f"{path} is not executed. It differs from the one that Glance ships: {'; '.join(found)}.",) if found else ()
    return Paste(told, _disable_file(parser))


def _differences(parser: configparser.RawConfigParser, flavor: str) -> list[str]:
    name = "" if flavor in ("none", "default") else flavor
    pipeline = _pipeline(parser, name)
    shipped = _SHIPPED.get(name)
    if pipeline is None:
        return [] if shipped is None else [f"it has no pipeline for flavor {name!r}"]
    if shipped is None:
        return [f"it has a pipeline of its own for flavor {name!r} ({' '.join(pipeline)})"]
    parts = [part for part in pipeline[:-1] if part not in _UNTOLD]
    found = [f"{_described(parser, part)} is added" for part in parts if part not in shipped]
    found += [f"{part} is missing" for part in shipped if part not in parts]
    if not found and tuple(parts) != shipped:
        found.append(f"the order is {' '.join(parts)}")
    for part in pipeline[:-1]:
        found += _changed(parser, part)
    return found


def _pipeline(parser: configparser.RawConfigParser, flavor: str) -> list[str] | None:
    """Filters and application of a flavor, in either layout: a pipeline of its own, or a key of `[composite:api]`."""
    app = f"glance-api-{flavor}" if flavor else "glance-api"
    for _ in range(5):  # composites may stand in each other's place, but not for ever
        if parser.has_section(f"pipeline:{app}"):
            return parser.get(f"pipeline:{app}", "pipeline", fallback="").split()
        section = f"composite:{app}"
        if not parser.has_section(section):
            return None
        if parser.get(section, "paste.composite_factory", fallback="").strip() == "glance.api:pipeline_factory":
            words = parser.get(section, flavor or "default", fallback="").split()
            return words or None
        app = parser.get(section, "/", fallback="").strip()
    return None


def _described(parser: configparser.RawConfigParser, part: str) -> str:
    factory = _values(parser, part).get("paste.filter_factory")
    return f"{part} ({factory})" if factory else part


def _changed(parser: configparser.RawConfigParser, part: str) -> list[str]:
    """What is unusual about a filter that shipped files have, too. Values are not told: they may be passwords."""
    values = _values(parser, part)
    if part not in _FACTORIES or not values:
        return []
    found = []
    factory = values.get("paste.filter_factory", values.get("use", ""))
    if factory != _FACTORIES[part] and not factory.startswith("egg:"):
        found.append(f"{part} is {factory or 'without factory'}")
    extra = sorted(values.keys() - _OPTIONS.get(part, frozenset()) - {"paste.filter_factory", "use"})
    if extra:
        found.append(f"{part} has options of its own ({', '.join(extra)})")
    if part == "authtoken" and values.get("delay_auth_decision", "true").lower() not in ("true", "1", "yes", "on"):
        found.append("authtoken has delay_auth_decision off")
    return found


def _values(parser: configparser.RawConfigParser, part: str) -> Mapping[str, str]:
    section = f"filter:{part}"
    if not parser.has_section(section):
        return {}
    common = parser.defaults()
    return {key: value.strip() for key, value in parser.items(section) if key not in common}


def _disable_file(parser: configparser.RawConfigParser) -> str | None:
    """The file with which operators take a node out of the load balancer; named by shipped pipeline files."""
    for section in ("app:healthcheck", "filter:healthcheck"):
        if "disable_by_file" in parser.get(section, "backends", fallback="").replace(",", " ").split():
            path = parser.get(section, "disable_by_file_path", fallback="").strip()
            if path:
                return path
    return None
