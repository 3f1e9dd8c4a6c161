"""The life of two images, told as requests in their order, with the status that Glance gives each of them.

`{one}` and `{two}` stand for the images that the first two steps make. The project of `alice` owns them, `bob` is of
another project, `admin` an administrator.
"""

from __future__ import annotations

from typing import NamedTuple

from .tables import DRAFT_10


class Step(NamedTuple):
    """One request. `glance`: what Glance answers where ours differs on purpose."""

    method: str
    path: str
    status: int
    who: str | None = "alice"
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    glance: int | None = None


_PATCH = (("content-type", DRAFT_10),)
_OCTETS = (("content-type", "application/octet-stream"),)

LIFE = (
    Step(
        "POST",
        "/v2/images",
        201,
        body='{"name": "\\u00e9", "x": "\\u00fc", "tags": ["b"], "disk_format": "raw", "container_format": "bare"}',
    ),
    Step("POST", "/v2/images", 201, body='{"name": "two", "visibility": "private", "min_disk": 3}'),
    Step("GET", "/v2/images/{one}", 200),
    Step("PUT", "/v2/images/{one}/file", 204, body="hello world", headers=_OCTETS),
    Step("GET", "/v2/images/{one}", 200),
    Step("PUT", "/v2/images/{one}/file", 409, body="hello world", headers=_OCTETS),
    Step("GET", "/v2/images/{one}/file", 200),
    Step("GET", "/v2/images/{one}/file", 206, headers=(("range", "bytes=2-4"),)),
    Step("GET", "/v2/images/{one}/file", 206, headers=(("range", "bytes=-4"),)),
    Step("GET", "/v2/images/{one}/file", 206, headers=(("range", "bytes=4-"),)),
    Step("GET", "/v2/images/{one}/file", 206, headers=(("range", "bytes=4-400"),)),
    Step("GET", "/v2/images/{one}/file", 416, headers=(("range", "bytes=40-50"),)),
    Step("GET", "/v2/images/{one}/file", 416, headers=(("range", "junk"),)),
    Step("GET", "/v2/images/{one}/file", 400, headers=(("range", "bytes=0-1,3-4"),)),
    Step("GET", "/v2/images/{one}/file", 206, headers=(("content-range", "bytes 2-4/11"),)),
    Step("GET", "/v2/images/{one}/file", 206, headers=(("content-range", "bytes 2-4/*"),)),
    Step("GET", "/v2/images?sort=name:asc", 200),
    Step("GET", "/v2/images?sort=name:asc&limit=1", 200),
    Step("GET", "/v2/images?limit=1", 200, who="admin"),
    Step("GET", "/v2/images?name=none", 200),
    Step(
        "PATCH",
        "/v2/images/{one}",
        200,
        body='[{"op": "replace", "path": "/name", "value": "new"}, {"op": "add", "path": "/p", "value": "q"}]',
        headers=_PATCH,
    ),
    Step("PATCH", "/v2/images/{one}", 200, body="[]", headers=_PATCH),
    Step("PATCH", "/v2/images/{one}", 415, body="[]"),
    Step("GET", "/v2/images/{one}", 404, who="bob"),
    Step("PATCH", "/v2/images/{one}", 404, who="bob", body="[]", headers=_PATCH),
    Step("DELETE", "/v2/images/{one}", 404, who="bob"),
    Step("GET", "/v2/images/{one}/file", 404, who="bob"),
    Step("PUT", "/v2/images/{two}/file", 404, who="bob", body="x", headers=_OCTETS),
    Step("GET", "/v2/images/{one}/members", 404, who="bob"),
    Step("PUT", "/v2/images/{one}/tags/x", 404, who="bob"),
    Step("POST", "/v2/images/{one}/actions/deactivate", 404, who="bob"),
    Step("GET", "/v2/images?marker={two}", 403, who="bob"),
    Step("POST", "/v2/images/{one}/members", 200, body='{"member":"proj-b"}'),
    Step("POST", "/v2/images/{one}/members", 409, body='{"member":"proj-b"}'),
    Step("POST", "/v2/images/{two}/members", 403, body='{"member":"proj-b"}'),
    Step("GET", "/v2/images/{two}/members", 403),
    Step("GET", "/v2/images/{two}/members/proj-b", 404),
    Step("GET", "/v2/images/{one}/members", 200),
    Step("GET", "/v2/images/{one}/members", 200, who="bob"),
    Step("GET", "/v2/images", 200, who="bob"),
    Step("GET", "/v2/images?member_status=pending", 200, who="bob"),
    Step("GET", "/v2/images/{one}", 200, who="bob"),
    Step(
        "PATCH",
        "/v2/images/{one}",
        403,
        who="bob",
        body='[{"op": "replace", "path": "/name", "value": "stolen"}]',
        headers=_PATCH,
    ),
    Step("DELETE", "/v2/images/{one}", 403, who="bob"),
    Step("PUT", "/v2/images/{one}/tags/x", 403, who="bob"),
    Step("POST", "/v2/images/{one}/members", 403, who="bob", body='{"member":"proj-c"}'),
    Step("DELETE", "/v2/images/{one}/members/proj-b", 403, who="bob"),
    Step("PUT", "/v2/images/{one}/members/proj-b", 403, body='{"status":"accepted"}'),
    Step("PUT", "/v2/images/{one}/members/proj-b", 200, who="bob", body='{"status":"accepted"}'),
    Step("GET", "/v2/images/{one}/members/proj-b", 200, who="bob"),
    Step("GET", "/v2/images/{one}/members/proj-c", 404, who="bob"),
    Step("GET", "/v2/images?visibility=shared", 200, who="bob"),
    Step("GET", "/v2/images/{one}/file", 200, who="bob"),
    Step("POST", "/v2/images/{one}/actions/deactivate", 204),
    Step("POST", "/v2/images/{one}/actions/deactivate", 204),
    Step("GET", "/v2/images/{one}", 200),
    Step("GET", "/v2/images/{one}/file", 403),
    Step("GET", "/v2/images/{one}/file", 200, who="admin"),
    Step("POST", "/v2/images/{one}/actions/reactivate", 204),
    Step("POST", "/v2/images/{one}/actions/deactivate", 403, who="bob"),
    Step("POST", "/v2/images/{two}/actions/deactivate", 403),
    Step(
        "PATCH",
        "/v2/images/{one}",
        200,
        body='[{"op": "replace", "path": "/protected", "value": true}]',
        headers=_PATCH,
    ),
    Step("DELETE", "/v2/images/{one}", 403),
    Step(
        "PATCH",
        "/v2/images/{one}",
        200,
        body='[{"op": "replace", "path": "/protected", "value": false}]',
        headers=_PATCH,
    ),
    Step("DELETE", "/v2/images/{one}/members/proj-b", 204),
    Step("DELETE", "/v2/images/{one}/members/proj-b", 404),
    Step("PUT", "/v2/images/{one}/tags/%41b", 204),
    Step("DELETE", "/v2/images/{one}/tags/Ab", 204),
    Step("DELETE", "/v2/images/{one}/tags/Ab", 404),
    Step(
        "PATCH",
        "/v2/images/{one}",
        403,
        body='[{"op": "replace", "path": "/visibility", "value": "public"}]',
        headers=_PATCH,
    ),
    Step(
        "PATCH",
        "/v2/images/{one}",
        200,
        who="admin",
        body='[{"op": "replace", "path": "/visibility", "value": "public"}]',
        headers=_PATCH,
    ),
    Step(
        "PATCH",
        "/v2/images/{one}",
        200,
        body='[{"op": "replace", "path": "/visibility", "value": "public"}]',
        headers=_PATCH,
        glance=403,
    ),
    Step("PATCH", "/v2/images/{one}", 200, body='[{"op": "replace", "path": "/name", "value": "pub"}]', headers=_PATCH),
    Step("GET", "/v2/images", 200, who="bob"),
    Step(
        "PATCH",
        "/v2/images/{one}",
        403,
        who="bob",
        body='[{"op": "replace", "path": "/name", "value": "stolen"}]',
        headers=_PATCH,
    ),
    Step("PATCH", "/v2/images/{one}", 200, who="bob", body="[]", headers=_PATCH),
    Step("GET", "/v2/images/{one}/members", 403),
    Step(
        "PATCH",
        "/v2/images/{one}",
        200,
        body='[{"op": "replace", "path": "/visibility", "value": "community"}]',
        headers=_PATCH,
    ),
    Step("GET", "/v2/images", 200, who="bob"),
    Step("GET", "/v2/images?visibility=community", 200, who="bob"),
    Step("GET", "/v2/images?visibility=all", 200, who="bob"),
    Step("GET", "/v2/images", 200, who="admin"),
    Step("GET", "/v2/info/import", 200),
    Step("GET", "/v2/images", 401, who=None),
    Step("GET", "/v2/images/{one}", 401, who=None),
    Step("GET", "/v2/nope", 401, who=None),
    Step("PATCH", "/v2/schemas/image", 401, who=None),
    Step("PUT", "/v2/images/{two}/file", 400, body="x", headers=(*_OCTETS, ("x-openstack-image-size", "5"))),
    Step("DELETE", "/v2/images/{one}", 204),
    Step("DELETE", "/v2/images/{one}", 404),
    Step("GET", "/v2/images/{one}", 404),
    Step("GET", "/v2/images/{one}", 404, who="admin"),
    Step("POST", "/v2/images", 409, body='{"id": "{one}"}'),
    Step("DELETE", "/v2/images/{two}", 204),
)
