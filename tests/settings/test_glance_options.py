"""Every option that the real Glance and its libraries declare is honoured, or known and named: none is a surprise."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from fanlight.settings.drivers import DRIVER_OPTIONS
from fanlight.settings.known import NOT_HONOURED
from fanlight.settings.options import KEYSTONE, OPTIONS

NAMESPACES = (
    "glance.api glance.store glance.scrubber glance.cache glance.manage oslo.concurrency oslo.log oslo.messaging "
    "oslo.db oslo.policy keystonemiddleware.auth_token oslo.middleware.cors oslo.middleware.http_proxy_to_wsgi "
    "oslo.middleware.healthcheck oslo.limit oslo.reports castellan.config osprofiler"
)
PROGRAM = """
import importlib.metadata, json, sys
found = []
for name in sys.argv[1].split():
    (entry,) = importlib.metadata.entry_points(group="oslo.config.opts", name=name)
    for group, options in entry.load()():
        for one in options:
            default = one.default if isinstance(one.default, (str, int, float, bool, list, dict, type(None))) else None
            found.append([getattr(group, "name", group) or "DEFAULT", one.dest, one.multi, default])
print(json.dumps(found))
"""
OTHER_DEFAULTS = {"bind_host", "connection", "control_exchange", "allowed_origin"}
"""Names whose default differs on purpose, or is filled in by Glance's own code."""
CORS = {"allow_methods", "allow_headers", "expose_headers"}
"""Glance gives these defaults of its own, which the library does not know."""

Declared = list[tuple[str, str, bool, object]]


@pytest.fixture(scope="module")
def theirs(glance: Path) -> Declared:
    done = subprocess.run(
        [str(glance / "bin" / "python"), "-c", PROGRAM, NAMESPACES],
        capture_output=True,
        check=True,
        timeout=120,
        text=True,
    )
    found = [(group, name, multi, default) for group, name, multi, default in json.loads(done.stdout)]
    assert len(found) > 400
    return found


def test_every_option_is_known(theirs: Declared) -> None:
    drivers = {option.dest for options in DRIVER_OPTIONS.values() for option in options}
    unknown = [
        (group, name)
        for group, name, _, _ in theirs
        if group != KEYSTONE
        and name not in {option.dest for option in OPTIONS.get(group, [])}
        and name not in NOT_HONOURED.get(group, ())
        and not (name in drivers and group == "glance_store")
    ]
    assert unknown == []


def test_defaults_are_the_same(theirs: Declared) -> None:
    ours = {(group, option.dest): option for group, options in OPTIONS.items() for option in options}
    ours |= {("glance_store", option.dest): option for options in DRIVER_OPTIONS.values() for option in options}
    different = {}
    for group, name, multi, default in theirs:
        option = ours.get((group, name))
        if option is None or name in OTHER_DEFAULTS or (group == "cors" and name in CORS):
            continue
        assert option.multi == multi, name
        if option.default != default:
            different[f"[{group}]{name}"] = (option.default, default)
    assert different == {}
