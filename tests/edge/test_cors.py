"""What a browser is told: the answers of oslo.middleware 8.2's cors, of which the expectations here were taken down."""

from __future__ import annotations

import pytest

from fanlight.http.cors import Cors
from fanlight.http.identity import RequestHead
from fanlight.settings import CorsSettings

PAGE = "https://page.example"
OTHER = "https://other.example"
ONE = CorsSettings(allowed_origin=(PAGE,), expose_headers=("X-A", "X-B"))
ANY = CorsSettings(allowed_origin=("*",), expose_headers=("X-A", "X-B"))
BOTH = CorsSettings(allowed_origin=("*", PAGE), expose_headers=("X-A", "X-B"))
CREDENTIALS = {"allow-credentials": "true"}
READ = {**CREDENTIALS, "expose-headers": "X-A,X-B"}


def granted(method: str, headers: str = "", origin: str = PAGE) -> dict[str, str]:
    """The answer to a preflight that is granted."""
    found = {"allow-origin": origin, **CREDENTIALS, "max-age": "3600", "allow-methods": method}
    return {**found, "allow-headers": headers} if headers else found


CASES: list[tuple[CorsSettings, str, str | None, str | None, str | None, dict[str, str]]] = [
    # settings, method, origin, method and headers that are asked for, the answer's Access-Control-*
    (ONE, "GET", PAGE, None, None, {"allow-origin": PAGE, **READ}),
    (ONE, "PATCH", PAGE, None, None, {"allow-origin": PAGE, **READ}),
    (ONE, "GET", OTHER, None, None, {}),
    (ONE, "GET", None, None, None, {}),
    (CorsSettings(), "GET", PAGE, None, None, {}),
    (
        CorsSettings(allowed_origin=(PAGE,), expose_headers=()),
        "GET",
        PAGE,
        None,
        None,
        {"allow-origin": PAGE} | CREDENTIALS,
    ),
    (ONE, "OPTIONS", PAGE, "GET", None, granted("GET")),
    (ONE, "OPTIONS", PAGE, "PUT", "content-type,x-auth-token", granted("PUT", "content-type,x-auth-token")),
    (ONE, "OPTIONS", PAGE, "POST", "Content-Type, X-Auth-Token", granted("POST", "Content-Type,X-Auth-Token")),
    (ONE, "OPTIONS", PAGE, "PATCH", " content-type ,, ", granted("PATCH", "content-type")),
    (
        ONE,
        "OPTIONS",
        PAGE,
        "PUT",
        "Accept,Accept-Language,Content-Type,Cache-Control,Content-Language,Expires,Last-Modified,Pragma",
        granted(
            "PUT", "Accept,Accept-Language,Content-Type,Cache-Control,Content-Language,Expires,Last-Modified,Pragma"
        ),
    ),
    (ONE, "OPTIONS", PAGE, "PUT", "content-type,x-own", {}),
    (ONE, "OPTIONS", PAGE, "TRACE", None, {}),
    (ONE, "OPTIONS", PAGE, "put", None, {}),
    (ONE, "OPTIONS", PAGE, None, "content-type", {}),
    (ONE, "OPTIONS", PAGE, None, None, {}),
    (ONE, "OPTIONS", OTHER, "GET", None, {}),
    (ONE, "OPTIONS", None, "GET", None, {}),
    (
        CorsSettings(allowed_origin=(PAGE,), max_age=0),
        "OPTIONS",
        PAGE,
        "GET",
        None,
        {name: value for name, value in granted("GET").items() if name != "max-age"},
    ),
    (
        CorsSettings(allowed_origin=(PAGE,), allow_credentials=False),
        "OPTIONS",
        PAGE,
        "GET",
        None,
        {name: value for name, value in granted("GET").items() if name != "allow-credentials"},
    ),
    # For all pages it is the star: browsers take no answer to a request with credentials that has it.
    (ANY, "GET", PAGE, None, None, {"allow-origin": "*", **READ}),
    (ANY, "OPTIONS", OTHER, "PUT", "content-type", granted("PUT", "content-type", origin="*")),
    (BOTH, "GET", OTHER, None, None, {"allow-origin": "*", **READ}),
    (BOTH, "GET", PAGE, None, None, {"allow-origin": PAGE, **READ}),
]


def asked(method: str, origin: str | None, wanted: str | None, names: str | None) -> dict[str, str]:
    """The headers of such a request."""
    found = {"Origin": origin, "Access-Control-Request-Method": wanted, "Access-Control-Request-Headers": names}
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize(("settings", "method", "origin", "wanted", "names", "expected"), CASES)
def test_answers_are_those_of_oslo_middleware(
    settings: CorsSettings,
    method: str,
    origin: str | None,
    wanted: str | None,
    names: str | None,
    expected: dict[str, str],
) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in asked(method, origin, wanted, names).items()]
    found = Cors(settings).headers(RequestHead(method, "/v2/images", "", raw, None, "http"))
    answer = {name.decode(): value.decode() for name, value in found}
    assert answer.pop("vary", None) == ("Origin" if expected else None)
    assert {name.removeprefix("access-control-"): value for name, value in answer.items()} == expected
