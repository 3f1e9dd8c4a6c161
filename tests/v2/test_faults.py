"""Errors to answers: every class has a status, and every body has the shape that Accept asks for."""

from __future__ import annotations

import importlib
import json
import pkgutil
import warnings
from collections.abc import Iterator, Mapping

import pytest

import fanlight
from fanlight import errors
from fanlight.http import faults
from fanlight.http.faults import STORE_TABLES, TABLE, answer, fault_of, no_route


class Head:
    def __init__(self, accept: str | None = None, method: str = "GET", **headers: str) -> None:
        self.method = method
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if accept is not None:
            self._headers["accept"] = accept

    def get(self, name: str) -> str | None:
        return self._headers.get(name)


def tree(root: type[BaseException] = errors.FanlightError) -> Iterator[type[BaseException]]:
    yield root
    for kind in root.__subclasses__():
        yield from tree(kind)


def test_every_error_has_a_line() -> None:
    own = {kind for kind in tree() if kind.__module__ == errors.__name__}
    assert own - set(TABLE) == set()


def test_no_error_anywhere_falls_back_to_the_root() -> None:
    with warnings.catch_warnings():
        # Libraries warn of their own imports; what counts here is that all our classes exist.
        warnings.simplefilter("ignore")
        for module in pkgutil.walk_packages(fanlight.__path__, "fanlight."):
            # Two kinds of modules are scripts: importing them runs them.
            if not module.name.endswith("__main__") and ".migrations." not in module.name:
                importlib.import_module(module.name)
    unmapped = [kind for kind in tree() if kind is not errors.FanlightError and nearest(kind) is errors.FanlightError]
    assert unmapped == []


def nearest(kind: type[BaseException]) -> type[BaseException]:
    return next(parent for parent in kind.__mro__ if parent in TABLE)


def test_the_tables_name_only_real_errors() -> None:
    for table in (TABLE, *STORE_TABLES.values()):
        assert set(table) <= set(tree())


STATUSES: Mapping[type[BaseException], int] = {
    errors.Invalid: 400,
    errors.SizeMismatch: 400,
    errors.NotAuthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PatchConflict: 409,
    errors.Duplicate: 409,
    errors.Gone: 410,
    errors.LimitExceeded: 413,
    errors.UnsupportedMedia: 415,
    errors.RangeNotSatisfiable: 416,
    errors.RequestIdTooLong: 431,
    errors.Busy: 503,
    errors.CatalogError: 500,
    errors.CatalogConflict: 503,
    errors.CatalogUnavailable: 503,
    errors.SettingsError: 500,
    errors.StoreError: 500,
}


@pytest.mark.parametrize(("kind", "status"), STATUSES.items(), ids=lambda value: getattr(value, "__name__", None))
def test_status(kind: type[errors.FanlightError], status: int) -> None:
    assert answer(kind(), Head()).status == status


@pytest.mark.parametrize(
    ("operation", "kind", "status"),
    [
        ("upload", errors.StoreFull, 413),
        ("upload", errors.StoreDenied, 503),
        ("upload", errors.StoreTimeout, 503),
        ("upload", errors.StoreReadOnly, 410),
        ("upload", errors.ObjectExists, 409),
        ("upload", errors.UnknownStore, 400),
        ("upload", errors.StoreError, 500),
        ("download", errors.ObjectNotFound, 204),
        ("download", errors.StoreReadUnsupported, 400),
        ("download", errors.RangeUnsupported, 400),
        ("download", errors.StoreUnreachable, 503),
        ("download", errors.UnknownStore, 400),
        ("download", errors.StoreError, 500),
        ("delete", errors.ObjectInUse, 409),
        ("delete", errors.ObjectHasSnapshot, 409),
        ("delete", errors.StoreForbidden, 403),
        ("delete", errors.StoreTimeout, 503),
        ("delete", errors.StoreDenied, 503),
        ("delete", errors.UnknownStore, 409),
        ("delete", errors.ObjectNotFound, 404),
        ("delete", errors.StoreError, 500),
        ("location", errors.ObjectNotFound, 400),
        ("location", errors.UnknownScheme, 400),
        ("location", errors.MalformedLocation, 400),
        ("location", errors.StoreError, 500),
    ],
)
def test_store_error_by_operation(operation: str, kind: type[errors.StoreError], status: int) -> None:
    assert fault_of(kind(), operation).status == status
    assert answer(kind(), Head(), operation).status == status


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "text/plain"),
        ("", "text/plain"),
        ("text/plain", "text/plain"),
        ("application/xml", "text/plain"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("APPLICATION/JSON", "application/json"),
        ("*/*", "text/html"),
        ("text/html", "text/html"),
        ("text/*", "text/html"),
        ("text/html, application/json", "text/html"),
        ("application/json;q=0.5, text/html;q=0.4", "application/json"),
        ("application/json, */*;q=0.1", "application/json"),
        ("text/html;q=0, */*", "application/json"),
        ("application/json;q=0", "text/plain"),
        ("application/json;v=1", "text/plain"),
        ("text/html;level=1, application/json;q=0.1", "application/json"),
        ("application/json, text/html", "text/html"),
        ("application/json,", "application/json"),
        (",", "text/plain"),
        ("*", "text/html"),
        ("foo", "text/html"),
        (";;", "text/html"),
        ("application/json;q=abc", "text/html"),
        ("application/json;q=2", "text/html"),
    ],
)
def test_shape_follows_accept(accept: str | None, media_type: str) -> None:
    got = dict(answer(errors.NotFound(), Head(accept)).headers)[b"content-type"].decode()
    assert got.split(";")[0] == media_type


