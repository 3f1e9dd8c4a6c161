"""Which stores a configuration makes: several, the classic form, or none named."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.settings.drivers import DRIVER_OPTIONS
from tests.settings.conftest import Load, Refused, told

SEVERAL = """
[DEFAULT]
enabled_backends = Fast:rbd, local:file, web:http, old:filesystem
[glance_store]
default_backend = local
[fast]
store_description = quick, and dear
weight = 10
rbd_store_pool = fast
[local]
filesystem_store_datadir = /srv/images
filesystem_store_file_perm = 640
filesystem_thin_provisioning = true
[old]
filesystem_store_datadirs = /a:10
filesystem_store_datadirs = /b
[web]
http_proxy_information = http:proxy:3128, https:proxy:3129
[backend_defaults]
rbd_store_chunk_size = 4
rbd_store_pool = common
weight = 1
[os_glance_staging_store]
filesystem_store_datadir = /srv/staging
"""


def test_several(loaded: Load) -> None:
    found = loaded(SEVERAL)
    assert found.stores.multi_store
    assert found.stores.default == "local"
    fast, local, web, old = found.stores.stores
    assert (fast.id, fast.type, fast.description, fast.weight) == ("Fast", "rbd", "quick, and dear", 10)
    assert fast.options["rbd_store_pool"] == "fast"
    assert fast.options["rbd_store_chunk_size"] == 4
    assert fast.options["rbd_store_ceph_conf"] == ""
    assert (local.id, local.type, local.description, local.weight) == ("local", "file", None, 1)
    assert local.options["filesystem_store_datadir"] == "/srv/images"
    assert local.options["filesystem_store_file_perm"] == 640
    assert local.options["filesystem_thin_provisioning"] is True
    assert web.options["http_proxy_information"] == {"http": "proxy:3128", "https": "proxy:3129"}
    assert old.type == "file"
    assert old.options["filesystem_store_datadirs"] == ["/a:10", "/b"]
    assert found.staging.staging.options["filesystem_store_datadir"] == "/srv/staging"
    assert found.staging.tasks.options["filesystem_store_datadir"] == "/var/lib/glance/os_glance_tasks_store"


@pytest.mark.parametrize("kind", sorted(DRIVER_OPTIONS))
def test_every_type_gets_all_its_options_typed(loaded: Load, kind: str) -> None:
    found = loaded(f"[DEFAULT]\nenabled_backends = one:{kind}\n[glance_store]\ndefault_backend = one\n")
    options = found.stores.stores[0].options
    assert set(options) == {option.dest for option in DRIVER_OPTIONS[kind]}
    for option in DRIVER_OPTIONS[kind]:
        assert options[option.dest] == option.default, option.dest


def test_the_classic_form(loaded: Load) -> None:
    found = loaded(
        "[glance_store]\nstores = glance.store.filesystem.Store, http, rbd, glance.store.vmware_datastore.Store, file\n"
        "default_store = rbd\nfilesystem_store_datadir = /srv/images\nrbd_store_pool = p\nvmware_datastores = d:s\n"
    )
    assert not found.stores.multi_store
    assert [(store.id, store.type) for store in found.stores.stores] == [
        ("file", "file"),
        ("http", "http"),
        ("rbd", "rbd"),
        ("vmware", "vmware"),
    ]
    assert found.stores.default == "rbd"
    assert found.stores.stores[0].options["filesystem_store_datadir"] == "/srv/images"
    assert found.stores.stores[3].options["vmware_datastores"] == ["d:s"]


@pytest.mark.parametrize(
    "text", ["", "[glance_store]\n", "[DEFAULT]\nenabled_backends =\n", "[database]\nconnection = x\n"]
)
def test_a_file_that_says_nothing_of_stores_means_what_it_means_to_glance(loaded: Load, text: str) -> None:
    found = loaded(text)
    assert not found.stores.multi_store
    assert [store.type for store in found.stores.stores] == ["file", "http"]
    assert found.stores.default == "file"
    assert found.stores.stores[0].options["filesystem_store_datadir"] == "/var/lib/glance/images"
    assert found.staging.staging.options["filesystem_store_datadir"] == "/tmp/staging/"


@pytest.mark.parametrize("text", ["", "[fanlight]\ndata_dir = /srv/x\n"])
def test_unless_a_data_folder_is_named(loaded: Load, text: str) -> None:
    found = loaded(text, **({} if text else {"data_dir": "/srv/x"}))
    assert found.stores.multi_store
    assert found.stores.stores[0].options["filesystem_store_datadir"] == "/srv/x/images"
    assert told(found, "No store is configured")


def test_stores_of_a_file_win_over_a_data_folder(loaded: Load) -> None:
    found = loaded("[glance_store]\nfilesystem_store_datadir = /srv/images\n", data_dir="/srv/x")
    assert found.stores.stores[0].options["filesystem_store_datadir"] == "/srv/images"
    assert found.database.connection == "sqlite:////srv/x/fanlight.db"


def test_stores_from_the_environment(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_DEFAULT__ENABLED_BACKENDS", "a:file")
    monkeypatch.setenv("OS_GLANCE_STORE__DEFAULT_BACKEND", "a")
    monkeypatch.setenv("OS_A__FILESYSTEM_STORE_DATADIR", "/srv/a")
    assert loaded("").stores.stores[0].options["filesystem_store_datadir"] == "/srv/a"


@pytest.mark.parametrize("name", ["swift.conf", "more/swift.conf", "missing.conf", "/elsewhere/swift.conf"])
def test_accounts_of_swift_lie_beside_the_configuration(
    loaded: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A service seldom runs in the folder of its configuration."""
    monkeypatch.chdir("/")
    (tmp_path / "more").mkdir()
    for place in ("swift.conf", "more/swift.conf"):
        (tmp_path / place).touch()
    found = loaded(
        "[DEFAULT]\nenabled_backends = a:swift\n[glance_store]\ndefault_backend = a\n"
        f"[backend_defaults]\nswift_store_config_file = {name}\n"
    )
    there = f"{tmp_path}/{name}" if (tmp_path / name).is_relative_to(tmp_path) and "missing" not in name else name
    assert found.stores.stores[0].options["swift_store_config_file"] == there


