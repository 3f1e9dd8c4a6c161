"""The pages of the documentation in pieces: fenced blocks with their marks, links, anchors.

A fenced block of the language `console` holds commands, and nothing else does. Each line begins with `$ `, or goes on
where the line above ends with a backslash. The comment before it names it:

    <!-- tested: quickstart -->          run as it stands by tests/docs/test_commands.py
    <!-- not tested: make-test -->       listed there with the reason
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
COMMAND = "console"

_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its page, the line on which it begins, its language, its text, the comment right before it."""

    page: str
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def script(self) -> str:
        """The commands of a console block as a script for a shell. Raises AssertionError for anything else in it."""
        lines, goes_on = [], False
        for line in self.text.splitlines():
            assert goes_on or line.startswith("$ "), f"{self}: not a command: {line}"
            lines.append(line if goes_on else line.removeprefix("$ "))
            goes_on = line.endswith("\\")
        return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Every page, by its path from the top folder, with its text."""
    paths = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            found["text"],
            found["mark"] or "",
        )
        for found in _FENCE.finditer(text)
    ]


def block(page: str, beginning: str) -> Block:
    """The only block of a page that begins with a text. Raises AssertionError where there is none, or more."""
    found = [one for one in blocks(page) if one.text.startswith(beginning)]
    assert len(found) == 1, f"{page} has {len(found)} blocks that begin with {beginning}"
    return found[0]


def without_blocks(text: str) -> str:
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Where the links of a page lead; those in code are none."""
    return _LINK.findall(re.sub(r"`[^`\n]*`", "``", without_blocks(text)))


def anchors(text: str) -> set[str]:
    """The names under which the headings of a page can be linked, as GitHub and most renderers make them."""
    found: set[str] = set()
    for heading in _HEADING.findall(without_blocks(text)):
        name = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        found.add(name if name not in found else f"{name}-1")
    return found
