"""`fanlight doctor`: each thing that the service depends on is broken in turn, and named with what to do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bcrypt
import pytest

from tests.bed.databases import Database
from tests.bed.keystone import Keystone
from tests.cli.command import Done, Sections, as_root_of_its_own, fanlight
from tests.stores.relay import Relay, certificate_in

SECRET = "planted-s3cret"


def examined(folder: Path, config: Sections | None = None, wrapper: Sequence[str] = ()) -> Done:
    """Doctor's word on a service with `config`, and where that says nothing a database and a store of its own."""
    whole: dict[str, dict[str, object]] = {
        "database": {"connection": f"sqlite:///{folder}/fanlight.db"},
        "glance_store": {"filesystem_store_datadir": folder / "store"},
    }
    for group, options in (config or {}).items():
        whole[group] = {**whole.get(group, {}), **options}
    return fanlight(folder, "doctor", config=whole, wrapper=wrapper)


def findings(done: Done) -> dict[str, tuple[bool, str]]:
    """What it said, by the name of what was looked at, and whether it can stay so."""
    found = {}
    for line in done.out.splitlines():
        assert line[:5] in ("ok   ", "WARN ", "BAD  "), done
        name, _, text = line[5:].partition(": ")
        found[name] = not line.startswith("BAD"), text
    return found


