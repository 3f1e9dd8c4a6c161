"""Gzip: for JSON, when it is asked for and pays, and for nothing else."""

from __future__ import annotations

import gzip

import pytest

from fanlight.http.call import Answer
from fanlight.http.compression import accepts_gzip, compress
from fanlight.http.identity.head import RequestHead

LONG = b'{"images": [' + b", ".join(b'{"id": %d}' % number for number in range(300)) + b"]}"


def head(accept_encoding: str | None) -> RequestHead:
    headers = [] if accept_encoding is None else [(b"accept-encoding", accept_encoding.encode())]
    return RequestHead("GET", "/v2/images", "", headers, None, "http")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*", True),
        ("*;q=0", False),
        ("*;q=0, gzip", True),
        ("identity", False),
        ("gzipped", False),
        ("gzip;q=nonsense", False),
    ],
)
def test_what_allows_gzip(value: str | None, expected: bool) -> None:
    assert accepts_gzip(value) is expected


def test_a_long_json_answer_is_compressed() -> None:
    answer = compress(Answer(200, [(b"content-type", b"application/json"), (b"x-a", b"b")], LONG), head("gzip"))
    assert gzip.decompress(answer.body) == LONG
    assert len(answer.body) < len(LONG) / 3
    assert dict(answer.headers) == {
        b"content-type": b"application/json",
        b"x-a": b"b",
        b"vary": b"Accept-Encoding",
        b"content-encoding": b"gzip",
    }


def test_without_being_asked_only_the_variation_is_told() -> None:
    answer = compress(Answer(200, [(b"content-type", b"application/json")], LONG), head(None))
    assert answer.body == LONG
    assert answer.headers == [(b"content-type", b"application/json"), (b"vary", b"Accept-Encoding")]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, [(b"content-type", b"application/octet-stream")], LONG),
        Answer(200, [(b"content-type", b"text/html")], LONG),
        Answer(200, [], LONG),
        Answer(200, [(b"content-type", b"application/json")], b"{}"),
        Answer(204, []),
    ],
)
def test_everything_else_stays(answer: Answer) -> None:
    assert compress(answer, head("gzip")) == answer
