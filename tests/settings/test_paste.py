"""Flavors, and pipeline files: compared with the shipped one, named where they differ, never executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.settings.flavors import FLAVORS
from tests.settings.conftest import Load, told

FILTERS = """
[app:healthcheck]
paste.app_factory = oslo_middleware:Healthcheck.app_factory
backends = disable_by_file
disable_by_file_path = /etc/glance/healthcheck_disable
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
delay_auth_decision = true
[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
[filter:cors]
paste.filter_factory =  oslo_middleware.cors:filter_factory
oslo_config_project = glance
oslo_config_program = glance-api
[filter:osprofiler]
paste.filter_factory = osprofiler.web:WsgiMiddleware.factory
[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory
"""

PRESENT = """
[composite:glance-api]
paste.composite_factory = glance.api:root_app_factory
/: api
/healthcheck: healthcheck
[composite:glance-api-keystone]
paste.composite_factory = glance.api:root_app_factory
/: api
/healthcheck: healthcheck
[composite:glance-api-keystone+caching]
paste.composite_factory = glance.api:root_app_factory
/: api
[composite:api]
paste.composite_factory = glance.api:pipeline_factory
default = cors http_proxy_to_wsgi versionnegotiation osprofiler unauthenticated-context rootapp
keystone = cors http_proxy_to_wsgi versionnegotiation osprofiler authtoken context rootapp
keystone+caching = cors http_proxy_to_wsgi versionnegotiation osprofiler authtoken context cache rootapp
"""

OLDER = """
[pipeline:glance-api]
pipeline = cors healthcheck http_proxy_to_wsgi versionnegotiation osprofiler unauthenticated-context rootapp
[pipeline:glance-api-keystone]
pipeline = cors healthcheck http_proxy_to_wsgi versionnegotiation osprofiler authtoken context rootapp
"""


@pytest.mark.parametrize(
    ("flavor", "mode"),
    [
        ("", "none"),
        ("none", "none"),
        ("default", "none"),
        ("caching", "none"),
        ("cachemanagement", "none"),
        ("keystone", "keystone"),
        ("keystone+caching", "keystone"),
        ("keystone+cachemanagement", "keystone"),
        ("http_basic", "http_basic"),
        ("http_basic+caching", "http_basic"),
        ("trusted", "trusted"),
        ("trusted+cachemanagement", "trusted"),
        ("fakeauth", "fakeauth"),
        ("fakeauth+cachemanagement", "fakeauth"),
    ],
)
def test_flavors(loaded: Load, flavor: str, mode: str) -> None:
    found = loaded(f"[paste_deploy]\nflavor = {flavor}\n")
    assert found.identity.mode == mode
    assert bool(told(found, "there is no cache yet")) == ("cach" in flavor)


@pytest.mark.parametrize(
    "flavor", ["Keystone", "keystone+", "keystone+cache", "+keystone", "basic", "caching+keystone"]
)
def test_unknown_flavors_are_not_there(flavor: str) -> None:
    assert flavor not in FLAVORS


@pytest.mark.parametrize("flavor", ["", "keystone", "keystone+caching", "trusted"])
@pytest.mark.parametrize(
    "layout", [PRESENT, OLDER.replace("osprofiler authtoken context", "osprofiler authtoken context")]
)
def test_a_shipped_file_is_nothing_to_tell(loaded: Load, tmp_path: Path, flavor: str, layout: str) -> None:
    if layout is not PRESENT and "+" in flavor:
        layout += (
            OLDER.split("[pipeline:glance-api-keystone]")[1]
            .replace("\npipeline", f"[pipeline:glance-api-{flavor}]\npipeline")
            .replace("context rootapp", "context cache rootapp")
        )
    (tmp_path / "glance-api-paste.ini").write_text(layout + FILTERS)
    assert not told(loaded(f"[paste_deploy]\nflavor = {flavor}\n"), "paste.ini")


KEYSTONE = "keystone = cors http_proxy_to_wsgi versionnegotiation osprofiler authtoken context rootapp"
CHANGES = [
    (KEYSTONE, KEYSTONE.replace("authtoken", "authtoken ratelimit"), "ratelimit is added"),
    (
        KEYSTONE,
        KEYSTONE.replace("authtoken", "authtoken watcher") + "\n[filter:watcher]\npaste.filter_factory = a.b:c\n",
        "watcher (a.b:c) is added",
    ),
    (KEYSTONE, KEYSTONE.replace(" authtoken", ""), "authtoken is missing"),
    (KEYSTONE, KEYSTONE.replace("authtoken context", "context authtoken"), "the order is cors"),
    (KEYSTONE, "", "it has no pipeline for flavor 'keystone'"),
    ("delay_auth_decision = true", "delay_auth_decision = false", "authtoken has delay_auth_decision off"),
    ("delay_auth_decision = true", "admin_password = planted", "authtoken has options of its own (admin_password)"),
    ("keystonemiddleware.auth_token:filter_factory", "site.auth:make", "authtoken is site.auth:make"),
]


@pytest.mark.parametrize(("old", "new", "line"), CHANGES)
def test_a_changed_file_is_told(loaded: Load, tmp_path: Path, old: str, new: str, line: str) -> None:
    text = PRESENT + FILTERS
    assert old in text
    (tmp_path / "glance-api-paste.ini").write_text(text.replace(old, new, 1))
    found = told(loaded("[paste_deploy]\nflavor = keystone\n"), "is not executed")
    assert len(found) == 1
    assert line in found[0]
    assert "planted" not in found[0]
    # Other flavors' pipelines are no matter.
    if "filter" not in old and old == KEYSTONE:
        assert not told(loaded("[paste_deploy]\nflavor =\n"), "is not executed")


def test_a_pipeline_of_ones_own_for_a_flavor_of_ours(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "glance-api-paste.ini").write_text("[pipeline:glance-api-trusted]\npipeline = front rootapp\n")
    assert told(
        loaded("[paste_deploy]\nflavor = trusted\n"), "a pipeline of its own for flavor 'trusted' (front rootapp)"
    )


def test_the_file_may_be_named(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "mine.ini").write_text("[pipeline:glance-api]\npipeline = rootapp\n")
    assert told(loaded("[paste_deploy]\nconfig_file = mine.ini\n"), "cors is missing")
    assert told(loaded(f"[paste_deploy]\nconfig_file = {tmp_path}/mine.ini\n"), "cors is missing")
    assert told(loaded("[paste_deploy]\nconfig_file = none.ini\n"), "none.ini does not exist; it is not needed")


@pytest.mark.parametrize(
    "data", [b"no section\n", b"[a]\n\xff\xfe = 1\n", b"[composite:glance-api]\n/: glance-api\n/ = glance-api\n"]
)
def test_strange_files_do_not_stop_the_start(loaded: Load, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "glance-api-paste.ini").write_bytes(data)
    assert told(loaded(""), "is not executed")


def test_what_switches_the_health_check_off_is_taken_over(loaded: Load, tmp_path: Path) -> None:
    named = "[healthcheck]\ndisable_by_file_path = /from/the/configuration\n"
    assert loaded("").server.disable_by_file_path is None
    assert loaded(named).server.disable_by_file_path == "/from/the/configuration"
    (tmp_path / "glance-api-paste.ini").write_text(PRESENT + FILTERS)
    assert loaded(named).server.disable_by_file_path == "/etc/glance/healthcheck_disable"
    (tmp_path / "glance-api-paste.ini").write_text(PRESENT + FILTERS.replace("backends =", "backends = other"))
    assert loaded("").server.disable_by_file_path == "/etc/glance/healthcheck_disable"
    (tmp_path / "glance-api-paste.ini").write_text(PRESENT + FILTERS.replace("disable_by_file\n", "other\n"))
    assert loaded("").server.disable_by_file_path is None


def test_the_file_that_glance_ships(loaded: Load, tmp_path: Path, glance: Path) -> None:
    shipped = (glance / "etc" / "glance" / "glance-api-paste.ini").read_text()
    (tmp_path / "glance-api-paste.ini").write_text(shipped)
    for flavor in FLAVORS:
        assert not told(loaded(f"[paste_deploy]\nflavor = {flavor}\n"), "paste.ini"), flavor