def require_bad(done: Done, name: str, *words: str) -> None:
    """Exactly one thing is wrong, its text has all `words`, and neither a traceback nor a secret was shown."""
    found = findings(done)
    bad = {each: text for each, (good, text) in found.items() if not good}
    assert list(bad) == [name], done
    for word in words:
        assert word in bad[name], bad
    assert done.code == 1
    assert done.err == ""
    assert SECRET not in done.out


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def http_server(status: int, seconds_fast: float = 0.0) -> Iterator[str]:
    """The URL of something that answers `status`, with a clock that is wrong."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            import time

            return formatdate(time.time() + seconds_fast, usegmt=True)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v3"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


# -- all is well -----------------------------------------------------------------------------------------------------


def test_a_fresh_place_is_healthy(tmp_path: Path) -> None:
    done = fanlight(tmp_path, "doctor")
    assert (done.code, done.err) == (0, "")
    found = findings(done)
    assert {"options", "database", "policy", "identity", "database file"} <= set(found)
    assert any(name.startswith("store ") for name in found)
    # It looks, and changes nothing.
    assert list(tmp_path.iterdir()) == []


def test_what_was_used_is_healthy(tmp_path: Path) -> None:
    assert fanlight(tmp_path, "db", "sync").code == 0
    done = fanlight(tmp_path, "doctor")
    assert done.code == 0
    assert "sqlite" in findings(done)["database"][1]


def test_every_database(tmp_path: Path, database: Database) -> None:
    config: Sections = {"database": {"connection": database.url}}
    if database.engine != "sqlite":
        require_bad(examined(tmp_path, config), "database", "db sync")
    assert fanlight(tmp_path, "db", "sync", config=config).code == 0
    done = examined(tmp_path, config)
    assert done.code == 0, done
    assert findings(done)["database"][0]


# -- database --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mysql+pymysql", "postgresql+psycopg"])
def test_a_database_that_is_not_there(tmp_path: Path, kind: str) -> None:
    url = f"{kind}://glance:{SECRET}@127.0.0.1:{unused_port()}/glance"
    require_bad(examined(tmp_path, {"database": {"connection": url}}), "database", "reach")


def test_a_database_that_refuses_us(tmp_path: Path, database: Database) -> None:
    if database.engine == "sqlite":
        # Nobody logs in there: a file that is no database is what comes nearest.
        (tmp_path / "odd.db").write_bytes(b"this is text, not a database " * 200)
        url = f"sqlite:///{tmp_path}/odd.db"
    else:
        scheme, _, rest = database.url.partition("://")
        url = f"{scheme}://nobody:{SECRET}@{rest.partition('@')[2]}"
    require_bad(examined(tmp_path, {"database": {"connection": url}}), "database")


def test_a_database_of_another_release(tmp_path: Path, database: Database) -> None:
    config: Sections = {"database": {"connection": database.url}}
    assert fanlight(tmp_path, "db", "sync", config=config).code == 0
    from sqlalchemy import NullPool, create_engine

    with create_engine(database.url, poolclass=NullPool).begin() as connection:
        connection.exec_driver_sql("UPDATE fanlight_alembic_version SET version_num = '9999_future'")
    require_bad(examined(tmp_path, config), "database", "9999_future")


def test_a_database_folder_on_a_read_only_disk(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    config: Sections = {
        "database": {"connection": f"sqlite:///{folder}/f.db"},
    }
    assert fanlight(tmp_path, "db", "sync", config=config).code == 0
    wrapper = as_root_of_its_own(f"mount --bind {folder} {folder}; mount -o remount,ro,bind {folder}")
    done = examined(tmp_path, config, wrapper)
    assert not findings(done)["database file"][0]
    assert "mount it for writing" in findings(done)["database file"][1]
    assert done.code == 1


# -- stores and logs -------------------------------------------------------------------------------------------------


def test_a_store_on_a_read_only_disk(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    config: Sections = {"glance_store": {"filesystem_store_datadir": folder}}
    wrapper = as_root_of_its_own(f"mount --bind {folder} {folder}; mount -o remount,ro,bind {folder}")
    done = examined(tmp_path, config, wrapper)
    require_bad(done, "store file", str(folder), "mount it for writing")


def test_a_store_on_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    config: Sections = {"glance_store": {"filesystem_store_datadir": folder}}
    wrapper = as_root_of_its_own(f"mount -t tmpfs -o size=64m none {folder}")
    done = examined(tmp_path, config, wrapper)
    require_bad(done, "store file", "64 MiB left", "make room")


def test_a_store_whose_place_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("not a folder")
    config: Sections = {"glance_store": {"filesystem_store_datadir": tmp_path / "images"}}
    require_bad(examined(tmp_path, config), "store file", str(tmp_path / "images"))


def test_a_log_file_without_a_folder(tmp_path: Path) -> None:
    config: Sections = {"DEFAULT": {"log_file": tmp_path / "none" / "fanlight.log"}}
    require_bad(examined(tmp_path, config), "log file", str(tmp_path / "none"), "log_file")


# -- Keystone and memcached ------------------------------------------------------------------------------------------


def with_keystone(keystone: Keystone, **changed: object) -> dict[str, dict[str, Any]]:
    return {
        "paste_deploy": {"flavor": "keystone"},
        "keystone_authtoken": {**keystone.configuration(), **changed},
    }


def test_keystone_and_memcached_are_there(tmp_path: Path, keystone: Keystone) -> None:
    done = examined(tmp_path, with_keystone(keystone))
    assert done.code == 0, done
    found = findings(done)
    assert "clocks differ" in found["keystone"][1]
    assert f"memcached {keystone.memcached}" in found


def test_a_wrong_password_for_keystone(tmp_path: Path, keystone: Keystone) -> None:
    done = examined(tmp_path, with_keystone(keystone, password=SECRET))
    require_bad(done, "keystone", "username, password")


def test_a_keystone_that_is_not_there(tmp_path: Path, keystone: Keystone) -> None:
    url = f"http://127.0.0.1:{unused_port()}/v3"
    done = examined(tmp_path, with_keystone(keystone, auth_url=url, password=SECRET))
    require_bad(done, "keystone", url, "cannot be reached", "auth_url")


def test_a_keystone_without_address(tmp_path: Path) -> None:
    config: Sections = {"paste_deploy": {"flavor": "keystone"}, "keystone_authtoken": {"username": "glance"}}
    done = examined(tmp_path, config)
    found = findings(done)
    assert not found["keystone"][0]
    assert "auth_url" in found["keystone"][1]
    assert done.code == 1


def test_a_keystone_that_fails(tmp_path: Path, keystone: Keystone) -> None:
    with http_server(503) as url:
        done = examined(tmp_path, with_keystone(keystone, auth_url=url))
    require_bad(done, "keystone", "503", "log")


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_keystone_with_another_time(tmp_path: Path, keystone: Keystone, seconds: float) -> None:
    with http_server(200, seconds) as url:
        done = examined(tmp_path, with_keystone(keystone, auth_url=url))
    require_bad(done, "keystone", "clock", "Synchronise")


@pytest.mark.parametrize("trusted", ["cafile", "insecure", ""])
def test_a_keystone_with_a_certificate_of_its_own(tmp_path: Path, keystone: Keystone, trusted: str) -> None:
    """Whom the service would believe, doctor believes."""
    certificate = certificate_in(tmp_path)
    options: dict[str, object] = {"cafile": certificate} if trusted == "cafile" else {"insecure": trusted != ""}
    with Relay(keystone.url, certificate) as relay:
        url = relay.url + urlsplit(keystone.url).path
        done = examined(tmp_path, with_keystone(keystone, auth_url=url, **options))
    if trusted:
        assert done.code == 0, done
    else:
        require_bad(done, "keystone", "CERTIFICATE_VERIFY_FAILED")


def test_a_keystone_that_speaks_no_http(tmp_path: Path, keystone: Keystone) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        greeting = threading.Thread(target=_greet, args=(listener,))
        greeting.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v3"
        done = examined(tmp_path, with_keystone(keystone, auth_url=url))
        greeting.join(10)
    require_bad(done, "keystone", url, "auth_url")
    assert findings(done)[f"memcached {keystone.memcached}"][0]


def _greet(listener: socket.socket) -> None:
    """Say something before anybody has asked, as a MariaDB does."""
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"5.5.5-10.11\0 nobody\r\n\r\n")
        connection.recv(4096)


@pytest.mark.parametrize("address", ["127.0.0.1:abc", "[::1]:11211"])
def test_an_address_of_memcached_that_cannot_be(tmp_path: Path, keystone: Keystone, address: str) -> None:
    done = examined(tmp_path, with_keystone(keystone, memcached_servers=address))
    found = findings(done)
    assert not found["identity"][0]
    assert f"memcached_servers: {address} is none of" in found["identity"][1]
    assert not found[f"memcached {address}"][0]
    assert "keystone" in found
    config = with_keystone(keystone, memcached_servers=address)
    started = fanlight(tmp_path, "serve", "--data-dir", "d", config=config)
    assert started.code == 1
    assert started.err.splitlines()[-1].startswith("fanlight: [keystone_authtoken] memcached_servers")


def test_a_memcached_that_has_another_kind_of_address(tmp_path: Path, keystone: Keystone) -> None:
    address = f"inet6:[::1]:{unused_port()}"
    done = examined(tmp_path, with_keystone(keystone, memcached_servers=address))
    require_bad(done, f"memcached {address}", "refused")


def test_an_option_that_the_middleware_does_not_know(tmp_path: Path, keystone: Keystone) -> None:
    done = examined(tmp_path, {**with_keystone(keystone, usrname=SECRET), "glance_store": {"stores": "file"}})
    [warning] = [line for line in done.out.splitlines() if line.startswith("WARN")]
    assert "usrname: unknown to keystonemiddleware" in warning
    assert SECRET not in done.out
    assert done.code == 0


def test_a_memcached_that_is_not_there(tmp_path: Path, keystone: Keystone) -> None:
    address = f"127.0.0.1:{unused_port()}"
    done = examined(tmp_path, with_keystone(keystone, memcached_servers=address))
    require_bad(done, f"memcached {address}", "cannot be reached")


def test_something_else_than_memcached(tmp_path: Path, keystone: Keystone) -> None:
    with http_server(400) as url:
        address = url.removeprefix("http://").removesuffix("/v3")
        done = examined(tmp_path, with_keystone(keystone, memcached_servers=address))
    require_bad(done, f"memcached {address}", "not memcached")


# -- what an operator wrote ------------------------------------------------------------------------------------------


def test_options_that_are_not_honoured_are_named(tmp_path: Path) -> None:
    done = examined(tmp_path, {"DEFAULT": {"enabled_import_method": "x", "no_such_option": SECRET}})
    assert done.code == 0
    warned = [line for line in done.out.splitlines() if line.startswith("WARN options: ")]
    assert len(warned) == 2
    assert "no_such_option" in done.out
    assert "BAD" not in done.out
    assert SECRET not in done.out + done.err


def test_a_place_that_nobody_named_is_a_warning(tmp_path: Path) -> None:
    config: Sections = {"fanlight": {"data_dir": tmp_path / "data"}, "database": {"max_retries": 3}}
    done = fanlight(tmp_path, "doctor", config=config)
    assert done.code == 0
    warned = [line for line in done.out.splitlines() if line.startswith("WARN options: ")]
    assert any("[database]max_retries has no effect" in line for line in warned)
    assert any("No store is configured" in line for line in warned)


def test_a_warning_hides_nothing_bad(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("not a folder")
    config: Sections = {
        "DEFAULT": {"no_such_option": 1},
        "glance_store": {"filesystem_store_datadir": tmp_path / "images"},
    }
    require_bad(examined(tmp_path, config), "store file", str(tmp_path / "images"))


def test_an_impossible_value_is_one_line(tmp_path: Path) -> None:
    done = examined(tmp_path, {"DEFAULT": {"bind_port": "many"}})
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert "bind_port" in done.err


def test_custom_properties_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "schema-image.json"
    file.write_text('{"cores": {"type": "nonsense"}}')
    require_bad(examined(tmp_path), "custom properties", str(file), "cores")
    file.write_text('{"cores": {"type": "integer"}}')
    assert findings(examined(tmp_path))["custom properties"] == (True, f"{file} declares 1")


def test_options_of_a_store_that_contradict_each_other(tmp_path: Path) -> None:
    folders = f"{tmp_path}/a:1\nfilesystem_store_datadirs = {tmp_path}/a:2"
    done = examined(tmp_path, {"glance_store": {"stores": "file", "filesystem_store_datadirs": folders}})
    assert "two priorities" in findings(done)["store file"][1]


def test_a_policy_that_cannot_be_understood(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text('"get_images": "role:admin and"\n')
    done = examined(tmp_path, {"oslo_policy": {"policy_file": tmp_path / "policy.yaml"}})
    found = findings(done)
    assert not found["policy"][0]
    assert "get_images" in found["policy"][1]
    assert done.code == 1


def test_rules_that_nothing_asks_for(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        '"get_imagess": "role:admin"\n"friends": "role:friend"\n"get_image": "rule:friends"\n"default": "!"\n'
    )
    config: Sections = {"oslo_policy": {"policy_file": tmp_path / "policy.yaml"}, "glance_store": {"stores": "file"}}
    done = examined(tmp_path, config)
    [warning] = [line for line in done.out.splitlines() if line.startswith("WARN")]
    assert "the rule get_imagess:" in warning
    assert findings(done)["policy"][0]
    assert done.code == 0


def test_a_rule_that_is_not_there_and_a_user_without_a_section(tmp_path: Path) -> None:
    """What the start would only log."""
    (tmp_path / "policy.yaml").write_text('"get_image": "rule:nosuchrule"\n')
    (tmp_path / "users").write_text(f"ann:{bcrypt.hashpw(b'x', bcrypt.gensalt(4)).decode()}\n")
    (tmp_path / "mapping").write_text("")
    config: Sections = {
        "glance_store": {"stores": "file"},
        "oslo_policy": {"policy_file": tmp_path / "policy.yaml"},
        "paste_deploy": {"flavor": "http_basic"},
        "fanlight": {"htpasswd_file": tmp_path / "users", "mapping_file": tmp_path / "mapping"},
    }
    done = examined(tmp_path, config)
    warned = [line for line in done.out.splitlines() if line.startswith("WARN")]
    assert len(warned) == 2, done
    assert any("rule:nosuchrule" in line for line in warned)
    assert any("mapping file are refused: ann" in line for line in warned)
    assert done.code == 0


@pytest.mark.parametrize("name", ["garbage", "oracle://u:planted-s3cret@h/d", "sqlite://"])
def test_a_url_of_no_database(tmp_path: Path, name: str) -> None:
    done = examined(tmp_path, {"database": {"connection": name}})
    assert "must be sqlite:/// and a file, or begin with mysql://" in findings(done)["database"][1]
    assert done.code == 1
    assert SECRET not in done.out


def test_a_policy_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_bytes(b"\xd7\xff")
    done = examined(tmp_path, {"oslo_policy": {"policy_file": tmp_path / "policy.yaml"}})
    assert f"{tmp_path}/policy.yaml is not UTF-8 text" in findings(done)["policy"][1]


@pytest.mark.parametrize("flavor", ["trusted", "fakeauth"])
def test_modes_that_believe_everybody_are_loud(tmp_path: Path, flavor: str) -> None:
    done = examined(tmp_path, {"paste_deploy": {"flavor": flavor}})
    assert flavor in findings(done)["identity"][1]
    assert "EVERY CALLER IS WHOEVER" in findings(done)["identity"][1]
