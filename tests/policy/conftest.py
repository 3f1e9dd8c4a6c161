"""Policies over files of one's own, callers and images."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanlight.model import Caller, Image
from fanlight.operations.policy import Policy, open_policy
from fanlight.settings import PolicySettings

OpenPolicy = Callable[..., Policy]
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)


def caller(project: str | None = "one", *roles: str, **fields: Any) -> Caller:
    return Caller(user_id="u", project_id=project, roles=roles or ("member", "reader"), **fields)


def image(owner: str | None = "one", visibility: str = "private", **fields: Any) -> Image:
    return Image(
        id="i-1", status="active", created_at=NOW, updated_at=NOW, owner=owner, visibility=visibility, **fields
    )


def write_later(path: Path, text: str) -> None:
    """Write as an editor does some time after the last look: with another time of change, that is not just now."""
    path.write_text(text)
    before = path.stat().st_mtime_ns
    os.utime(path, ns=(before - 10**9, before - 10**9))


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


@pytest.fixture
def policy(policy_file: Path) -> OpenPolicy:
    """policy("text of a file" or None, **options of PolicySettings)."""

    def opened(text: str | None = None, **options: Any) -> Policy:
        if text is not None:
            write_later(policy_file, text)
        return open_policy(PolicySettings(policy_file=str(policy_file), **options))

    return opened
