"""What a handler is given and what it gives back: one request, one answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from fanlight.errors import Invalid
from fanlight.http.json import decode_body
from fanlight.model import Caller

if TYPE_CHECKING:
    from fanlight.http.edge import Edge
    from fanlight.http.identity import RequestHead
    from fanlight.operations.service import Service

_ENCODER = msgspec.json.Encoder()
Headers = list[tuple[bytes, bytes]]


class Answer(msgspec.Struct):
    """A whole answer: status, headers (lower-case names) and the body as bytes."""

    status: int
    headers: Headers
    body: bytes = b""


class Call:
    """One request on its way to a handler.

    `params` are the path parameters, decoded; `body` holds the whole body on routes that take JSON and is empty
    on all others.
    """

    __slots__ = ("body", "caller", "edge", "head", "params", "service")

    def __init__(self, edge: Edge, head: RequestHead, params: Mapping[str, str], body: bytes, caller: Caller) -> None:
        self.edge = edge
        self.service: Service = edge.service
        self.head = head
        self.params = params
        self.body = body
        self.caller = caller

    def query(self) -> list[tuple[str, str]]:
        """The parameters of the query, decoded, in their order."""
        return parse_qsl(self.head.query, keep_blank_values=True)

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object. Raises Invalid."""
        document = decode_body(self.body)
        if not isinstance(document, dict):
            raise Invalid("The body must be a JSON object.")
        return document


JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
EMPTY: tuple[bytes, bytes] = (b"content-type", b"text/html; charset=UTF-8")


def json_answer(document: object, status: int = 200, *headers: tuple[bytes, bytes]) -> Answer:
    """`document` as JSON."""
    return Answer(status, [JSON, *headers], _ENCODER.encode(document))


def empty_answer(status: int = 204) -> Answer:
    """No content; 202 and 204 carry a content type and a length of 0 all the same (Image API V2)."""
    return Answer(status, [EMPTY])
