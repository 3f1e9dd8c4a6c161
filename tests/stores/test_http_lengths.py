"""What an HTTP answer says of its length, believed or not."""

from __future__ import annotations

import socket
from http.client import HTTPConnection

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
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = HTTPConnection("images.example.org")
        connection.sock = ours
        connection.request("HEAD", "/")
        header = "" if text is None else f"Content-Length: {text}\r\n"
        theirs.sendall(f"HTTP/1.1 200 OK\r\n{header}\r\n".encode("latin-1"))
        assert Answer(connection).length == length
        connection.close()