def test_json_shape() -> None:
    got = answer(errors.ImageNotFound("<b>x"), Head("application/json"))
    assert json.loads(got.body) == {
        "message": "No image found with ID <b>x<br /><br />\n\n\n",
        "code": "404 Not Found",
        "title": "Not Found",
    }
    assert got.headers == [(b"content-type", b"application/json")]


def test_html_shape_escapes() -> None:
    got = answer(errors.ImageNotFound("<b>'x'"), Head("*/*"))
    assert got.body.decode() == (
        "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n  <h1>404 Not Found</h1>\n"
        "  No image found with ID &lt;b&gt;&#x27;x&#x27;<br /><br />\n\n\n\n </body>\n</html>"
    )
    assert got.headers == [(b"content-type", b"text/html; charset=UTF-8")]


def test_plain_shape_drops_tags() -> None:
    got = answer(errors.ImageNotFound("<b>x"), Head())
    assert got.body.decode() == "404 Not Found\n\nNo image found with ID x\n\n   "
    assert got.headers == [(b"content-type", b"text/plain; charset=UTF-8")]


@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
@pytest.mark.parametrize(
    "error", [ValueError("secret-5f1"), errors.CatalogError("secret-5f1"), errors.StoreError("secret-5f1"), KeyError()]
)
def test_internal_errors_tell_nothing(error: Exception, accept: str | None) -> None:
    got = answer(error, Head(accept))
    assert got.status == 500
    assert b"secret-5f1" not in got.body
    assert faults.STOCK_TEXT.encode() in got.body


def test_method_not_allowed_names_those_that_are() -> None:
    got = answer(no_route(405, "POST", "GET, PUT"), Head("application/json", "POST"))
    assert got.status == 405
    assert (b"allow", b"GET, PUT") in got.headers
    assert "POST" in json.loads(got.body)["message"]


def test_no_route() -> None:
    assert answer(no_route(404, "GET"), Head()).status == 404
    assert answer(no_route(501, "BREW"), Head()).status == 501


def test_unsupported_patch_names_the_dialects() -> None:
    got = answer(faults.UnsupportedPatch("a/b, c/d"), Head("application/json", content_type="text/x"))
    assert got.status == 415
    assert (b"accept-patch", b"a/b, c/d") in got.headers
    message = json.loads(got.body)["message"]
    assert "text/x" in message
    assert "a/b, c/d" in message


def test_retry_after() -> None:
    assert (b"retry-after", b"17") in answer(errors.Busy(retry_after=17), Head()).headers
    assert (b"retry-after", b"5") in answer(errors.CatalogUnavailable(), Head()).headers
    assert not any(name == b"retry-after" for name, _ in answer(errors.Conflict(), Head()).headers)


def test_range_names_the_size() -> None:
    got = answer(errors.RangeNotSatisfiable(size=5), Head())
    assert got.body.startswith(b"416 Request Range Not Satisfiable\n")
    assert (b"content-range", b"bytes */5") in got.headers


def test_challenge() -> None:
    error = errors.NotAuthenticated()
    error.challenge = 'Basic realm="x"'  # type: ignore[attr-defined]  # as the identity modes do
    assert (b"www-authenticate", b'Basic realm="x"') in answer(error, Head()).headers
    assert answer(errors.NotAuthenticated(), Head()).headers == [(b"content-type", b"text/plain; charset=UTF-8")]


def test_reasons_that_clients_know() -> None:
    assert answer(errors.LimitExceeded(), Head()).body.startswith(b"413 Request Entity Too Large\n")


@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_text_that_is_no_utf_8_is_still_answered(accept: str | None) -> None:
    got = answer(errors.Invalid("bad \ud800 text"), Head(accept))
    assert got.status == 400
    assert b"bad ? text" in got.body
