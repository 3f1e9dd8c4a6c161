"""Errors to answers: the one place where an exception becomes a status. Called once, by the pipeline.

`TABLE` says what each class of `fanlight.errors` means to a client; `STORE_TABLES` says what a failing store means,
which depends on what was being done. The bodies come in three shapes, chosen by `Accept` (Image API V2, "Errors"):
an HTML page, a JSON object or plain text. Internal errors show a stock text only; the cause goes to the log.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple, Protocol

import msgspec

from fanlight import errors
from fanlight.http.call import Answer, Headers

STOCK_TEXT = "The server met an error and could not finish the request."
"""What a client reads of an internal error: never its cause."""

_REASONS = {413: "Request Entity Too Large", 416: "Request Range Not Satisfiable"}
"""Phrases that newer Python versions renamed; error bodies keep the ones that clients know."""


class Head(Protocol):
    """What an answer needs to know of the request."""

    @property
    def method(self) -> str: ...

    def get(self, name: str) -> str | None: ...


class Fault(NamedTuple):
    """How one class of errors is answered. `retry_after`: seconds, for errors that do not bring their own."""

    status: int
    retry_after: int | None = None


class MethodNotAllowed(errors.FanlightError):
    """A known path, but not with this method. `allow` is the value of the header of that name."""

    code = "method-not-allowed"

    def __init__(self, method: str, allow: str) -> None:
        super().__init__(f"The method {method} does not belong to this resource.")
        self.allow = allow


class MethodUnknown(errors.FanlightError):
    """A method that the service has nowhere."""

    code = "method-unknown"

    def __init__(self, method: str) -> None:
        super().__init__(f"The method {method} is not implemented.")


class UnsupportedPatch(errors.UnsupportedMedia):
    """PATCH with a media type that is no JSON-patch dialect of ours. `accept_patch` names those that are."""

    code = "unsupported-patch"

    def __init__(self, accept_patch: str) -> None:
        super().__init__(f"The Content-Type of an image PATCH is one of: {accept_patch}")
        self.accept_patch = accept_patch


def no_route(status: int, method: str, allow: str = "") -> errors.FanlightError:
    """The error of a request that no route takes: 404, 405 (with `allow`) or 501."""
    if status == 405:
        return MethodNotAllowed(method, allow)
    return MethodUnknown(method) if status == 501 else errors.NotFound()


TABLE: Mapping[type[BaseException], Fault] = MappingProxyType(
    {
        errors.FanlightError: Fault(500),
        errors.Invalid: Fault(400),
        errors.SizeMismatch: Fault(400),
        errors.InvalidHeader: Fault(400),
        errors.NotAuthenticated: Fault(401),
        errors.Forbidden: Fault(403),
        errors.PolicyDenied: Fault(403),
        errors.NotFound: Fault(404),
        errors.ImageNotFound: Fault(404),
        errors.MemberNotFound: Fault(404),
        errors.TagNotFound: Fault(404),
        errors.Conflict: Fault(409),
        errors.Duplicate: Fault(409),
        errors.InvalidTransition: Fault(409),
        errors.PatchConflict: Fault(409),
        errors.Gone: Fault(410),
        errors.LimitExceeded: Fault(413),
        errors.UnsupportedMedia: Fault(415),
        errors.RangeNotSatisfiable: Fault(416),
        errors.RequestIdTooLong: Fault(431),
        errors.Busy: Fault(503),
        # Nobody is left to read it; the number is for the access log.
        errors.ClientGone: Fault(400),
        errors.CatalogError: Fault(500),
        errors.CatalogConflict: Fault(503, retry_after=1),
        errors.CatalogUnavailable: Fault(503, retry_after=5),
        errors.SettingsError: Fault(500),
        # A failing store where no table of the operation (below) says more.
        errors.StoreError: Fault(500),
        errors.UnknownStore: Fault(400),
        errors.UnknownScheme: Fault(400),
        errors.MalformedLocation: Fault(400),
        errors.BadStoreConfiguration: Fault(500),
        errors.ObjectNotFound: Fault(404),
        errors.ObjectDamaged: Fault(503, retry_after=30),
        errors.ObjectExists: Fault(409),
        errors.ObjectInUse: Fault(409),
        errors.ObjectHasSnapshot: Fault(409),
        errors.StoreFull: Fault(413),
        errors.StoreDenied: Fault(503, retry_after=30),
        errors.StoreForbidden: Fault(403),
        errors.StoreTimeout: Fault(503, retry_after=5),
        errors.StoreUnreachable: Fault(503, retry_after=5),
        errors.StoreReadOnly: Fault(410),
        errors.StoreDeleteUnsupported: Fault(500),
        errors.StoreReadUnsupported: Fault(400),
        errors.RangeUnsupported: Fault(400),
        errors.AclsUnsupported: Fault(500),
        MethodNotAllowed: Fault(405),
        MethodUnknown: Fault(501),
        UnsupportedPatch: Fault(415),
    }
)
"""Error class -> status. A class that is not here is answered as its nearest ancestor that is."""

STORE_TABLES: Mapping[str, Mapping[type[BaseException], Fault]] = MappingProxyType(
    {
        "upload": {
            # The caller's image is not what was refused: the store's own account or path is.
            errors.StoreForbidden: Fault(503, retry_after=30),
            errors.UnknownScheme: Fault(500),
            errors.MalformedLocation: Fault(500),
            errors.ObjectNotFound: Fault(500),
        },
        "download": {
            # Known to clients: data that is gone everywhere is answered like data that never was.
            errors.ObjectNotFound: Fault(204),
            # As for an upload: the store's account is refused, or the host of the location is not to be reached. A
            # 403 would blame the caller, and tell apart hosts that are forbidden from hosts that are not there.
            errors.StoreForbidden: Fault(503, retry_after=30),
            errors.UnknownScheme: Fault(500),
            errors.MalformedLocation: Fault(500),
        },
        "delete": {
            errors.ObjectNotFound: Fault(404),
            errors.UnknownStore: Fault(409),
            errors.UnknownScheme: Fault(500),
            errors.MalformedLocation: Fault(500),
            errors.StoreFull: Fault(500),
        },
        "location": {
            errors.ObjectNotFound: Fault(400),
        },
        # Stores are told who may read after that is decided; one that fails is in the log.
        "sharing": {},
    }
)
"""What is being done -> error class -> status, where that differs from `TABLE`."""


def fault_of(error: BaseException, operation: str | None = None) -> Fault:
    """The table's line for `error` while doing `operation` (`upload`, `download`, `delete`, `location` or None)."""
    special = STORE_TABLES.get(operation or "", {})
    for kind in type(error).__mro__:
        fault = special.get(kind) or TABLE.get(kind)
        if fault is not None:
            return fault
    return TABLE[errors.FanlightError]


