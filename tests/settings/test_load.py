"""Files, folders, the environment and the command line as typed settings; and how a wrong value is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fanlight.errors import SettingsError
from fanlight.settings import Settings
from fanlight.settings.load import load
from tests.settings.conftest import Load, Refused, told


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    found, plain = load(), Settings()
    for group in ("server", "api", "formats", "identity", "policy", "cors", "logging"):
        assert getattr(found, group) == getattr(plain, group), group
    assert found.warnings == found.files == ()
    assert found.identity.mode == "none"
    assert (found.server.bind_host, found.server.bind_port, found.server.workers) == ("127.0.0.1", 9292, 1)
    assert found.database.connection == f"sqlite:///{tmp_path}/data/fanlight.db"
    assert [(store.id, store.type) for store in found.stores.stores] == [("local", "file")]
    assert found.stores.default == "local"
    assert found.stores.multi_store
    assert found.stores.stores[0].options["filesystem_store_datadir"] == f"{tmp_path}/data/images"
    assert found.staging.staging.options["filesystem_store_datadir"] == f"{tmp_path}/data/staging"
    assert found.staging.tasks.options["filesystem_store_datadir"] == f"{tmp_path}/data/tasks"


def test_the_data_folder_moves_everything(tmp_path: Path) -> None:
    found = load(overrides={"data_dir": "/srv/x"})
    assert found.database.connection == "sqlite:////srv/x/fanlight.db"
    assert found.stores.stores[0].options["filesystem_store_datadir"] == "/srv/x/images"
    assert found.staging.staging.options["filesystem_store_datadir"] == "/srv/x/staging"


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().server.workers = 2  # type: ignore[misc]  # that it is refused is the point


def test_types(loaded: Load) -> None:
    found = loaded(
        "[DEFAULT]\nworkers = 4\nbind_port = 80\nshow_image_direct_url = yes\nimage_size_cap = 9223372036854775808\n"
        "[image_format]\ndisk_formats = raw, qcow2\nvmdk_allowed_types =\n"
        "[database]\nconnection = postgresql://u:p@h/g\npool_timeout = 2.5\nmysql_sql_mode =\n"
        "[fanlight]\nhead_seconds = 5\n"
        "[cors]\nallowed_origin = https://a.example, https://b.example\n"
    )
    assert (found.server.workers, found.server.bind_port, found.server.head_seconds) == (4, 80, 5.0)
    assert found.api.show_image_direct_url is True
    assert found.api.image_size_cap == 2**63
    assert found.formats.disk_formats == ("raw", "qcow2")
    assert found.formats.vmdk_allowed_types == ()
    assert (found.database.connection, found.database.pool_timeout) == ("postgresql://u:p@h/g", 2.5)
    assert found.database.mysql_sql_mode == ""
    assert found.cors.allowed_origin == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("17", 17), ("17B", 17), ("2KB", 2048), ("3MB", 3 << 20), ("5GB", 5 << 30), ("1TB", 1 << 40)],
)
def test_a_quota_is_bytes(loaded: Load, text: str, number: int) -> None:
    assert loaded(f"[DEFAULT]\nuser_storage_quota = {text}\n").api.user_storage_quota == number


@pytest.mark.parametrize("name", ["sha256", "sha512", "blake2b", "md5", "sha3_512"])
def test_hashes(loaded: Load, name: str) -> None:
    assert loaded(f"[DEFAULT]\nhashing_algorithm = {name}\n").api.hashing_algorithm == name


def test_later_files_folders_environment_and_command_line_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, folder = tmp_path / "a.conf", tmp_path / "b.conf", tmp_path / "conf.d"
    folder.mkdir()
    first.write_text("[DEFAULT]\nworkers = 1\nbind_port = 1\nimage_tag_quota = 1\nimage_member_quota = 1\n")
    second.write_text("[DEFAULT]\nbind_port = 2\nimage_tag_quota = 2\nimage_member_quota = 2\n")
    (folder / "20.conf").write_text("[DEFAULT]\nimage_tag_quota = 4\n")
    (folder / "10.conf").write_text("[DEFAULT]\nimage_tag_quota = 3\nimage_member_quota = 3\n")
    (folder / "ignored.txt").write_text("not = read\n")
    monkeypatch.setenv("OS_DEFAULT__IMAGE_MEMBER_QUOTA", "5")
    monkeypatch.setenv("OS_DEFAULT__LIMIT_PARAM_DEFAULT", "6")
    found = load([str(first), str(second)], [str(folder)], {"limit_param_default": 7, "data_dir": None})
    assert (found.server.workers, found.server.bind_port) == (1, 2)
    assert found.api.image_tag_quota == 4
    assert found.api.image_member_quota == 5
    assert found.api.limit_param_default == 7
    assert [Path(name).name for name in found.files] == ["a.conf", "b.conf", "10.conf", "20.conf"]


def test_older_names_and_cases_of_groups(loaded: Load) -> None:
    found = loaded(
        "[DEFAULT]\ncontainer_formats = bare\nlogfile = g.log\nlog-dir = /var/log/glance\nuse-json = true\n"
        "[DATABASE]\nconnection = sqlite:////x/y.db\n"
    )
    assert found.formats.container_formats == ("bare",)
    assert found.logging.log_file == "/var/log/glance/g.log"
    assert found.logging.use_json
    assert found.database.connection == "sqlite:////x/y.db"
    assert not told(found, "has no effect")


def test_a_log_folder_alone_gets_a_log(loaded: Load) -> None:
    assert loaded("[DEFAULT]\nlog_dir = /var/log/glance\n").logging.log_file == "/var/log/glance/fanlight.log"


def test_values_refer_to_others(loaded: Load) -> None:
    found = loaded(
        "[DEFAULT]\nlog_dir = /var/log\nlog_file = $log_dir/x.log\n"
        "[database]\nconnection = mysql://u:pa$$word@$bind_host/g\n"
    )
    assert found.logging.log_file == "/var/log/x.log"
    assert found.database.connection == "mysql://u:pa$word@127.0.0.1/g"


def test_the_group_of_keystone_goes_through_as_it_is(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_KEYSTONE_AUTHTOKEN__PASSWORD", "from outside")
    found = loaded(
        "[paste_deploy]\nflavor = keystone\n"
        "[keystone_authtoken]\nauth-type = password\nmemcached_servers = a:1, b:2\npassword = in the file\n"
        "memcache_servers = old\nsome_plugins_option = $x\n"
    )
    assert found.keystone == {
        "auth_type": "password",
        "memcached_servers": "a:1, b:2",
        "password": "from outside",
        "memcache_servers": "old",
        "some_plugins_option": "$x",
    }
    assert not told(found, "keystone_authtoken")


def test_nothing_secret_is_in_the_text_of_settings(loaded: Load) -> None:
    found = loaded(
        "[DEFAULT]\nenabled_backends = a:s3\n[glance_store]\ndefault_backend = a\n[a]\ns3_store_secret_key = planted\n"
        "[database]\nconnection = mysql://u:planted@h/g\n[keystone_authtoken]\npassword = planted\n"
    )
    assert "planted" not in repr(found)
    assert "planted" not in " ".join(found.warnings)
    assert found.stores.stores[0].options["s3_store_secret_key"] == "planted"


# -- policy files


def test_policy_files_are_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "more").mkdir()
    for name in ("etc/a.conf", "more/b.conf"):
        (tmp_path / name).write_text("")
    files = [str(tmp_path / "etc/a.conf"), str(tmp_path / "more/b.conf")]
    found = load(files).policy
    assert found.policy_file == f"{tmp_path}/more/policy.yaml"
    assert found.policy_dirs == (f"{tmp_path}/more/policy.d",)
    (tmp_path / "etc/policy.yaml").write_text("{}")
    assert load(files).policy.policy_file == f"{tmp_path}/etc/policy.yaml"


def test_policy_files_by_name(loaded: Load, tmp_path: Path) -> None:
    found = loaded(
        "[oslo_policy]\npolicy_file = mine.json\npolicy_dirs = /a\npolicy_dirs = b\nenforce_new_defaults = false\n"
    )
    assert found.policy.policy_file == f"{tmp_path}/mine.json"
    assert found.policy.policy_dirs == ("/a", f"{tmp_path}/b")
    assert not found.policy.enforce_new_defaults
    assert told(found, "mine.json does not exist")


def test_a_policy_in_json_beside_is_told(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text("{}")
    assert told(loaded(""), "policy.json is not read")
    (tmp_path / "policy.yaml").write_text("{}")
    assert not told(loaded(""), "policy.json is not read")


# -- custom properties


def test_custom_properties_are_beside_the_configuration(tmp_path: Path) -> None:
    for name in ("etc", "more", "conf.d"):
        (tmp_path / name).mkdir()
    for name in ("etc/a.conf", "more/b.conf"):
        (tmp_path / name).write_text("")
    files, folders = [str(tmp_path / "etc/a.conf"), str(tmp_path / "more/b.conf")], [str(tmp_path / "conf.d")]
    found = load(files, folders)
    assert found.api.schema_image_file is None
    assert not told(found, "schema")
    # The folders of --config-dir come first, then those of the files, the last one first.
    for place in ("etc", "more", "conf.d"):
        (tmp_path / place / "schema-image.json").write_text("{}")
        assert load(files, folders).api.schema_image_file == f"{tmp_path}/{place}/schema-image.json"


def test_custom_properties_by_name(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "schema-image.json").write_text("{}")
    found = loaded("[fanlight]\nschema_image_file = mine.json\n")
    assert found.api.schema_image_file is None
    assert told(found, "mine.json does not exist")
    (tmp_path / "mine.json").write_text("{}")
    assert loaded("[fanlight]\nschema_image_file = mine.json\n").api.schema_image_file == f"{tmp_path}/mine.json"
    assert loaded("[fanlight]\nschema_image_file =\n").api.schema_image_file is None


@pytest.mark.parametrize(
    "text", ["https://images.example", "http://[::1]:9292", "https://cloud.example/image/", "http://10.0.0.1:80", ""]
)
def test_public_endpoints(loaded: Load, text: str) -> None:
    assert (loaded(f"[DEFAULT]\npublic_endpoint = {text}\n").api.public_endpoint or "") == text


# -- what is refused

WRONG = [
    ("[DEFAULT]\nworkers = many\n", "glance-api.conf: [DEFAULT]workers = many is wrong: it must be a whole number"),
    ("[DEFAULT]\nworkers = -1\n", "[DEFAULT]workers = -1 is wrong: it must be a whole number of at least 0."),
    ("[DEFAULT]\nworkers =\n", "[DEFAULT]workers =  is wrong"),
    ("[DEFAULT]\nworkers = 1\nworkers = two\n", "[DEFAULT]workers = two is wrong"),
    ("[fanlight]\nlease_seconds = nan\n", "[fanlight]lease_seconds = nan is wrong: it must be a number of at least 3"),
    ("[fanlight]\nidle_seconds = inf\n", "[fanlight]idle_seconds = inf is wrong: it must be a number of at least 0.1"),
    ("[DEFAULT]\nbind_port = 70000\n", "[DEFAULT]bind_port = 70000 is wrong: it must be a port, 0 to 65535."),
    ("[DEFAULT]\ndebug = maybe\n", "[DEFAULT]debug = maybe is wrong: it must be true or false."),
    ("[DEFAULT]\nimage_size_cap = 0\n", "from 1 to 9223372036854775808"),
    ("[DEFAULT]\nhashing_algorithm = sha5\n", "[DEFAULT]hashing_algorithm = sha5 is wrong"),
    ("[DEFAULT]\nhashing_algorithm = shake_128\n", "[DEFAULT]hashing_algorithm = shake_128 is wrong"),
    ("[DEFAULT]\nuser_storage_quota = 5 GB\n", "[DEFAULT]user_storage_quota = 5 GB is wrong"),
    ("[DEFAULT]\nuser_storage_quota = 5gb\n", "[DEFAULT]user_storage_quota = 5gb is wrong"),
    ("[DEFAULT]\nuser_storage_quota = -1\n", "[DEFAULT]user_storage_quota = -1 is wrong"),
    *(
        (f"[DEFAULT]\npublic_endpoint = {text}\n", "public_endpoint")
        for text in (
            "images",
            "ftp://a",
            "https://",
            "https://a b",
            "https://a:x",
            "//a",
            "https://a?b",
            "https://u@a",
        )
    ),
    ("[DEFAULT]\nmetadata_encryption_key = planted\n", "key = (not shown) is wrong: it must have 16, 24 or 32 bytes."),
    (
        "[glance_store]\nfilesystem_store_file_perm = 999\n",
        "file_perm = 999 is wrong: it must be octal",
    ),
    ("[glance_store]\nfilesystem_store_file_perm = 37\n", "filesystem_store_file_perm = 37 is wrong"),
    ("[fanlight]\nlease_seconds = 1\n", "[fanlight]lease_seconds = 1 is wrong: it must be a number of at least 3"),
    (
        "[oslo_policy]\nremote_content_type = x\n",
        "it must be one of application/x-www-form-urlencoded, application/json",
    ),
    ("[paste_deploy]\nflavor = keyston\n", "glance-api.conf: [paste_deploy]flavor = keyston is wrong: known are"),
    ("[DEFAULT]\nbind_host = 0.0.0.0\n", "[DEFAULT]bind_host = 0.0.0.0 is wrong: without authentication"),
    ("[DEFAULT]\nbind_host =\n", "[DEFAULT]bind_host =  is wrong: without authentication"),
    ("[database]\nconnection = mysql://u:planted$x@h/g\n", "[database]connection = (not shown) is wrong: it refers"),
    *(
        (f"[fanlight]\nallowed_hosts = a.example, {text}\n", "allowed_hosts")
        for text in ("http://a", "*.lab", "a/b", "a b", "[::1")
    ),
    ("planted no assignment\n", "glance-api.conf, line 1: No ':' or '=' found"),
    ("[DEFAULT\n", "glance-api.conf, line 1: Invalid section"),
]


@pytest.mark.parametrize(("text", "line"), WRONG)
def test_a_wrong_value_is_told_in_one_line(refused: Refused, text: str, line: str) -> None:
    found = refused(text)
    assert line in found
    assert "planted" not in found


def test_the_file_named_is_the_one_that_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "a.conf", tmp_path / "b.conf"
    first.write_text("[DEFAULT]\nworkers = 1\n")
    second.write_text("[DEFAULT]\nworkers = x\n")
    with pytest.raises(SettingsError, match=r"b\.conf: \[DEFAULT\]workers = x"):
        load([str(first), str(second)])
    assert load([str(second), str(first)]).server.workers == 1


def test_an_older_name_is_named_as_it_stands(refused: Refused) -> None:
    text = "[DEFAULT]\nenabled_backends = v:vmware\n[glance_store]\ndefault_backend = v\n[v]\nvmware_api_insecure = x\n"
    assert "[v]vmware_api_insecure = x is wrong" in refused(text)


def test_a_wrong_value_of_the_environment(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_DEFAULT__WORKERS", "lots")
    assert refused("[DEFAULT]\nworkers = 2\n").startswith("OS_DEFAULT__WORKERS: [DEFAULT]workers = lots is wrong")


def test_a_wrong_value_of_the_command_line(refused: Refused) -> None:
    assert refused("[DEFAULT]\nworkers = 2\n", workers="x").startswith("[DEFAULT]workers = x is wrong")
    assert refused("", bind_host="::").startswith("[DEFAULT]bind_host = :: is wrong")
    assert refused("", no_such_option=1) == "There is no option no_such_option."


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "x.conf"
    binary.write_bytes(b"[DEFAULT]\nx = \xff\n")
    for files, folders, text in (
        ([str(tmp_path / "none.conf")], [], "No such file"),
        ([str(tmp_path)], [], "cannot be read"),
        ([str(binary)], [], "is not UTF-8"),
        ([], [str(tmp_path / "none")], "does not exist"),
    ):
        with pytest.raises(SettingsError, match=text):
            load(files, folders)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_loopback_address_needs_no_authentication(loaded: Load, host: str) -> None:
    assert loaded(f"[DEFAULT]\nbind_host = {host}\n").server.bind_host == host


@pytest.mark.parametrize("text", ["[fanlight]\nallow_remote_none = true\n", "[paste_deploy]\nflavor = trusted\n"])
def test_elsewhere_it_may_listen_with_authentication_or_when_told(loaded: Load, text: str) -> None:
    assert loaded(text + "[DEFAULT]\nbind_host = 0.0.0.0\n").server.bind_host == "0.0.0.0"
