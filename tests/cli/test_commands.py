"""Each command does what its help says, and a mistake in the configuration is one clear line."""

from __future__ import annotations

import datetime
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from sqlalchemy import NullPool, create_engine

from fanlight import __version__
from fanlight.http.routes import ROUTES
from tests.bed.databases import Database
from tests.bed.servers import ROOT
from tests.cli.command import Done, Sections, fanlight
from tests.conftest import StartServer
from tests.edge.raw import eventually


def require_one_line(done: Done, *words: str) -> None:
    """It did not start, and said why in one line."""
    assert done.code == 1, done
    assert done.err.startswith("fanlight: ")
    assert done.err.count("\n") == 1, done.err
    for word in words:
        assert word in done.err


# -- words -----------------------------------------------------------------------------------------------------------


def test_version(tmp_path: Path) -> None:
    done = fanlight(tmp_path, "--version")
    assert (done.code, done.out.strip()) == (0, f"fanlight, version {__version__}")


@pytest.mark.parametrize("words", ["", "db", "policy", "config"])
def test_a_group_teaches_its_commands(tmp_path: Path, words: str) -> None:
    done = fanlight(tmp_path, *words.split(), "--help")
    assert done.code == 0
    assert "Usage: " in done.out
    for command in re.findall(r"^  ([a-z]+)  ", done.out.partition("Commands:")[2], re.MULTILINE):
        inner = fanlight(tmp_path, *words.split(), command, "--help")
        assert inner.code == 0
        # The first sentence of a command's own help is what the list of commands shows of it.
        assert "Usage: " in inner.out


def test_an_unknown_word_is_refused(tmp_path: Path) -> None:
    for words in (["nonsense"], ["serve", "--nonsense"], ["db", "nonsense"], ["serve", "--port", "many"]):
        done = fanlight(tmp_path, *words)
        assert done.code == 2
        assert "Error: " in done.err


def test_routes_are_the_table(tmp_path: Path) -> None:
    done = fanlight(tmp_path, "routes")
    rows = [line.split() for line in done.out.splitlines()]
    assert [(row[0], row[1]) for row in rows] == [(route.method, route.path) for route in ROUTES]
    assert all(row[2].startswith("v2.") for row in rows)


def test_the_policy_sample_is_a_policy_file(tmp_path: Path) -> None:
    sample = fanlight(tmp_path, "policy", "sample").out
    assert yaml.safe_load(sample) is None
    uncommented = re.sub(r'^#("[^"]+": )', r"\1", sample, flags=re.MULTILINE)
    rules = yaml.safe_load(uncommented)
    assert "get_image" in rules
    (tmp_path / "policy.yaml").write_text(uncommented)
    done = fanlight(tmp_path, "doctor", config={"oslo_policy": {"policy_file": tmp_path / "policy.yaml"}})
    assert "ok   policy: " in done.out
    assert "policy.yaml is in force" in done.out


def test_the_configuration_sample_is_a_configuration(tmp_path: Path) -> None:
    sample = fanlight(tmp_path, "config", "sample").out
    assert re.search(r"^#\s*bind_port = ", sample, re.MULTILINE)
    (tmp_path / "sample.conf").write_text(sample)
    done = fanlight(tmp_path, "doctor", "--config-file", "sample.conf")
    warned = [line for line in done.out.splitlines() if not line.startswith("ok ")]
    # Nothing in it is unknown, nothing is set: only what it does not say of database and stores is told, and what of
    # Glance's defaults is worth a word.
    words = "is not set", "No store is configured", "https_insecure, as Glance's default is"
    assert all(any(word in line for word in words) for line in warned), warned
    assert (done.code, "BAD" in done.out) == (0, False)


# -- the database ----------------------------------------------------------------------------------------------------


