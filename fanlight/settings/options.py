"""THE table of options that are honoured: group -> options. What a file may say, and what documentation is made of.

Most are declared by the fields of the settings classes; here are those that decide something instead of being a field.
Options of stores are in drivers.py, options that are known and not honoured in known.py.
"""

from __future__ import annotations

from oslo_config import cfg

from fanlight.settings import (
    ApiSettings,
    CorsSettings,
    DatabaseSettings,
    FilteringSettings,
    FormatSettings,
    IdentitySettings,
    LoggingSettings,
    PolicySettings,
    ServerSettings,
)
from fanlight.settings.declaring import declared
from fanlight.settings.drivers import SCHEMES

CLASSES = (
    ServerSettings,
    ApiSettings,
    FormatSettings,
    FilteringSettings,
    DatabaseSettings,
    IdentitySettings,
    PolicySettings,
    CorsSettings,
    LoggingSettings,
)
"""The classes whose fields are options."""

GROUPS = {
    "DEFAULT": "Address, limits, logs, and which stores there are.",
    "fanlight": "What only Fanlight has.",
    "paste_deploy": "How callers are identified.",
    "database": "Where the catalogue is.",
    "glance_store": "Where new data goes. In the classic form (without enabled_backends), options of the stores, too.",
    "image_format": "What images may be.",
    "import_filtering_opts": "Which URLs clients may name as the place of data. Lists stand in brackets: [a,b].",
    "oslo_policy": "Who may do what.",
    "cors": "Which web pages may read answers.",
    "healthcheck": "What a load balancer is told.",
    "oslo_middleware": "What a proxy in front is believed.",
}
"""Group -> what it is about; in the order of the documentation."""

KEYSTONE = "keystone_authtoken"
"""The group that goes to keystonemiddleware as it stands."""

_DECIDING: list[tuple[str, cfg.Opt]] = [
    (
        "DEFAULT",
        cfg.DictOpt(
            "enabled_backends",
            help="Stores as `id:type` pairs; each id is a group with that store's options. Unset or empty: the "
            "classic form, with `stores` and `default_store`.",
        ),
    ),
    (
        "DEFAULT",
        cfg.StrOpt(
            "log_dir",
            deprecated_opts=[cfg.DeprecatedOpt("log-dir"), cfg.DeprecatedOpt("logdir")],
            help="Folder of log_file where that is relative; without a log_file, the log is fanlight.log there.",
        ),
    ),
    (
        "DEFAULT",
        cfg.StrOpt(
            "node_staging_uri",
            default="file:///tmp/staging/",
            help="Folder for staged data, as a file:// URI, in the classic form.",
        ),
    ),
    ("task", cfg.StrOpt("work_dir", help="Folder for the work of tasks, in the classic form.")),
    (
        "paste_deploy",
        cfg.StrOpt(
            "flavor",
            help="How callers are identified: empty, `none` or `default` (no authentication), `keystone`, "
            "`http_basic`, `trusted` or `fakeauth`, each also with `+caching` or `+cachemanagement` (for the first: "
            "`caching`, `cachemanagement`). There is no cache yet: the suffix changes nothing.",
        ),
    ),
    (
        "paste_deploy",
        cfg.StrOpt(
            "config_file",
            help="Pipeline file of Glance; by default the last configuration file's name with -paste.ini for .conf. "
            "It is compared with the shipped one and never executed.",
        ),
    ),
    ("glance_store", cfg.StrOpt("default_backend", help="Id of the store for new data, with enabled_backends.")),
    (
        "glance_store",
        cfg.ListOpt("stores", default=["file", "http"], help="Types of the stores, in the classic form."),
    ),
    (
        "glance_store",
        cfg.StrOpt(
            "default_store",
            default="file",
            choices=list(SCHEMES),
            help="Scheme of the store for new data, in the classic form.",
        ),
    ),
]


def _table() -> dict[str, list[cfg.Opt]]:
    found: dict[str, list[cfg.Opt]] = {group: [] for group in GROUPS}
    for kind in CLASSES:
        for one in declared(kind):
            found.setdefault(one.group, []).append(one.option)
    for group, option in _DECIDING:
        found.setdefault(group, []).append(option)
    return found


OPTIONS: dict[str, list[cfg.Opt]] = _table()
"""Group -> options that are read."""


def spellings(option: cfg.Opt, group: str) -> list[tuple[str, str]]:
    """(group, name) under which a file may have the option: the present ones first, then older ones."""
    old = [(one.group or group, one.name) for one in option.deprecated_opts]
    # oslo.config adds the form with _ to each with -.
    return list(dict.fromkeys([(group, option.dest), *((where, name or option.dest) for where, name in old)]))
