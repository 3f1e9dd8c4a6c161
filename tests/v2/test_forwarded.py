"""The address that proxies tell: what is taken of it, and what is no address and so is not taken."""

from __future__ import annotations

import pytest

from fanlight.http.forwarded import believe
from fanlight.http.identity import RequestHead


def told(**headers: str) -> str | None:
    """`public_url` for these headers, of a request to http://inside:9292."""
    given = {"host": "inside:9292", **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
    return believe(RequestHead("GET", "/", "", raw, None, "http")).public_url


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ("proto=https;host=out.example", "https://out.example"),
        ("for=192.0.2.1; Proto=HTTPS ;HOST=out.example:1", "https://out.example:1"),
        ('host="[2001:db8::1]:8443";proto="https"', "https://[2001:db8::1]:8443"),
        ("host=first.example;proto=https, host=second.example;proto=http", "https://first.example"),
        ("for=192.0.2.1", "http://inside:9292"),
        ("proto=https", "https://inside:9292"),
        ("host=out.example", "http://out.example"),
        ("", "http://inside:9292"),
        (";;,=,;=", "http://inside:9292"),
        ("proto=ftp;host=a/b", "http://inside:9292"),
        ("host=caf\xe9.example", "http://inside:9292"),
    ],
)
def test_forwarded(header: str, url: str) -> None:
    assert told(forwarded=header) == url


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({}, "http://inside:9292"),
        ({"proto": "https"}, "https://inside:9292"),
        ({"proto": "https, http", "host": "out.example, mid.example"}, "https://out.example"),
        ({"proto": "https", "host": "out.example", "port": "443"}, "https://out.example"),
        ({"proto": "https", "host": "out.example", "port": "80"}, "https://out.example:80"),
        ({"proto": "https", "host": "out.example", "port": "8443, 80"}, "https://out.example:8443"),
        ({"host": "out.example", "port": "80"}, "http://out.example"),
        ({"host": "out.example:1", "port": "2"}, "http://out.example:1"),
        ({"host": "[2001:db8::1]", "port": "2"}, "http://[2001:db8::1]:2"),
        ({"host": "[2001:db8::1]:1", "port": "2"}, "http://[2001:db8::1]:1"),
        ({"host": "out.example", "port": "0"}, "http://out.example"),
        ({"host": "out.example", "port": "x"}, "http://out.example"),
        ({"proto": "javascript", "host": "<script>"}, "http://inside:9292"),
        ({"host": "user:secret@out.example"}, "http://inside:9292"),
        ({"prefix": "/image"}, "http://inside:9292/image"),
        ({"prefix": "/a/b/"}, "http://inside:9292/a/b"),
        ({"prefix": "/"}, "http://inside:9292"),
        ({"prefix": "image"}, "http://inside:9292"),
        ({"prefix": "//evil.example"}, "http://inside:9292"),
        ({"prefix": "/a?b=c"}, "http://inside:9292"),
        ({"prefix": "/a b"}, "http://inside:9292"),
    ],
)
def test_older_headers(headers: dict[str, str], url: str) -> None:
    assert told(**{f"x-forwarded-{name}": value for name, value in headers.items()}) == url


def test_the_standard_header_wins_but_for_the_prefix() -> None:
    older = {"x-forwarded-proto": "https", "x-forwarded-host": "older.example", "x-forwarded-prefix": "/image"}
    assert told(forwarded="host=out.example", **older) == "http://out.example/image"