def test_the_life_of_a_database(tmp_path: Path, database: Database) -> None:
    config: Sections = {"database": {"connection": database.url}}
    before = fanlight(tmp_path, "db", "check", config=config)
    require_one_line(before, "db sync")
    assert fanlight(tmp_path, "db", "version", config=config).out.startswith("none (Glance: none")
    made = fanlight(tmp_path, "db", "sync", config=config)
    assert made.code == 0, made
    again = fanlight(tmp_path, "db", "sync", config=config)
    assert (again.code, again.out) == (0, made.out)
    version = fanlight(tmp_path, "db", "version", config=config).out
    assert "Glance: 2024_1_contract01" in version
    assert version.split()[0] in made.out
    assert fanlight(tmp_path, "db", "check", config=config).code == 0


@pytest.mark.parametrize("words", ["db check", "db version", "db purge", "db purge --images"])
def test_what_only_looks_at_a_database_makes_none(tmp_path: Path, words: str) -> None:
    done = fanlight(tmp_path, *words.split(), "--data-dir", "new/data")
    if words == "db version":
        assert (done.code, done.out.partition(",")[0]) == (0, "none (Glance: none")
    else:
        require_one_line(done, "db sync")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["db check", "db version", "db purge", "db sync", "serve --port 0"])
def test_a_file_that_is_no_database(tmp_path: Path, words: str) -> None:
    file = tmp_path / "fanlight.db"
    file.write_text("These are words, and more than a hundred of them would not make a database. " * 20)
    before = file.read_bytes()
    require_one_line(fanlight(tmp_path, *words.split(), "--data-dir", "."), "no SQLite database")
    assert file.read_bytes() == before


def test_purge_of_a_database_that_was_never_made(tmp_path: Path, database: Database) -> None:
    done = fanlight(tmp_path, "db", "purge", config={"database": {"connection": database.url}})
    require_one_line(done, "db sync")


def test_purge(server: StartServer, tmp_path: Path, database: Database) -> None:
    one = server(database=database.url)
    member = one.as_member("p")
    kept, gone = member.create(tags=["t"], color="red"), member.create(tags=["t"], color="red")
    assert member.delete(f"/v2/images/{gone['id']}").status_code == 204
    config: Sections = {"database": {"connection": database.url}}

    def count(table: str) -> int:
        engine = create_engine(database.url, poolclass=NullPool)
        with engine.connect() as connection:
            number: int = connection.exec_driver_sql(f"SELECT COUNT(*) FROM {table}").scalar_one()
        return number

    # Deleted today: the default of thirty days keeps it.
    assert fanlight(tmp_path, "db", "purge", config=config).code == 0
    assert count("image_properties") == 2
    one.rows("UPDATE images SET deleted_at = '2020-01-01 00:00:00' WHERE id = :id", id=gone["id"])
    for table in ("image_properties", "image_tags"):
        statement = f"UPDATE {table} SET deleted_at = '2020-01-01 00:00:00' WHERE image_id = :id"
        one.rows(statement, id=gone["id"])
    done = fanlight(tmp_path, "db", "purge", "--max-rows", "-1", config=config)
    assert "image_properties: 1" in done.out
    assert "image_tags: 1" in done.out
    assert count("image_properties") == count("image_tags") == 1
    # The row of the image stays, so that its id is not given again, until that is asked for.
    assert member.post("/v2/images", json={"id": gone["id"]}).status_code == 409
    # An id that is free again may be given to something else, so it is kept for longer (OSSN-0075).
    purge = ("db", "purge", "--images")
    for days, purged in ((100, 0), (200, 1)):
        moment = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - datetime.timedelta(days=days)
        one.rows("UPDATE images SET deleted_at = :moment WHERE id = :id", moment=moment, id=gone["id"])
        assert fanlight(tmp_path, *purge, config=config).out == f"images: {purged}\n"
    assert member.post("/v2/images", json={"id": gone["id"]}).status_code == 201
    assert member.show(kept["id"])["color"] == "red"