def test_two_ways_to_say_the_folder(loaded: Load) -> None:
    found = loaded("[glance_store]\nfilesystem_store_datadir = /a\nfilesystem_store_datadirs = /b\n")
    assert told(found, "filesystem_store_datadir has no effect")
    assert not told(loaded("[glance_store]\nfilesystem_store_datadirs = /b\n"), "filesystem_store_datadir")


WRONG = [
    ("[DEFAULT]\nenabled_backends = a:fil\n", "[DEFAULT]enabled_backends = a:fil is wrong: there is no type 'fil'"),
    ("[DEFAULT]\nenabled_backends = a\n", "[DEFAULT]enabled_backends = a is wrong: it must be pairs"),
    ("[DEFAULT]\nenabled_backends = :file\n", "[DEFAULT]enabled_backends = :file is wrong"),
    ("[DEFAULT]\nenabled_backends = a:file, a:http\n", "[DEFAULT]enabled_backends"),
    ("[DEFAULT]\nenabled_backends = os_glance_x:file\n", "ids that begin with os_glance_ are reserved"),
    ("[DEFAULT]\nenabled_backends = DEFAULT:file\n", "[DEFAULT]enabled_backends = DEFAULT:file is wrong"),
    ("[DEFAULT]\nenabled_backends = a:file\n", "[glance_store]default_backend is not set: name one of a."),
    (
        "[DEFAULT]\nenabled_backends = a:file\n[glance_store]\ndefault_backend = b\n",
        "[glance_store]default_backend = b is wrong: it must be one of a.",
    ),
    (
        "[DEFAULT]\nenabled_backends = a:rbd\n[glance_store]\ndefault_backend = a\n[a]\nrbd_store_chunk_size = 0\n",
        "[a]rbd_store_chunk_size = 0 is wrong: it must be a whole number of at least 1.",
    ),
    (
        "[DEFAULT]\nenabled_backends = a:rbd\n[glance_store]\ndefault_backend = a\n[backend_defaults]\n"
        "rbd_store_chunk_size = x\n",
        "[backend_defaults]rbd_store_chunk_size = x is wrong",
    ),
    ("[glance_store]\nstores = file, foo\n", "[glance_store]stores = file, foo is wrong: there is no type 'foo'"),
    (
        "[glance_store]\ndefault_store = rbd\n",
        "[glance_store]default_store = rbd is wrong: its type rbd is not in stores",
    ),
    ("[glance_store]\ndefault_store = local\n", "[glance_store]default_store = local is wrong: it must be one of"),
    ("[glance_store]\n[DEFAULT]\nnode_staging_uri = /tmp\n", "[DEFAULT]node_staging_uri = /tmp is wrong"),
]


@pytest.mark.parametrize(("text", "line"), WRONG)
def test_what_is_refused(refused: Refused, text: str, line: str) -> None:
    assert line in refused(text)
