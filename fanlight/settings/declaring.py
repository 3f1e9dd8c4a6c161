"""How the classes of settings declare their options: the field is the option, its default and its help stand beside it.

From these declarations come the parsing of configuration files (load.py), the sample and the documentation (sample.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, fields
from typing import Any, NamedTuple

from oslo_config import cfg

_SAME = object()


class Declared(NamedTuple):
    """One option: the field that takes it, the group of the configuration file, and the option."""

    field: str
    group: str
    option: cfg.Opt


def option(
    group: str,
    kind: type[cfg.Opt],
    default: Any,
    help_text: str,
    *,
    name: str | None = None,
    value: Any = _SAME,
    **more: Any,
) -> Any:
    """A field of a dataclass that an option of `group` fills.

    `name`: the option's name where it is not the field's. `value`: the field's default where it is not the option's
    (None, or written in another form). `more`: further arguments of oslo.config's class `kind`.
    """
    if value is _SAME:
        value = tuple(default) if isinstance(default, list) else default
    declared = (group, kind, name, {"default": default, "help": help_text, **more})
    return field(default=value, repr=not more.get("secret", False), metadata={"option": declared})


def declared(settings_class: type) -> Iterator[Declared]:
    """The options that a class of settings declares, in their order."""
    for one in fields(settings_class):
        if "option" in one.metadata:
            group, kind, name, arguments = one.metadata["option"]
            yield Declared(one.name, group, kind(name or one.name, **arguments))