# -- serve -----------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Sections, str]] = {
    "a port that is none": ({"DEFAULT": {"bind_port": "many"}}, "bind_port"),
    "a port that cannot be": ({"DEFAULT": {"bind_port": 70000}}, "bind_port"),
    "a limit below nothing": ({"DEFAULT": {"api_limit_max": 0}}, "api_limit_max"),
    "a truth that is neither": ({"DEFAULT": {"show_image_direct_url": "perhaps"}}, "show_image_direct_url"),
    "a mode that is not": ({"paste_deploy": {"flavor": "nonsense"}}, "flavor"),
    "a hash that is not": ({"DEFAULT": {"hashing_algorithm": "sha3000"}}, "hashing_algorithm"),
    "a database that is not": ({"database": {"connection": "oracle://a:planted-s3cret@b/c"}}, "connection"),
    "an endpoint that is no URL": ({"DEFAULT": {"public_endpoint": "not a url"}}, "public_endpoint"),
    "a key that is none": ({"DEFAULT": {"metadata_encryption_key": "planted-s3cret"}}, "metadata_encryption_key"),
    "a mode of files that is none": ({"glance_store": {"filesystem_store_file_perm": "999"}}, "file_perm"),
    "folders that contradict each other": (
        {"glance_store": {"filesystem_store_datadirs": "/tmp/a:1\nfilesystem_store_datadirs = /tmp/a:2"}},
        "two priorities",
    ),
    "a store of no type": ({"DEFAULT": {"enabled_backends": "a:nonsense"}, "glance_store": {}}, "nonsense"),
    "a default store that is not": (
        {"DEFAULT": {"enabled_backends": "a:file"}, "glance_store": {"default_backend": "b"}},
        "default_backend",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_stops_the_start(tmp_path: Path, name: str) -> None:
    config, word = WRONG[name]
    done = fanlight(tmp_path, "serve", "--data-dir", "d", config=config)
    lines = [line for line in done.err.splitlines() if " WARNING " not in line]
    require_one_line(Done(done.code, done.out, "\n".join(lines) + "\n"), word)
    assert "planted-s3cret" not in done.err


@pytest.mark.parametrize("schema", ['{"cores": {"type": "nonsense"}}', '{"cores": {"pattern": "("}}', '{"cores": 5}'])
def test_custom_properties_that_are_none_stop_the_start(tmp_path: Path, schema: str) -> None:
    (tmp_path / "schema-image.json").write_text(schema)
    for command in ("serve", "doctor"):
        done = fanlight(tmp_path, command, "--data-dir", "d", config={"glance_store": {}})
        said = [line for line in (done.err + done.out).splitlines() if "schema-image.json" in line]
        assert (done.code, len(said)) == (1, 1), done
        assert "Traceback" not in done.err


@pytest.mark.parametrize("folder", ["/proc/nope", "/etc/passwd/x", "/dev/null"])
@pytest.mark.parametrize("words", ["serve", "db sync"])
def test_a_data_folder_that_cannot_be_made(tmp_path: Path, folder: str, words: str) -> None:
    require_one_line(fanlight(tmp_path, *words.split(), "--data-dir", folder), folder)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    require_one_line(fanlight(tmp_path, "serve", "--config-file", "none.conf"), "none.conf")


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        require_one_line(fanlight(tmp_path, "serve", "--port", port), port)


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    require_one_line(fanlight(tmp_path, "serve", "--port", "0", "--host", "203.0.113.7"), "203.0.113.7")


def test_a_log_file_that_cannot_be(tmp_path: Path) -> None:
    config: Sections = {"DEFAULT": {"log_file": tmp_path / "none" / "log"}}
    done = fanlight(tmp_path, "serve", "--port", "0", config=config)
    # oslo.config takes the two spellings of this option for an old and a new name.
    lines = [line for line in done.err.splitlines() if not line.startswith("Deprecated: ")]
    require_one_line(Done(done.code, done.out, "\n".join(lines) + "\n"), "log")


def test_an_unknown_option_is_warned_about(server: StartServer) -> None:
    one = server(config={"DEFAULT": {"no_such_option": "x", "workers": 1}, "no_such_group": {"a": "b"}})
    one.wait_for_log(r"WARNING .*no_such_option")
    one.wait_for_log(r"WARNING .*no_such_group")
    assert one.as_member("p").get("/v2/images").status_code == 200


@pytest.mark.parametrize("flavor", ["trusted", "fakeauth"])
def test_modes_that_believe_everybody_say_so(server: StartServer, flavor: str) -> None:
    one = server(flavor=flavor)
    one.wait_for_log(rf"WARNING .*'{flavor}': EVERY CALLER IS WHOEVER")


def test_remote_callers_without_identity_are_announced(server: StartServer) -> None:
    quiet = server(flavor=None)
    assert "ADMINISTRATOR" not in quiet.log_text()
    loud = server(flavor=None, arguments=["--allow-remote-none"])
    loud.wait_for_log("WHOEVER REACHES THIS PORT IS ADMINISTRATOR")


def test_serve_without_anything(server: StartServer) -> None:
    one = server(flavor=None)
    assert one.port
    text = one.log_text()
    assert f"Ready: Fanlight {__version__} serves {one.url}" in text
    assert f"curl {one.url}/v2/images" in text
    assert one.client().get("/v2/images").status_code == 200
    assert (one.data_dir.stat().st_mode & 0o777) == 0o700


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def _serving(folder: Path, port: int, words: Sequence[str], shell: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """`fanlight serve` with these words, its output in `folder`/told, while the block runs; it must end well."""
    with (folder / "told").open("wb") as told:
        process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-m", "fanlight", "serve", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=told,
            stderr=told,
        )
    try:
        eventually(lambda: _answers(port), 30)
        yield process
    finally:
        process.terminate()
        code = process.wait(30)
    assert code == 0


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_standard_stream_that_is_closed(tmp_path: Path, closed: int) -> None:
    """No file of ours may take its number: what is meant for the stream would be written into the file."""
    port = _unused_port()
    with _serving(tmp_path, port, ["--port", str(port)], shell=f"{closed}>&-") as process:
        for number in (0, 1, 2):
            target = os.readlink(f"/proc/{process.pid}/fd/{number}")
            assert target == os.devnull if number == closed else not target.startswith(str(tmp_path / "data"))
        if closed != 1:
            # It is said by the parent, and a worker may answer before.
            eventually(lambda: b"Ready" in (tmp_path / "told").read_bytes())


def test_a_reload_does_not_move(tmp_path: Path) -> None:
    """The listening sockets are made once: a new address in the file is told of, and waits for a restart."""
    port = _unused_port()
    file = tmp_path / "glance-api.conf"
    file.write_text(f"[DEFAULT]\nbind_port = {port}\n")
    with _serving(tmp_path, port, ["--config-file", str(file)]) as process:
        file.write_text(f"[DEFAULT]\nbind_port = {_unused_port()}\n")
        process.send_signal(signal.SIGHUP)
        eventually(lambda: b"bind_port are read at the start only" in (tmp_path / "told").read_bytes(), 15)
        assert _answers(port)


@pytest.mark.parametrize("words", ["policy sample", "config document"])
def test_an_output_that_takes_nothing(tmp_path: Path, words: str) -> None:
    done = fanlight(tmp_path, *words.split(), wrapper=["sh", "-c", 'exec "$@" >/dev/full', "sh"])
    require_one_line(done, "No space left on device")


def test_nobody_reads_that_it_is_ready(tmp_path: Path) -> None:
    port = _unused_port()
    with _serving(tmp_path, port, ["--port", str(port)], shell="1>/dev/full") as process:
        assert _answers(port)
        assert process.poll() is None
