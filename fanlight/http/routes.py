"""THE table of the service: every method and path, and the function that answers.

Pick a line and open the function: the next step down is the operation it names. Literal segments win over
`{parameters}`. What is not in the table is 404; a method that a known path has not is 405, and the path's `Allow`
names those that it has, in the order of the lines below.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from fanlight.http.call import Answer, Call
from fanlight.http.v2 import data, discovery_routes, images, sharing

REFUSED, JSON, STREAM, IGNORED = "refused", "json", "stream", "ignored"
"""What a route does with a request body: 400, reads it as JSON, streams it, or lets it be."""

STREAMING = frozenset({"upload", "download"})
"""What functions do (`Route.doing`) that are coroutines and move a body themselves."""

Handler = Callable[[Call], Answer]
StreamHandler = Callable[..., Awaitable[Answer | None]]


class Route(NamedTuple):
    """One line of the table. `function` is sync and runs in a worker thread; those that stream are coroutines."""

    method: str
    path: str
    function: Handler | StreamHandler
    body: str = REFUSED
    doing: str | None = None
    """What a store is asked for, where one is: a failing one is answered by it (http/faults.py, STORE_TABLES), and a
    slow one keeps only those waiting who ask it (`Edge.storing`)."""


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v2/schemas/image", discovery_routes.image_schema),
    Route("GET", "/v2/schemas/images", discovery_routes.images_schema),
    Route("GET", "/v2/schemas/member", discovery_routes.member_schema),
    Route("GET", "/v2/schemas/members", discovery_routes.members_schema),
    Route("GET", "/v2/schemas/task", discovery_routes.task_schema),
    Route("GET", "/v2/schemas/tasks", discovery_routes.tasks_schema),
    Route("GET", "/v2/images", images.list_images, IGNORED),
    Route("POST", "/v2/images", images.create, JSON),
    Route("GET", "/v2/images/{image_id}", images.show),
    Route("PATCH", "/v2/images/{image_id}", images.update, JSON, "location"),
    Route("DELETE", "/v2/images/{image_id}", images.delete, doing="delete"),
    Route("GET", "/v2/images/{image_id}/file", data.download, doing="download"),
    Route("PUT", "/v2/images/{image_id}/file", data.upload, STREAM, doing="upload"),
    Route("POST", "/v2/images/{image_id}/actions/deactivate", images.deactivate),
    Route("POST", "/v2/images/{image_id}/actions/reactivate", images.reactivate),
    Route("PUT", "/v2/images/{image_id}/tags/{tag}", images.add_tag),
    Route("DELETE", "/v2/images/{image_id}/tags/{tag}", images.remove_tag),
    Route("GET", "/v2/images/{image_id}/members", sharing.list_members),
    Route("POST", "/v2/images/{image_id}/members", sharing.add, JSON, "sharing"),
    Route("GET", "/v2/images/{image_id}/members/{member_id}", sharing.show),
    Route("PUT", "/v2/images/{image_id}/members/{member_id}", sharing.set_status, JSON),
    Route("DELETE", "/v2/images/{image_id}/members/{member_id}", sharing.remove, doing="sharing"),
    Route("GET", "/v2/info/import", discovery_routes.import_methods),
    Route("GET", "/v2/info/usage", discovery_routes.usage),
    Route("GET", "/v2/info/stores", discovery_routes.stores),
    Route("GET", "/v2/info/stores/detail", discovery_routes.stores_detail),
)


class Match(NamedTuple):
    """A route found, with its path parameters; or why there is none: 404, 405 (`allow` set) or 501."""

    route: Route | None
    params: dict[str, str]
    status: int = 200
    allow: str = ""


class Router:
    """The table as a tree of path segments: a look-up costs one dictionary access a segment."""

    def __init__(self, routes: Iterable[Route] = ROUTES) -> None:
        self._root = _Node()
        for route in routes:
            self._root.add(route)

    def match(self, method: str, path: str) -> Match:
        """Find the route of a decoded path without its final slash rule broken: a trailing slash is unknown (404)."""
        node: _Node | None = self._root
        params: dict[str, str] = {}
        for segment in path.split("/")[1:]:
            if node is None or not segment:
                node = None
                break
            child = node.literals.get(segment)
            if child is None and node.parameter is not None:
                child = node.parameter
                params[child.name] = segment
            node = child
        if node is None or not node.routes:
            return Match(None, {}, 404 if method in KNOWN_METHODS else 501)
        route = node.routes.get(method)
        if route is None:
            return Match(None, {}, 405, ", ".join(node.routes))
        return Match(route, params)


KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"})


class _Node:
    __slots__ = ("literals", "name", "parameter", "routes")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.routes: dict[str, Route] = {}

    def add(self, route: Route) -> None:
        node = self
        for segment in route.path.split("/")[1:]:
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node(segment[1:-1])
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        node.routes[route.method] = route
