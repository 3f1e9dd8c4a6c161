"""Configuration files that the pages show are files that the program, and those beside it, would take."""

from __future__ import annotations

import configparser
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from fanlight.cli import main
from fanlight.http.server import KILL_AFTER
from fanlight.settings import Settings
from fanlight.settings.drivers import DRIVER_OPTIONS
from fanlight.settings.load import load
from tests.docs.pages import ROOT, blocks, pages


def example(page: str, name: str) -> str:
    """The file `name` that a page shows."""
    (found,) = [one for one in blocks(page) if one.mark == f"file: {name}"]
    return found.text


def test_the_configuration_is_read_without_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "glance-api.conf"
    file.write_text(example("docs/install.md", "glance-api.conf"))
    settings = load([str(file)])
    assert settings.warnings == ()
    assert settings.server.workers == 4
    assert [store.id for store in settings.stores.stores] == ["local"]
    assert settings.identity.mode == "keystone"


def test_the_extras_of_the_stores_are_those_that_there_are() -> None:
    """Each store with the extra of its name, or none; and every extra is named."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    page = pages()["docs/install.md"]
    rows = re.findall(r"^\| `(\w+)` \| (?:`(\w+)`|none)(?:;[^|]*)? \|$", page, re.MULTILINE)
    assert {store for store, _ in rows} == set(DRIVER_OPTIONS) - {"memory"}
    assert {store: extra for store, extra in rows if extra} == {name: name for name in declared if name in dict(rows)}
    assert [name for name in declared if name != "dev" and f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", ["docs/identity.md", "docs/deployment.md", "docs/install.md", "docs/policy.md"])
def test_options_that_are_named_with_their_group_exist(page: str, tmp_path: Path) -> None:
    for group, line in re.findall(r"`\[(\w+)\] (\w+ = [^`]+)`", pages()[page]):
        if group == "DEFAULT" and line.startswith("public_endpoint"):
            continue
        file = tmp_path / "some.conf"
        file.write_text(
            f"[DEFAULT]\nenabled_backends = a:file\n[glance_store]\ndefault_backend = a\n[{group}]\n{line}\n"
        )
        name = line.partition(" ")[0]
        found = load([str(file)])
        assert not [warning for warning in found.warnings if f"]{name}" in warning], f"{page}: [{group}] {line}"


@pytest.fixture
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(example("docs/deployment.md", "fanlight.service"))
    return parser


def test_the_unit_starts_what_there_is(unit: configparser.ConfigParser) -> None:
    program, command, *words = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/bin/fanlight")
    serve = main.commands[command]
    context = serve.make_context(command, words)
    assert isinstance(context, click.Context)
    assert context.params["config_file"] == ("/etc/fanlight/glance-api.conf",)


def test_the_unit_leaves_transfers_their_time(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    assert int(service["TimeoutStopSec"]) > Settings().server.graceful_seconds + KILL_AFTER
    assert service["KillMode"] == "mixed"
    assert service["ExecReload"].endswith("kill -HUP $MAINPID")
    assert service["Type"] == "notify"


def test_the_unit_lets_the_service_write_where_the_configuration_says(unit: configparser.ConfigParser) -> None:
    writable = unit["Service"]["ReadWritePaths"].split()
    configuration = example("docs/install.md", "glance-api.conf")
    for path in re.findall(r"^\w+ = (/var/\S+)$", configuration, re.MULTILINE):
        assert any(path.startswith(folder) for folder in writable), path


def test_proxies_are_more_patient_than_the_service() -> None:
    server = Settings().server
    nginx, haproxy = example("docs/deployment.md", "nginx.conf"), example("docs/deployment.md", "haproxy.cfg")
    for name in ("client_body_timeout", "send_timeout", "proxy_send_timeout", "proxy_read_timeout"):
        (seconds,) = re.findall(rf"\b{name} (\d+)s;", nginx)
        assert int(seconds) > max(server.body_seconds, server.answer_seconds), name
    for side in ("client", "server"):
        (seconds,) = re.findall(rf"timeout {side} (\d+)s$", haproxy, re.MULTILINE)
        assert int(seconds) > max(server.body_seconds, server.answer_seconds), side
    # An idle connection that the proxy keeps must not be one that the service has just closed.
    (idle,) = re.findall(r"timeout http-keep-alive (\d+)s$", haproxy, re.MULTILINE)
    assert int(idle) < server.idle_seconds
    assert nginx.count("{") == nginx.count("}")
    assert "client_max_body_size 0;" in nginx
    assert "proxy_request_buffering off;" in nginx
