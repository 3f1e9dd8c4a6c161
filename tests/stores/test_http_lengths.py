"""What an HTTP answer says of its length, believed or not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fanlight.stores.transfer import Answer


@pytest.mark.parametrize(
    ("text", "length"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 12 ", 12),
        ("-1", None),
        ("1_0", None),
        ("²", None),
        ("9" * 19, 10**19 - 1),
        # More digits than Python turns into a number: whoever sends them is no image server.
        ("9" * 5000, None),
    ],
)
def test_lengths(text: str | None, length: int | None) -> None:
    answer = object.__new__(Answer)
    headers = {"Content-Length": text}
    answer.response = SimpleNamespace(getheader=headers.get)  # type: ignore[assignment]
    assert answer.length == length
