"""Configuration files of one's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import SettingsError
from fanlight.settings import Settings
from fanlight.settings.load import load

Load = Callable[..., Settings]
Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No option from outside, and relative paths in a folder of one's own."""
    for name in os.environ:
        if name.startswith("OS_") and "__" in name:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """loaded("text of glance-api.conf", **overrides)."""

    def read(text: str, **overrides: Any) -> Settings:
        file = tmp_path / "glance-api.conf"
        file.write_text(text)
        return load([str(file)], [], overrides)

    return read


@pytest.fixture
def refused(loaded: Load, tmp_path: Path) -> Refused:
    """The one line with which a file is refused, without the folder's name."""

    def read(text: str, **overrides: Any) -> str:
        with pytest.raises(SettingsError) as caught:
            loaded(text, **overrides)
        line = str(caught.value)
        assert "\n" not in line
        return line.replace(f"{tmp_path}/", "")

    return read


def told(settings: Settings, word: str) -> list[str]:
    """The warnings that name a word, without folders."""
    return [line.rpartition("/")[2] if line.startswith("/") else line for line in settings.warnings if word in line]