def answer(error: BaseException, head: Head, operation: str | None = None) -> Answer:
    """The whole answer for `error`: status, headers and a body in the shape that `Accept` asks for."""
    fault = fault_of(error, operation)
    if fault.status == 204:
        return Answer(204, [])
    explanation, detail = _texts(error, fault.status, head)
    of_store = isinstance(error, errors.StoreError) and operation == "download" and fault.status != 500
    if isinstance(error, errors.FanlightError) and (of_store or isinstance(error, errors.CatalogUnavailable)):
        # Whoever may read an image need not know where it lies, nor what is wrong with the database: that is logged.
        explanation = type(error).message
    media_type, body = _render(_shape(head.get("accept")), fault.status, explanation, detail)
    return Answer(fault.status, [(b"content-type", media_type), *_headers(error, fault)], body)


def reason(status: int) -> str:
    """The phrase of a status as it stands in error bodies."""
    return _REASONS.get(status) or HTTPStatus(status).phrase


def _texts(error: BaseException, status: int, head: Head) -> tuple[str, str]:
    """Explanation and detail. Of an internal error nothing is told: its text may come from anywhere."""
    if status == 500 or not isinstance(error, errors.FanlightError):
        return STOCK_TEXT, ""
    if status == 415:
        media_type = head.get("content-type") or "(none)"
        return f"The media type {media_type} is not supported here.", str(error)
    return str(error), ""


