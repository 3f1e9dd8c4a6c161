"""Every relative link leads to a file that is there, and to a heading that is in it."""

from __future__ import annotations

import re

import pytest

from fanlight.cli import main
from fanlight.reference import commands
from tests.docs.pages import ROOT, anchors, links, pages, without_blocks

PAGES = pages()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in links(PAGES[page]):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{page}: {link}: no such heading"


def test_every_page_is_reached_from_the_readme() -> None:
    seen, todo = set(), ["README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page not in PAGES:
            continue
        seen.add(page)
        for link in links(PAGES[page]):
            if not re.match(r"[a-z]+:", link) and not link.startswith("#"):
                path = ((ROOT / page).parent / link.partition("#")[0]).resolve()
                todo.append(str(path.relative_to(ROOT)))
    assert set(PAGES) - seen == set()


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    for name in re.findall(r"`((?:fanlight|tests|docs|scripts|bench)/[\w./-]+\.(?:py|md|sh|json))`", PAGES[page]):
        assert (ROOT / name).exists(), f"{page} names {name}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_named_exist(page: str) -> None:
    known = {words[1:] for words, _ in commands(main)}
    known |= {words[:1] for words in known} | {()}
    for text in re.findall(r"`fanlight((?: [a-z]+)*)", without_blocks(PAGES[page])):
        words = tuple(text.split())
        assert words[:2] in known or words[:1] in known, f"{page} names `fanlight{text}`"


def test_the_pages_name_nothing_of_a_machine() -> None:
    for page, text in PAGES.items():
        assert not re.search(r"/home/|/root/|/tmp/(?!staging)", text), page
