"""Configuration files and the environment to typed values, one at a time; what is wrong is told in one line.

oslo.config does the parsing, typing and `$` substitution. What is added here is where each value came from, since an
operator with five files wants to know which of them to open.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from oslo_config import cfg, types

from fanlight.errors import SettingsError
from fanlight.settings.options import KEYSTONE, OPTIONS, spellings


class Given(NamedTuple):
    """What a file says of one option: its lines, as text, and the file (of several, the last)."""

    lines: list[str]
    file: str


Sections = dict[str, dict[str, Given]]
"""Group (lower case but DEFAULT) -> name, as written -> what is given."""


def list_files(config_files: Sequence[str], config_dirs: Sequence[str]) -> list[str]:
    """The files to read, in order. Raises SettingsError for a folder that is not there."""
    found = [str(name) for name in config_files]
    for folder in config_dirs:
        if not Path(folder).is_dir():
            raise SettingsError(f"The configuration folder {folder} does not exist.")
        found += [str(path) for path in sorted(Path(folder).glob("*.conf"))]
    return found


def read_sections(files: Iterable[str]) -> Sections:
    """What all files say. Raises SettingsError with file and line for one that cannot be read or understood."""
    sections: Sections = {}
    for name in files:
        found: dict[str, dict[str, list[str]]] = {}
        try:
            cfg.ConfigParser(name, found).parse()
        except OSError as error:
            raise SettingsError(f"The configuration file {name} cannot be read: {error.strerror}.") from None
        except cfg.ParseError as error:
            # The line itself may hold a password.
            raise SettingsError(f"The configuration file {name}, line {error.lineno}: {error.msg}.") from None
        except UnicodeDecodeError:
            raise SettingsError(f"The configuration file {name} is not UTF-8 text.") from None
        for group, values in found.items():
            target = sections.setdefault(in_lower_case(group), {})
            for key, lines in values.items():
                target[key] = Given(lines, name)
    return sections


def in_lower_case(group: str) -> str:
    """Groups are the same in any case, except DEFAULT."""
    return group if group == "DEFAULT" else group.lower()


@contextmanager
def no_word_of_older_names() -> Iterator[None]:
    """Keep oslo.config from telling of them, on standard error before there is a log: `Reader.older_names` does."""
    its_log = logging.getLogger("oslo_config.cfg")

    def other(record: logging.LogRecord) -> bool:
        return "is deprecated. Use option" not in str(record.msg)

    its_log.addFilter(other)
    try:
        yield
    finally:
        its_log.removeFilter(other)


class Reader:
    """The options of one set of files, the environment (`OS_<GROUP>__<OPTION>`, which wins over files) and overrides.

    `overrides`: values by the names of options, from the command line; they win over all. Raises SettingsError.
    """

    def __init__(self, files: Sequence[str], overrides: Mapping[str, Any]) -> None:
        self.files = list(files)
        self.sections = read_sections(self.files)
        self.warnings: list[str] = []
        self._conf = cfg.ConfigOpts()
        self._options: dict[tuple[str, str], cfg.Opt] = {}
        self._overrides = {name: value for name, value in overrides.items() if value is not None}
        for group, options in OPTIONS.items():
            self.register(group, options)
        try:
            self._conf(args=[], default_config_files=self.files, default_config_dirs=[], project="fanlight")
        except (cfg.Error, ValueError) as error:
            raise SettingsError(" ".join(str(error).split())) from None
        for name, value in self._overrides.items():
            self._override(name, value)

    def register(self, group: str, options: Iterable[cfg.Opt]) -> None:
        """Make options of a group known, before their values are asked for."""
        for option in options:
            self._conf.register_opt(option, group=None if group == "DEFAULT" else group)
            self._options[group, option.dest] = option

    def _override(self, name: str, value: Any) -> None:
        for group, options in OPTIONS.items():
            if any(option.dest == name for option in options):
                try:
                    self._conf.set_override(name, value, group=None if group == "DEFAULT" else group)
                except ValueError:
                    raise self.wrong(group, name, f"it must be {kind_of(self._options[group, name])}") from None
                return
        raise SettingsError(f"There is no option {name}.")

    def value(self, group: str, name: str) -> Any:
        """The value of an option, typed. Raises SettingsError with file, group, option and value."""
        option = self._options[group, name]
        try:
            found = (self._conf if group == "DEFAULT" else self._conf[group])[name]
        except (cfg.NoSuchOptError, cfg.NoSuchGroupError, cfg.TemplateSubstitutionError):
            raise self.wrong(
                group, name, "it refers with $ to an option that is not there (a dollar sign is written $$)"
            ) from None
        except ValueError:
            raise self.wrong(group, name, f"it must be {kind_of(option)}") from None
        if (found is None and option.default is not None) or (isinstance(found, float) and not math.isfinite(found)):
            raise self.wrong(group, name, f"it must be {kind_of(option)}")
        return found

    def is_given(self, group: str, name: str) -> bool:
        """Whether a file, the environment or the command line says something of this option."""
        try:
            location = self._conf.get_location(name, group=None if group == "DEFAULT" else group)
        except (ValueError, cfg.NoSuchOptError, cfg.NoSuchGroupError, cfg.TemplateSubstitutionError):
            return True  # and wrong, which `value` will tell
        return location is not None and location.location not in (cfg.Locations.opt_default, cfg.Locations.set_default)

    def wrong(self, group: str, name: str, reason: str) -> SettingsError:
        """The error for a value that cannot be."""
        option = self._options[group, name]
        place, shown_group, shown_name, text = self._origin(group, option)
        value = " = (not shown)" if option.secret and text else f" = {text}" if text is not None else ""
        return SettingsError(f"{place}[{shown_group}]{shown_name}{value} is wrong: {reason}.")

    def _origin(self, group: str, option: cfg.Opt) -> tuple[str, str, str, str | None]:
        """File or variable, group, name and text of what is given; for an error."""
        if option.dest in self._overrides:
            return "", group, option.dest, str(self._overrides[option.dest])
        variable = f"OS_{group.upper()}__{option.dest.upper()}"
        if variable in os.environ:
            return f"{variable}: ", group, option.dest, os.environ[variable]
        for where, name in spellings(option, group):
            given = self.sections.get(in_lower_case(where), {}).get(name)
            if given is not None:
                text = ", ".join(" ".join(line.split()) for line in (given.lines if option.multi else given.lines[-1:]))
                return f"{given.file}: ", where, name, text
        return "", group, option.dest, None

    def older_names(self) -> Iterator[str]:
        """A line for each option that a file gives by an older name; `-` for `_` makes no other name."""
        for (group, dest), option in self._options.items():
            for where, name in spellings(option, group):
                given = self.sections.get(in_lower_case(where), {}).get(name)
                if given is not None and (where, name.replace("-", "_")) != (group, dest):
                    yield f"{given.file}: [{where}]{name} is an older name: write [{group}]{dest}."

    def warn(self, text: str) -> None:
        """Keep a warning for the operator."""
        self.warnings.append(text)

    def raw_group(self, group: str) -> dict[str, str]:
        """A group as text by name, with `_` for `-`; of repeated lines the last. The environment wins."""
        found = {name.replace("-", "_"): given.lines[-1] for name, given in self.sections.get(group, {}).items()}
        prefix = f"OS_{group.upper()}__"
        for variable, value in os.environ.items():
            if variable.startswith(prefix):
                found[variable.removeprefix(prefix).lower()] = value
        return found

    def keystone(self) -> dict[str, str]:
        """`[keystone_authtoken]` for keystonemiddleware, which types it itself."""
        return self.raw_group(KEYSTONE)


def kind_of(option: cfg.Opt) -> str:
    """In words, which values an option takes: "a whole number of at least 1"."""
    kind = option.type
    choices = [str(value) for value in getattr(kind, "choices", None) or ()]
    if choices:
        return "one of " + ", ".join(choices)
    if option.multi:
        return "text; may be repeated"
    if isinstance(kind, types.Boolean):
        return "true or false"
    if isinstance(kind, types.Port):
        return "a port, 0 to 65535"
    if isinstance(kind, types.Integer):
        return "a whole number" + _range(kind)
    if isinstance(kind, types.Float):
        return "a number" + _range(kind)
    if isinstance(kind, types.List):
        return "a list in brackets, separated by commas" if kind.bounds else "a list, separated by commas"
    if isinstance(kind, types.Dict):
        return "pairs key:value, separated by commas"
    if isinstance(kind, types.HostAddress):
        return "a host name or address"
    return "text"


def _range(kind: Any) -> str:
    low, high = kind.min, kind.max
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return f" of at most {high}" if high is not None else ""