def _headers(error: BaseException, fault: Fault) -> Headers:
    headers: Headers = []
    if isinstance(error, MethodNotAllowed) and error.allow:
        headers.append((b"allow", error.allow.encode()))
    elif isinstance(error, UnsupportedPatch):
        headers.append((b"accept-patch", error.accept_patch.encode()))
    elif isinstance(error, errors.RangeNotSatisfiable) and error.size is not None:
        headers.append((b"content-range", b"bytes */%d" % error.size))
    elif isinstance(error, errors.NotAuthenticated):
        challenge = getattr(error, "challenge", None)
        if challenge:
            headers.append((b"www-authenticate", str(challenge).encode("latin-1", "replace")))
    retry_after = error.retry_after if isinstance(error, errors.Busy) else fault.retry_after
    if fault.status == 503 and retry_after is not None:
        headers.append((b"retry-after", b"%d" % retry_after))
    return headers


def _render(shape: str, status: int, explanation: str, detail: str) -> tuple[bytes, bytes]:
    # A text that came from outside may hold what UTF-8 cannot express.
    explanation = explanation.encode("utf-8", "replace").decode()
    detail = detail.encode("utf-8", "replace").decode()
    phrase = reason(status)
    line = f"{status} {phrase}"
    if shape == "json":
        message = f"{explanation}<br /><br />\n{detail}\n\n"
        return b"application/json", msgspec.json.encode({"message": message, "code": line, "title": phrase})
    if shape == "html":
        inner = f"{html.escape(explanation)}<br /><br />\n{html.escape(detail)}\n\n"
        page = (
            f"<html>\n <head>\n  <title>{line}</title>\n </head>\n <body>\n  <h1>{line}</h1>\n  "
            f"{inner}\n </body>\n</html>"
        )
        return b"text/html; charset=UTF-8", page.encode()
    text = f"{line}\n\n{_untag(explanation)}\n\n {_untag(detail)}  "
    return b"text/plain; charset=UTF-8", text.encode()


_TAG = re.compile(r"<[^<>]*>")


def _untag(text: str) -> str:
    return _TAG.sub("", text)


_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_RANGE = re.compile(rf"(?P<name>{_TOKEN}/{_TOKEN})(?P<parameters>(\s*;\s*{_TOKEN}={_TOKEN})*)\Z")
_QUALITY = re.compile(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)\Z")


@lru_cache(maxsize=64)
def _shape(accept: str | None) -> str:
    """`html`, `json` or `plain`: the better of the first two by quality, HTML when equal, plain when neither.

    A header that is not well-formed accepts everything, as if it were `*/*`.
    """
    if not accept:
        return "plain"
    try:
        ranges = [_media_range(part.strip()) for part in accept.lower().split(",") if part.strip()]
    except ValueError:
        return "html"
    page, document = _quality(ranges, "text/html"), _quality(ranges, "application/json")
    if max(page, document) == 0:
        return "plain"
    return "html" if page >= document else "json"


def _media_range(text: str) -> tuple[str, float]:
    """A media range with its parameters (without q), and its quality. Raises ValueError."""
    match = _RANGE.match(text)
    if match is None:
        raise ValueError(text)
    name, quality = match["name"], 1.0
    for parameter in filter(None, (piece.strip() for piece in match["parameters"].split(";"))):
        if not parameter.startswith("q="):
            name += ";" + parameter
        elif _QUALITY.match(parameter[2:]):
            quality = float(parameter[2:])
        else:
            raise ValueError(text)
    return name, quality


def _quality(ranges: list[tuple[str, float]], offer: str) -> float:
    """Quality of `offer`: the most specific range that covers it counts (RFC 9110, 12.5.1); 0 when none does."""
    for wanted in (offer, offer.partition("/")[0] + "/*", "*/*"):
        for name, quality in ranges:
            if name == wanted:
                return quality
    return 0.0
