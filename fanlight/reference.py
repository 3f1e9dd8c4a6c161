"""The command line as documentation: docs/cli.md, made from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

_INTRODUCTION = """\
# The command line

<!-- Made by `fanlight document commands` from fanlight/cli.py: edit the commands there, not this page. -->

`fanlight --help` and `fanlight COMMAND --help` print the same. Exit codes: 0 when all went well, 1 with one line on
standard error when it did not, 2 for words that are not understood.
"""


def commands_page(main: click.Group) -> str:
    """The page docs/cli.md of the program `main`."""
    parts = [_INTRODUCTION]
    for words, command in commands(main):
        parts.append("\n".join(_chapter(words, command)))
    return "\n".join(parts)


def commands(
    group: click.Group, before: tuple[str, ...] = ("fanlight",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below `group`, with the words that call it, by name; a group itself is none."""
    for name, command in sorted(group.commands.items()):
        words = (*before, name)
        if isinstance(command, click.Group):
            yield from commands(command, words)
        else:
            yield words, command


def _chapter(words: tuple[str, ...], command: click.Command) -> Iterator[str]:
    # A virtual context: the usage line is the same wherever the program is installed.
    context = click.Context(command, info_name=" ".join(words), max_content_width=100)
    pieces = command.collect_usage_pieces(context)
    yield f"## {' '.join(words)}"
    yield ""
    yield f"`{' '.join([*words, *pieces])}`"
    yield ""
    yield _paragraphs(command.help or "")
    yield ""
    options = [one for one in command.params if isinstance(one, click.Option)]
    if options:
        yield "| Option | Meaning |"
        yield "|---|---|"
        for option in options:
            yield f"| {_cell(option, context)} |"
        yield ""


def _cell(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    names, text = record if record else (", ".join(option.opts), option.help or "")
    return f"`{names}` | {' '.join(text.split())}".replace("\\b", "")


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
