"""Nothing that an operator wrote is ignored in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.settings import Settings
from fanlight.settings.known import INSTEAD, NOT_HONOURED
from fanlight.settings.load import load
from fanlight.settings.options import OPTIONS
from tests.cli.command import fanlight
from tests.settings.conftest import Load, told

STORES = "[DEFAULT]\nenabled_backends = a:rbd, b:file\n[glance_store]\ndefault_backend = a\n"

CASES = [
    ("[DEFAULT]\ndelayed_delete = true\n", "[DEFAULT]delayed_delete has no effect: data is deleted at once."),
    ("[DEFAULT]\nscrub_time = 5\n", "[DEFAULT]scrub_time has no effect: Fanlight does not honour this option."),
    ("[DEFAULT]\nsyslog-log-facility = x\n", "[DEFAULT]syslog-log-facility has no effect: Fanlight does not"),
    ("[DEFAULT]\nbacklog = 4096\n", "[DEFAULT]backlog has no effect"),
    ("[DEFAULT]\nregistry_host = x\n", "[DEFAULT]registry_host has no effect"),
    ("[DEFAULT]\ncert_file = x\n", "[DEFAULT]cert_file has no effect: let a proxy in front speak TLS."),
    ("[oslo_policy]\nenforce_scope = false\n", "[oslo_policy]enforce_scope has no effect: the scope"),
    ("[task]\neventlet_executor_pool_size = 5\n", "[task]eventlet_executor_pool_size has no effect"),
    ("[oslo_messaging_rabbit]\nssl = true\n", "[oslo_messaging_rabbit]ssl has no effect"),
    (
        "[DEFAULT]\nbind_hots = x\n",
        "[DEFAULT]bind_hots has no effect: there is no such option; did you mean bind_host?",
    ),
    ("[DEFAULT]\nbind-host = x\n", "did you mean bind_host?"),
    ("[DEFAULT]\nzzz = x\n", "[DEFAULT]zzz has no effect: there is no such option."),
    (
        "[databse]\nconnection = x\n",
        "[databse]connection has no effect: there is no such group; did you mean database?",
    ),
    ("[nonsense]\na = b\n", "[nonsense]a has no effect: there is no such group."),
    (
        "[DEFAULT]\nflavor = x\n",
        "[DEFAULT]flavor has no effect: there is no such option in this group; there is one in",
    ),
    ("[DEFAULT]\nfilesystem_store_datadir = /x\n", "it belongs into [glance_store]"),
    ("[cors.web]\nallowed_origin = x\n", "[cors.web]allowed_origin has no effect: only the group [cors] is honoured."),
    ("[keystone_authtoken]\nauth_url = x\n", "[keystone_authtoken] has no effect"),
    ("[paste_deploy]\nflavor = keystone+caching\n", "there is no cache yet"),
    ("[glance_store]\ndefault_backend = x\n", "[glance_store]default_backend has no effect: without enabled_backends"),
    ("[glance_store]\nswift_store_user = x\n", "it is for stores of type swift, and there is none"),
    ("[glance_store]\nfilesystem_store_datdir = x\n", "did you mean filesystem_store_datadir?"),
    ("[glance_store]\nweight = 1\n", "[glance_store]weight has no effect"),
    ("[glance_store]\nfilesystem_store_chunk_size = 3\n", "[glance_store]filesystem_store_chunk_size has no effect"),
    (
        "[glance_store]\nstores = s3, file\ns3_store_enable_proxy = 1\n",
        "[glance_store]s3_store_enable_proxy has no effect",
    ),
    ("[backend_defaults]\nrbd_store_pool = x\n", "[backend_defaults]rbd_store_pool has no effect"),
    (STORES + "filesystem_store_datadir = /x\n", "with enabled_backends, each store has a group of its own"),
    (STORES + "stores = file\n", "[glance_store]stores has no effect: with enabled_backends"),
    (STORES + "[a]\nfilesystem_store_datadir = /x\n", "[a]filesystem_store_datadir has no effect: it is for stores of"),
    (STORES + "[b]\nfilesystem_store_chunk_size = 1\n", "[b]filesystem_store_chunk_size has no effect"),
    (STORES + "[c]\nrbd_store_pool = x\n", "[c]rbd_store_pool has no effect: the group is not that of a store"),
    (STORES + "[a]\nrbd_store_pol = x\n", "did you mean rbd_store_pool?"),
    (STORES + "[backend_defaults]\nswift_store_user = x\n", "it is for stores of type swift, and there is none"),
    (STORES + "[os_glance_tasks_store]\nfilesystem_store_datadir = x\n", "there is no import yet"),
    (STORES + "[os_glance_tasks_store]\nfilesystem_store_datadr = x\n", "did you mean filesystem_store_datadir?"),
]


@pytest.mark.parametrize(("text", "line"), CASES)
def test_what_has_no_effect_is_named(loaded: Load, text: str, line: str) -> None:
    found = loaded(text)
    assert [warning for warning in found.warnings if line in warning], found.warnings


def test_a_folder_of_policies_that_is_not_there(loaded: Load, tmp_path: Path) -> None:
    text = f"[oslo_policy]\npolicy_dirs = {tmp_path}/none\n"
    assert f"[oslo_policy]policy_dirs: {tmp_path}/none does not exist; nothing is read there." in loaded(text).warnings


def test_variables_without_effect_are_named(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OS_DEFAULT__WORKERZ", "OS_DEFAULT__WORKERS", "OS_AUTH_URL", "OS_OTHER__THING", "OS_FANLIGHT__HEAD"):
        monkeypatch.setenv(name, "3")
    found = [line for line in loaded("").warnings if line.startswith("OS_")]
    assert found == [
        "OS_DEFAULT__WORKERZ has no effect: there is no such option; did you mean workers?",
        "OS_FANLIGHT__HEAD has no effect: there is no such option.",
    ]


def test_the_file_is_named(loaded: Load) -> None:
    assert told(loaded("[DEFAULT]\nscrub_time = 5\n"), "scrub_time")[0].startswith(
        "glance-api.conf: [DEFAULT]scrub_time"
    )


def test_values_are_not_repeated(loaded: Load) -> None:
    found = loaded("[DEFAULT]\ntransport_url = rabbit://u:planted@h\nadmin_passwort = planted\n")
    assert told(found, "transport_url")
    assert told(found, "admin_passwort")
    assert "planted" not in " ".join(found.warnings)


def test_every_option_known_and_not_honoured_is_named(tmp_path: Path) -> None:
    lines = []
    for group, names in NOT_HONOURED.items():
        lines += [f"[{group}]", *(f"{name} = {1 if name.endswith('quota') else 'file:///x'}" for name in sorted(names))]
    file = tmp_path / "glance-api.conf"
    file.write_text("\n".join(lines) + "\n")
    warnings = load([str(file)]).warnings
    for group, names in NOT_HONOURED.items():
        for name in names:
            found = [line for line in warnings if f"[{group}]{name} has no effect" in line]
            assert len(found) == 1, (group, name)
            assert "did you mean" not in found[0]


def test_hints_are_for_options_that_are_not_honoured() -> None:
    for group, name in INSTEAD:
        assert name in NOT_HONOURED[group], (group, name)


def test_no_option_is_both_read_and_declared_without_effect() -> None:
    pending = {
        ("DEFAULT", "node_staging_uri"),
        ("image_format", "vmdk_allowed_types"),
        ("task", "work_dir"),
    }
    both = {
        (group, option.dest)
        for group, options in OPTIONS.items()
        for option in options
        if option.dest in NOT_HONOURED.get(group, ())
    }
    assert both == pending


def test_a_good_file_gives_no_warning(loaded: Load) -> None:
    found: Settings = loaded(
        "[DEFAULT]\nbind_host = 0.0.0.0\nenabled_backends = a:file\ndebug = false\nlog_file = /x\n"
        "[glance_store]\ndefault_backend = a\n[a]\nfilesystem_store_datadir = /x\nstore_description = x\nweight = 2\n"
        "[database]\nconnection = sqlite:////x\n[paste_deploy]\nflavor = keystone\n[keystone_authtoken]\nauth_url = x\n"
        "[oslo_policy]\nenforce_new_defaults = true\n[image_format]\ndisk_formats = raw\n[cors]\nallowed_origin = *\n"
    )
    assert found.warnings == ()


OLDER = [
    ("DEFAULT", "logfile", "/x", "[DEFAULT]log_file"),
    ("DEFAULT", "logdir", "/x", "[DEFAULT]log_dir"),
    ("DEFAULT", "container_formats", "bare", "[image_format]container_formats"),
    ("DEFAULT", "disk_formats", "raw", "[image_format]disk_formats"),
]
SAME = ["log_file = /x", "log-file = /x", "log_dir = /x", "log-dir = /x", "use_json = true", "use-json = true"]


@pytest.mark.parametrize(("group", "name", "value", "present"), OLDER)
def test_an_older_name_is_a_warning_that_says_the_present_one(
    loaded: Load, capfd: pytest.CaptureFixture[str], group: str, name: str, value: str, present: str
) -> None:
    found = loaded(f"[{group}]\n{name} = {value}\n")
    assert told(found, name) == [f"glance-api.conf: [{group}]{name} is an older name: write {present}."]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("line", SAME)
def test_another_spelling_of_a_name_is_not_remarked(loaded: Load, line: str) -> None:
    found = loaded(f"[DEFAULT]\n{line}\n")
    assert told(found, line.partition(" ")[0]) == []


def test_an_older_name_of_a_stores_option(loaded: Load) -> None:
    found = loaded(
        "[DEFAULT]\nenabled_backends = a:cinder\n[glance_store]\ndefault_backend = a\n[a]\nos_region_name = x\n"
    )
    assert told(found, "os_region_name") == [
        "glance-api.conf: [a]os_region_name is an older name: write [a]cinder_os_region_name."
    ]


def test_nothing_of_names_is_on_standard_error(tmp_path: Path) -> None:
    """Before there is a log, what libraries say would stand there as it is."""
    names = {"log_file": tmp_path / "x", "log-dir": tmp_path, "use-json": "false", "container_formats": "bare"}
    done = fanlight(tmp_path, "db", "version", config={"DEFAULT": names})
    assert (done.code, done.err) == (0, "")
