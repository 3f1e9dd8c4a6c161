"""JSON bodies of requests: decoded once, before any handler looks at them."""

from __future__ import annotations

from typing import Any

import msgspec

from fanlight.errors import Invalid

_DECODER = msgspec.json.Decoder()


def decode_body(body: bytes) -> Any:
    """A JSON body. Raises Invalid when it is missing, malformed or holds characters that cannot be stored."""
    if not body:
        raise Invalid("A JSON body is required.")
    try:
        document = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The body is not well-formed JSON: {error}") from None
    # Only a four-byte sequence or an escape can bring one of those characters; most bodies have neither.
    if b"\\u" in body or max(body) >= 0xF0:
        require_storable(document)
    return document


def require_storable(document: object) -> None:
    """Raise Invalid if a text in `document` has characters beyond the BMP, or NUL: not every database can keep them."""
    # A list of what is left instead of recursion: a body may be nested as deep as the parser allows.
    rest = [document]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            _require_storable_text(item)
        elif isinstance(item, dict):
            rest.extend(item)
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)


def _require_storable_text(text: str) -> None:
    if not text.isascii() and max(text) > "\uffff":
        raise Invalid("Text with characters beyond U+FFFF cannot be stored.")
    if "\0" in text:
        raise Invalid("Text with the character U+0000 cannot be stored.")
