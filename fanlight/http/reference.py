"""The tables of the edge as documentation: docs/routes.md and docs/errors.md. Made from the tables, never by hand."""

from __future__ import annotations

from collections.abc import Iterator

from fanlight.errors import FanlightError
from fanlight.http import routes
from fanlight.http.faults import STORE_TABLES, fault_of, reason

_BODIES = {
    routes.REFUSED: "none: 400 with one",
    routes.JSON: "JSON",
    routes.STREAM: "bytes",
    routes.IGNORED: "ignored",
}

_ROUTES = """\
# Routes

<!-- Made by `fanlight document routes` from fanlight/http/routes.py: edit the table there, not this page. -->

Every method and path of the API, and the function that answers, below `fanlight/http/`. What requests and answers look
like is told by the [Image API reference](https://docs.openstack.org/api-ref/image/v2/); where Fanlight differs, by
[differences](differences.md). Besides these there are `/` and `/versions`, which list the versions, the health check of
[deployment](deployment.md#health-checks), and `OPTIONS` on every path. A path that is not here is 404, a method that a
path does not have is 405.

| Method | Path | Body of the request | Function |
|---|---|---|---|
"""

_ERRORS = """\
# Errors

<!-- Made by `fanlight document errors` from fanlight/errors.py and fanlight/http/faults.py, not by hand. -->

Everything that can go wrong has a class in `fanlight/errors.py` and a code that stays. A client sees the status; the
body repeats it, with one sentence that says what was wrong. Of a 500 it never says more than that there was one: the
cause is in the log, under the request id of the answer (`X-Openstack-Request-Id`). A 503 carries `Retry-After`.

What a failing store means depends on what was being done: the last column names the cases that differ.

| Code | Class | Meaning | Status | Except |
|---|---|---|---|---|
"""


def routes_page() -> str:
    """The page docs/routes.md."""
    lines = []
    for route in routes.ROUTES:
        module = route.function.__module__.removeprefix("fanlight.http.").replace(".", "/")
        where = f"`{module}.py` `{route.function.__name__}`"
        lines.append(f"| {route.method} | `{route.path}` | {_BODIES[route.body]} | {where} |")
    return _ROUTES + "\n".join(lines) + "\n"


def errors_page() -> str:
    """The page docs/errors.md."""
    return _ERRORS + "\n".join(_row(kind) for kind in error_classes()) + "\n"


def error_classes(kind: type[FanlightError] = FanlightError) -> Iterator[type[FanlightError]]:
    """Every class of fanlight/errors.py and http/faults.py, parents first, children by name.

    Others exist only between two functions that know each other, and are answered as the class they come from.
    """
    if kind.__module__ in (FanlightError.__module__, fault_of.__module__):
        yield kind
    for child in sorted(kind.__subclasses__(), key=lambda one: one.__name__):
        yield from error_classes(child)


def _row(kind: type[FanlightError]) -> str:
    raised = kind.__new__(kind)
    status = fault_of(raised).status
    others = {operation: fault_of(raised, operation).status for operation in STORE_TABLES}
    differing = ", ".join(f"{operation}: {other}" for operation, other in others.items() if other != status)
    return f"| `{kind.code}` | `{kind.__name__}` | {_meaning(kind)} | {status} {reason(status)} | {differing} |"


def _meaning(kind: type[FanlightError]) -> str:
    """Its own docstring's first paragraph, else its message."""
    text = (kind.__doc__ or "").partition("\n\n")[0] if "__doc__" in vars(kind) else ""
    return " ".join((text or kind.message).split()).replace("|", "\\|")
