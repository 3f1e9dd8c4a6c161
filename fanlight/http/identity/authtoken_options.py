"""The group [keystone_authtoken] as keystonemiddleware wants it: an oslo.config object, filled from our settings.

The object is the middleware's own; it would otherwise read oslo.config's process-wide one. Options of the
authentication plugin (`auth_type`) live in the same group under the plugin's names.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from keystoneauth1 import exceptions as auth_errors
from keystoneauth1 import loading
from keystonemiddleware import opts as middleware_opts
from oslo_config import cfg

from fanlight.errors import SettingsError

LOG = logging.getLogger(__name__)

GROUP = "keystone_authtoken"

OURS: Mapping[str, Any] = {
    # Without a limit a Keystone that hangs would hold a thread for good.
    "http_connect_timeout": 5,
    "http_request_max_retries": 1,
    # Access rules of application credentials are refused unless the service knows its own type.
    "service_type": "image",
}
"""Values for options that are not set, where the middleware's own default would not do."""

FORCED: Mapping[str, Any] = {"delay_auth_decision": True}
"""Glance's shipped pipeline sets it beside the configuration file: we refuse, the middleware only finds out."""


def as_config(options: Mapping[str, Any]) -> cfg.ConfigOpts:
    """`options` (names and values as they stand in the file, or typed) as an oslo.config object.

    Raises SettingsError for values of a wrong type, and when no authentication plugin is named.
    """
    conf = cfg.ConfigOpts()
    conf(args=[], project="fanlight", default_config_files=[], default_config_dirs=[])
    given = {name.replace("-", "_"): value for name, value in options.items() if value is not None and value != ""}
    if "auth_section" in given:
        raise SettingsError(f"[{GROUP}] auth_section is not supported: move the options of that section into this one.")
    known = _register(conf, given.get("auth_type") or given.get("auth_plugin"))
    values = {**OURS, **_by_name(given, known), **FORCED}
    for name, value in values.items():
        _set(conf, known[name], value)
    return conf


def memcached_address(text: str) -> tuple[int, Any]:
    """Family and address of the socket that an entry of memcached_servers stands for, as the middleware's client
    understands it. Raises SettingsError.
    """
    import memcache

    try:
        [server] = memcache.Client([text]).servers
    except ValueError:
        raise SettingsError(
            f"[{GROUP}] memcached_servers: {text} is none of host:port, inet6:[address]:port and unix:path."
        ) from None
    return server.family, server.address


def _set(conf: cfg.ConfigOpts, opt: cfg.Opt, value: object) -> None:
    """Set and read back, in words that never show the value: it may be a password."""
    try:
        conf.set_override(opt.dest, value, GROUP)
        conf[GROUP][opt.dest]
    except cfg.NoSuchOptError:
        raise SettingsError(
            f"[{GROUP}] {opt.dest} refers with $ to an option that is not there; a dollar sign is written $$."
        ) from None
    except ValueError:
        raise SettingsError(f"[{GROUP}] {opt.dest}: the value is not of the type {opt.type}.") from None


def _register(conf: cfg.ConfigOpts, plugin: str | None) -> dict[str, Any]:
    """Register all options of the middleware and of the plugin; every spelling of a name -> option."""
    if not plugin:
        raise SettingsError(f"[{GROUP}] auth_type is not set: Keystone cannot be asked without it (usually: password).")
    try:
        plugin_opts = loading.get_auth_plugin_conf_options(plugin)
    except auth_errors.NoMatchingPlugin:
        raise SettingsError(f"[{GROUP}] auth_type = {plugin}: there is no such plugin.") from None
    opts = [*dict(middleware_opts.list_auth_token_opts())[GROUP], *plugin_opts]
    conf.register_opts(opts, group=GROUP)
    known: dict[str, Any] = {}
    for opt in opts:
        for name in (opt.dest, opt.name, *(old.name for old in opt.deprecated_opts)):
            known.setdefault(name.replace("-", "_"), opt)
    return known


def _by_name(given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the name that the middleware uses; what it does not know is named in a warning."""
    for name in given.keys() - known.keys():
        LOG.warning("[%s] %s: unknown to keystonemiddleware and to the plugin; ignored.", GROUP, name)
    return {known[name].dest: value for name, value in given.items() if name in known}
