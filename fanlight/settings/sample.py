"""Options as documentation: a sample configuration file, and the page docs/configuration.md. Made from the tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from oslo_config import cfg, types

from fanlight.settings.drivers import DRIVER_OPTIONS, NO_EFFECT, STORE_OPTIONS
from fanlight.settings.known import INSTEAD, NOT_HONOURED
from fanlight.settings.options import GROUPS, KEYSTONE, OPTIONS, spellings
from fanlight.settings.reading import kind_of

_INTRODUCTION = f"""\
# Configuration

<!-- Made by `make docs` from fanlight/settings: edit the declarations there, not this page. -->

No file is needed: without one, the service keeps a SQLite database and images in `./data` and listens on
127.0.0.1:9292. `fanlight serve --config-file glance-api.conf` reads a file in Glance's own format with Glance's own
names. Several files and folders (`--config-dir`, whose `*.conf` files are read in the order of their names) may be
given; later values win, then the environment (`OS_<GROUP>__<OPTION>`, such as `OS_DATABASE__CONNECTION`), then the
command line. `$name` and `$group.name` in a value stand for another option; a dollar sign is written `$$`.

At start, every option that has no effect is named in a warning: those that are [known and not
honoured](#known-and-not-honoured), misspelled ones, and ones in a wrong group. A wrong value stops the start with one
line that names file, group, option and value. `fanlight config sample` prints all options as a file; `fanlight doctor`
shows the warnings without starting anything.

`[{KEYSTONE}]` goes to keystonemiddleware as it stands: see [identity](identity.md).

## Stores

Images are in one or several stores, in one of three forms:

- **several**: `[DEFAULT]enabled_backends = fast:rbd, local:file` names them, `[glance_store]default_backend` the one
  for new data, and each has a group of its own name (`[fast]`, `[local]`) with its options. What a store does not say
  itself is taken from `[backend_defaults]`, then from the defaults. Ids that begin with `os_glance_` are reserved.
- **classic**: without `enabled_backends`, `[glance_store]` holds `stores`, `default_store` and the options of all of
  them; with a configuration file that says nothing of stores, that is `file,http` and /var/lib/glance/images, as in
  Glance.
- **none configured**: without any file, or where `data_dir` is set and nothing is said of stores, one store `local` of
  type file, in the folder `images` of `data_dir`.

"""

_PIPELINES = """\
## Pipeline files

A `glance-api-paste.ini` is never executed: `[paste_deploy]flavor` alone decides how callers are identified. A file that
is there is compared with the one that Glance ships, and a warning names what differs in the pipeline of that flavor.
One thing is taken from it: the file with which operators switch the health check off (`disable_by_file_path`).

"""


def config_sample() -> str:
    """Every option with its help and default, as a configuration file in which everything is commented out."""
    lines: list[str] = []
    for group, options in OPTIONS.items():
        if group in GROUPS:
            lines += [f"[{group}]", f"# {GROUPS[group]}", ""]
            lines += _sample_lines(options)
    lines += ["# The options of a store stand in its own group, [ID], in [backend_defaults], or in [glance_store].", ""]
    lines += _sample_lines(STORE_OPTIONS)
    for kind, options in DRIVER_OPTIONS.items():
        lines += [f"# Stores of type {kind}:", "", *_sample_lines(options)]
    return "\n".join(lines).rstrip() + "\n"


def _sample_lines(options: Iterable[cfg.Opt]) -> Iterator[str]:
    for option in options:
        yield from textwrap.wrap(f"{option.help} ({kind_of(option)})", 110, initial_indent="# ", subsequent_indent="# ")
        yield f"#{option.dest} = {_default(option)}"
        yield ""


def config_document() -> str:
    """The page docs/configuration.md."""
    lines: list[str] = []
    for group, about in GROUPS.items():
        lines += [f"## [{group}]", "", about, "", *_table(group, OPTIONS[group])]
    lines += ["## Options of stores", "", "Every store of several:", "", *_table("", STORE_OPTIONS)]
    for kind, options in DRIVER_OPTIONS.items():
        lines += [f"### Type {kind}", "", *_table("", options, NO_EFFECT.get(kind, frozenset()))]
    lines += [
        "## Known and not honoured",
        "",
        "Options that Glance has or had and that have no effect here; their use is named in a warning.",
        "",
        "| Group | Options |",
        "|---|---|",
    ]
    for group, names in sorted(NOT_HONOURED.items()):
        lines.append(f"| `[{group}]` | {', '.join(f'`{name}`' for name in sorted(names))} |")
    lines += ["", "What holds or helps instead of some of them:", "", "| Option | Instead |", "|---|---|"]
    for (group, name), text in sorted(INSTEAD.items()):
        lines.append(f"| `[{group}]{name}` | {text} |")
    return _INTRODUCTION + _PIPELINES + "\n".join(lines) + "\n"


def _table(group: str, options: Iterable[cfg.Opt], without: frozenset[str] = frozenset()) -> Iterator[str]:
    yield "| Option | Default | Value | Meaning |"
    yield "|---|---|---|---|"
    for option in options:
        text = option.help or ""
        if option.dest in without or option.dest in NOT_HONOURED.get(group, ()):
            text += " **No effect yet.**"
        old = [f"`{name}`" if where == group else f"`[{where}]{name}`" for where, name in spellings(option, group)[1:]]
        if old:
            text += f" Also as {', '.join(old)}."
        kind = kind_of(option) + (", secret" if option.secret else "")
        yield f"| `{option.dest}` | {_cell(option)} | {_escaped(kind)} | {_escaped(text)} |"
    yield ""


def _text(value: Any) -> str:
    if value is None:
        return "<none>"
    if isinstance(value, list):
        return ",".join(str(one) for one in value)
    if isinstance(value, dict):
        return ",".join(f"{key}:{one}" for key, one in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _default(option: cfg.Opt) -> str:
    """The default as a file would have it; some lists stand in brackets there."""
    text = _text(option.default)
    return f"[{text}]" if isinstance(option.type, types.List) and option.type.bounds else text


def _cell(option: cfg.Opt) -> str:
    return f"`{_default(option)}`" if option.default not in (None, "", [], {}) else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
