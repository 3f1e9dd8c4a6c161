"""What the program has, the pages have: routes, errors, commands, policy rules. Made pages are current."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import fanlight.stores
from fanlight.cli import main
from fanlight.http import reference
from fanlight.http.identity import MODES
from fanlight.http.routes import ROUTES
from fanlight.operations.rules import RULES
from fanlight.reference import commands, commands_page
from fanlight.settings.drivers import DRIVER_OPTIONS

pytestmark = pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning")
"""WebOb, which the modules of identity and Keystone bring in."""
DOCS = Path(__file__).parents[2] / "docs"
PAGES: dict[str, tuple[str, Callable[[], str]]] = {
    "routes": ("routes.md", reference.routes_page),
    "errors": ("errors.md", reference.errors_page),
    "commands": ("cli.md", lambda: commands_page(main)),
}
COMMANDS = [*commands(main)]


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_current(page: str) -> None:
    name, make = PAGES[page]
    assert text(name) == make(), f"run: fanlight document {page} >docs/{name}"


@pytest.mark.parametrize("page", PAGES)
def test_the_command_prints_the_page(page: str) -> None:
    done = CliRunner().invoke(main, ["document", page])
    assert (done.exit_code, done.output) == (0, PAGES[page][1]())


def test_every_route_is_documented() -> None:
    page = text("routes.md")
    for route in ROUTES:
        assert f"| {route.method} | `{route.path}` |" in page
        # The function's own docstring says which line of the table it answers.
        assert (inspect.getdoc(route.function) or "").startswith(f"{route.method} {route.path}"), route


def test_every_error_is_documented() -> None:
    page = text("errors.md")
    for kind in reference.error_classes():
        line = re.search(rf"^\| `{kind.code}` \| `{kind.__name__}` \| ([^|]+) \| \d{{3}} ", page, re.MULTILINE)
        assert line, kind.__name__
        assert line[1].endswith("."), f"{kind.__name__} is not explained: {line[1]}"


@pytest.mark.parametrize("words", [words for words, _ in COMMANDS], ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*words[1:], "--help"])
    assert done.exit_code == 0
    command = dict(COMMANDS)[words]
    assert command.help
    assert command.help.split("\n\n")[0].rstrip().endswith(".")
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, f"{option.name} has no help"
    assert f"\n## {' '.join(words)}\n" in text("cli.md")


def test_every_group_of_commands_explains_itself() -> None:
    groups = [command for command in main.commands.values() if isinstance(command, click.Group)]
    assert all(group.help for group in (main, *groups))


def test_every_policy_rule_is_in_the_sample_with_a_text() -> None:
    sample = CliRunner().invoke(main, ["policy", "sample"]).output
    uncommented = yaml.safe_load(re.sub(r'^#(?=")', "", sample, flags=re.MULTILINE))
    assert uncommented == {rule.name: rule.check for rule in RULES}
    for rule in RULES:
        above = sample.partition(f'#"{rule.name}":')[0].rpartition("\n\n")[2]
        assert re.search(r"^# \w", above, re.MULTILINE), f"{rule.name} has no text"
    assert f"all {len(RULES)} rules" in text("policy.md")


def test_every_kind_of_store_has_options_on_a_page() -> None:
    page = text("configuration.md")
    found = {module.name for module in pkgutil.iter_modules(fanlight.stores.__path__)}
    for kind in DRIVER_OPTIONS:
        assert f"### Type {kind}" in page
        assert {"file": "filesystem"}.get(kind, kind) in found, f"there is no driver of type {kind}"


def test_every_mode_of_identity_has_a_chapter() -> None:
    assert set(MODES) <= set(re.findall(r"^## (\w+)$", text("identity.md"), re.MULTILINE))


def test_every_module_says_what_it_is() -> None:
    for module in pkgutil.walk_packages(fanlight.__path__, "fanlight."):
        if ".migrations" not in module.name and not module.ispkg and module.name != "fanlight.__main__":
            assert import_module(module.name).__doc__, module.name
