"""Gzip for JSON answers, when the client asks for it and it pays; never for image data, which does not pass here.

The last step of a small answer, in the metadata thread: zlib lets other threads run meanwhile.
"""

from __future__ import annotations

import zlib

from fanlight.http.call import Answer, Headers
from fanlight.http.identity.head import RequestHead

SMALLEST = 1024
"""Bytes: below this a packet is a packet, compressed or not."""
LEVEL = 4
"""A list of 25 images: 14 times smaller in 0.2 ms; level 9 takes twice the time for 3 % less."""


def compress(answer: Answer, head: RequestHead) -> Answer:
    """The answer as it goes out. Its headers have lower-case names and no Content-Length yet.

    A JSON answer large enough varies by Accept-Encoding whether it is compressed or not (RFC 9110, 12.5.5).
    """
    if len(answer.body) < SMALLEST or not _is_json(answer.headers):
        return answer
    headers = [*answer.headers, (b"vary", b"Accept-Encoding")]
    if not accepts_gzip(head.get("accept-encoding")):
        return Answer(answer.status, headers, answer.body)
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    packed = packer.compress(answer.body) + packer.flush()
    return Answer(answer.status, [*headers, (b"content-encoding", b"gzip")], packed)


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether an Accept-Encoding header allows gzip: named, or by `*`, with a quality above 0 (RFC 9110, 12.5.3)."""
    if not accept_encoding:
        return False
    star = False
    for item in accept_encoding.lower().split(","):
        coding, _, parameters = item.partition(";")
        coding = coding.strip()
        if coding in ("gzip", "x-gzip"):
            return _quality(parameters) > 0
        if coding == "*":
            star = _quality(parameters) > 0
    return star


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _is_json(headers: Headers) -> bool:
    for name, value in headers:
        if name == b"content-type":
            return value.startswith(b"application/json")
    return False
