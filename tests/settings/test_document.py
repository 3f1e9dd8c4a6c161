"""The sample, the page docs/configuration.md and the declarations that both are made of."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fanlight import settings as package
from fanlight.settings import Settings
from fanlight.settings.declaring import declared
from fanlight.settings.drivers import DRIVER_OPTIONS, STORE_OPTIONS
from fanlight.settings.known import NOT_HONOURED
from fanlight.settings.load import load
from fanlight.settings.options import CLASSES, GROUPS, OPTIONS
from fanlight.settings.sample import config_document, config_sample

ROOT = Path(__file__).parents[2]
NOT_READ = ("data_dir",)
"""Fields that other settings are made of, and that nothing else needs."""


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == config_document(), "run `make docs`"


def test_the_page_and_the_sample_have_every_option() -> None:
    page, sample = config_document(), config_sample()
    for options in (*OPTIONS.values(), STORE_OPTIONS, *DRIVER_OPTIONS.values()):
        for option in options:
            if option.dest == "work_dir":  # a group of its own, without effect
                continue
            assert f"| `{option.dest}` |" in page
            assert f"\n#{option.dest} = " in sample
    for group, names in NOT_HONOURED.items():
        assert f"| `[{group}]` |" in page
        assert all(f"`{name}`" in page for name in names)


def test_every_option_has_a_help_of_whole_sentences() -> None:
    for options in (*OPTIONS.values(), STORE_OPTIONS, *DRIVER_OPTIONS.values()):
        for option in options:
            assert re.fullmatch(r"[^\n]+\.", option.help or ""), option.dest


def test_every_group_of_the_page_is_described() -> None:
    assert set(OPTIONS) - set(GROUPS) == {"task"}


def test_the_sample_uncommented_changes_nothing(tmp_path: Path) -> None:
    stores = config_sample().index("# The options of a store")
    lines = []
    told = [NOT_HONOURED[group] for group in ("DEFAULT", "image_format")]
    for line in config_sample()[:stores].splitlines():
        option = re.fullmatch(r"#(\w+) = (.*)", line)
        if option and option[2] != "<none>" and not any(option[1] in names for names in told):
            lines.append(line[1:])
        elif line.startswith("["):
            lines.append(line)
    assert len(lines) > 60
    file = tmp_path / "all.conf"
    file.write_text("\n".join(lines) + "\n")
    (tmp_path / "policy.yaml").write_text("{}")
    found = load([str(file)])
    expected = ("connection is not set", "schema-image.json does not exist")
    assert [line for line in found.warnings if not any(words in line for words in expected)] == []
    for group in ("server", "api", "formats", "identity", "cors", "logging"):
        assert getattr(found, group) == getattr(Settings(), group)


def test_options_of_stores_uncommented_change_nothing(tmp_path: Path) -> None:
    text = config_sample()
    for kind in DRIVER_OPTIONS:
        part = text.split(f"# Stores of type {kind}:")[1].split("# Stores of type")[0]
        lines = [line[1:] for line in part.splitlines() if re.match(r"#\w+ = (?!<none>)", line)]
        file = tmp_path / f"{kind}.conf"
        head = f"[DEFAULT]\nenabled_backends = a:{kind}\n[glance_store]\ndefault_backend = a\n[a]\n"
        file.write_text(head)
        plain = load([str(file)]).stores.stores[0]
        file.write_text(head + "\n".join(lines) + "\n")
        assert load([str(file)]).stores.stores[0] == plain


def _documented_fields() -> set[tuple[str, str]]:
    """(Class, field) of the fields that have a text of their own below them."""
    found = set()
    for node in ast.parse(Path(package.__file__).read_text()).body:
        if isinstance(node, ast.ClassDef):
            for one, following in zip(node.body, node.body[1:], strict=False):
                text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and text:
                    found.add((node.name, one.target.id))
    return found


@pytest.mark.parametrize("name", list(package.__all__))
def test_every_field_is_an_option_with_help_or_explained(name: str) -> None:
    kind = getattr(package, name)
    explained = {field for owner, field in _documented_fields() if owner == name}
    explained |= {one.field for one in declared(kind) if one.option.help}
    assert {field.name for field in dataclasses.fields(kind)} == explained


def test_every_setting_is_read_somewhere() -> None:
    """An option that nothing reads would be ignored in silence."""
    code = "\n".join(
        path.read_text() for path in sorted((ROOT / "fanlight").rglob("*.py")) if path.parent.name != "settings"
    )
    for kind in CLASSES:
        for one in declared(kind):
            told = one.option.dest in NOT_HONOURED.get(one.group, ()) or one.field in NOT_READ
            if not told and not one.field.startswith("remote_"):
                assert re.search(rf"\.{one.field}\b", code), f"{kind.__name__}.{one.field}"


def _fanlight(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fanlight", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_the_commands_print_them() -> None:
    assert _fanlight("config", "sample").stdout.strip() == config_sample().strip()
    assert _fanlight("config", "document").stdout == config_document()


def test_a_wrong_value_stops_the_start_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "glance-api.conf"
    file.write_text("[DEFAULT]\nworkers = many\n")
    done = _fanlight("serve", "--config-file", str(file))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"fanlight: {file}: [DEFAULT]workers = many is wrong: it must be a whole number of at least 0.\n"
    )
