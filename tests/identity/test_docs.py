"""docs/identity.md says what is so: its files are read, its commands are run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fanlight.http.identity import MODES, open_identity
from fanlight.http.identity.accounts import parse_htpasswd, parse_mapping
from fanlight.settings.load import load
from tests.docs.pages import block, pages

from .conftest import RoleAdmin

PAGE = "docs/identity.md"


def test_every_mode_has_its_chapter() -> None:
    chapters = set(re.findall(r"^## (\w+)$", pages()[PAGE], re.MULTILINE))
    assert set(MODES) <= chapters


def test_the_mapping_file_is_read() -> None:
    callers = parse_mapping(block(PAGE, "[alice]").text.encode(), "users.ini")
    assert callers[b"alice"].roles == ("member", "reader")
    assert callers[b"operator"].project_id is None


def test_the_command_without_htpasswd_makes_a_line() -> None:
    line = block(PAGE, "$ python3 -c ").script()
    command = line.partition(" >> ")[0].removeprefix("python3 -c ").strip("'")
    # Without a terminal, getpass reads the standard input.
    done = subprocess.run(
        [sys.executable, "-c", command],
        input=b"wonder\n",
        capture_output=True,
        start_new_session=True,
        timeout=30,
        check=True,
    )
    last = done.stdout.splitlines()[-1]
    assert parse_htpasswd(last[last.index(b"alice:") :], "htpasswd").keys() == {b"alice"}


@pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning")
def test_the_files_of_http_basic_and_keystone_are_settings(tmp_path: Path) -> None:
    basic, keystone = (block(PAGE, f"[paste_deploy]\nflavor = {mode}").text for mode in ("http_basic", "keystone"))
    file = tmp_path / "glance-api.conf"
    file.write_text(basic.replace("/etc/fanlight", str(tmp_path)))
    settings = load([str(file)])
    assert settings.identity.mode == "http_basic"
    assert settings.identity.htpasswd_file == str(tmp_path / "htpasswd")
    assert settings.identity.mapping_file == str(tmp_path / "users.ini")
    file.write_text(keystone)
    settings = load([str(file)])
    assert open_identity(settings, RoleAdmin()).announcement is None
    assert settings.keystone["memcached_servers"] == "10.0.0.11:11211, 10.0.0.12:11211"


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"^`(?:\[DEFAULT\] )?(\w+) = true`", pages()[PAGE], re.MULTILINE)))
)
def test_the_switches_exist(tmp_path: Path, name: str) -> None:
    file = tmp_path / "glance-api.conf"
    group = "DEFAULT" if name == "allow_anonymous_access" else "fanlight"
    file.write_text(f"[{group}]\n{name} = true\n")
    settings = load([str(file)])
    assert not [line for line in settings.warnings if name in line]
    assert getattr(settings.identity, name.removesuffix("_none")) is True
