"""Requests whose whole answers must be the same from Fanlight and from Glance, in their order.

Ids are given, so that both services make the same images. Left out: what docs/differences.md lists, and the header that
names the methods of import.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from .tables import DRAFT_4, DRAFT_10

SAME_HEADERS = (
    "accept-patch",
    "allow",
    "content-length",
    "content-md5",
    "content-range",
    "content-type",
    "location",
    "openstack-image-store-ids",
    "x-openstack-request-id",
)
ONE = "11111111-0000-4000-8000-000000000001"
TWO = "22222222-0000-4000-8000-000000000002"
THREE = "33333333-0000-4000-8000-000000000003"
FOUR = "44444444-0000-4000-8000-000000000004"
FIVE = "55555555-0000-4000-8000-000000000005"
SIX = "66666666-0000-4000-8000-000000000006"
SEVEN = "77777777-0000-4000-8000-000000000007"
EIGHT = "88888888-0000-4000-8000-000000000008"
NONE = "99999999-0000-4000-8000-000000000009"


class Ask(NamedTuple):
    """One request."""

    method: str
    path: str
    body: str | bytes | None = None
    headers: tuple[tuple[str, str | None], ...] = ()
    who: str | None = "alice"


_ID = (("x-openstack-request-id", "req-given"),)
_HTML = (("accept", "text/html"), *_ID)
_PLAIN: tuple[tuple[str, str | None], ...] = (("accept", None), *_ID)
_OCTETS = (("content-type", "application/octet-stream"), *_ID)
_PATCH_10 = (("content-type", DRAFT_10), *_ID)
_PATCH_4 = (("content-type", DRAFT_4), *_ID)


def _ranged(value: str) -> tuple[tuple[str, str], ...]:
    return (("range", value), *_ID)


def _role(roles: str) -> tuple[tuple[str, str | None], ...]:
    return (("x-roles", roles), *_ID)


def _made(image_id: str, disk_format: str, container_format: str, data: bytes, **more: str) -> tuple[Ask, ...]:
    """Make an image, give it data, and look at what became of it."""
    fields = {"id": image_id, "disk_format": disk_format, "container_format": container_format, **more}
    path = f"/v2/images/{image_id}"
    return (
        Ask("POST", "/v2/images", json.dumps(fields), _ID),
        Ask("PUT", path + "/file", data, _OCTETS),
        Ask("GET", path, headers=_ID),
        Ask("GET", path + "/file", headers=_ID),
    )


_RENAME = '[{"op": "replace", "path": "/name", "value": "renamed"}]'
_LISTS = (
    "",
    "member_status=all",
    "member_status=pending",
    "member_status=rejected",
    "visibility=shared",
    "visibility=shared&member_status=pending",
    "visibility=community",
    "visibility=private",
    "visibility=all&sort=size:asc,name",
    "visibility=all&sort=disk_format&limit=50",
    "visibility=all&sort=name:desc,size:desc",
    "owner=proj-a&visibility=all",
    "status=in:active,queued&size_min=1",
    "checksum=d41d8cd98f00b204e9800998ecf8427e&visibility=all",
    f"visibility=all&marker={FIVE}",
    f"visibility=all&sort=name:asc&marker={FOUR}",
)

ALIKE: tuple[Ask, ...] = (
    # 1, 2: versions, health, errors in three shapes
    Ask("GET", "/versions", headers=_ID),
    Ask("GET", "/", headers=_ID),
    Ask("GET", "/v3/images", headers=_ID),
    Ask("GET", "/v2/nothing", headers=_ID),
    Ask("GET", "/v2/nothing", headers=_HTML),
    Ask("GET", "/v2/nothing", headers=_PLAIN),
    Ask("GET", "/v2/nothing", headers=(("accept", "text/html;q=0.2, application/json;q=0.3"), *_ID)),
    Ask("GET", "/v2/nothing", headers=(("accept", "image/png"), *_ID)),
    Ask("PUT", "/v2/images", headers=_ID),
    Ask("PUT", "/v2/images", headers=_PLAIN),
    Ask("GET", "/v2/images", headers=(("x-openstack-request-id", "unprefixed"),), who="bob"),
    Ask("GET", "/v2/images", headers=(*_ID, ("accept", "application/vnd.openstack.images-v99"))),
    Ask("GET", "/v2/images", headers=_ID, who=None),
    Ask("OPTIONS", "/v2/images", headers=_ID),
    # 5.1: create
    Ask(
        "POST",
        "/v2/images",
        f'{{"id": "{ONE}", "name": "\\u00e9\\u20ac", "tags": ["b", "a", "b"], "disk_format": "raw", '
        '"container_format": "bare", "x": "y", "empty": "", "Case": "1", "case": "2", "min_ram": 5}',
        _ID,
    ),
    Ask("POST", "/v2/images", f'{{"id": "{TWO}", "visibility": "private", "protected": true}}', _ID),
    Ask("POST", "/v2/images", f'{{"id": "{THREE}", "os_hidden": true, "owner": null}}', _ID, who="admin"),
    Ask("POST", "/v2/images", f'{{"id": "{ONE}"}}', _ID),
    Ask("POST", "/v2/images", '{"visibility": "public"}', _ID),
    Ask("POST", "/v2/images", '{"size": 5}', _ID),
    Ask("POST", "/v2/images", '{"os_glance_x": "y"}', _ID),
    # 5.2, 5.3: show and list, with links
    Ask("GET", f"/v2/images/{ONE}", headers=_ID),
    Ask("GET", f"/v2/images/{THREE}", headers=_ID, who="bob"),
    Ask("GET", f"/v2/images/{TWO}", headers=_ID, who="bob"),
    Ask("GET", f"/v2/images/{NONE}", headers=_ID),
    Ask("GET", "/v2/images?name=none", headers=_ID),
    Ask("GET", "/v2/images?limit=0", headers=_ID),
    Ask("GET", "/v2/images?visibility=private&sort=name:asc", headers=_ID),
    Ask("GET", "/v2/images?visibility=private&limit=1&name=in:%22a,b%22,c", headers=_ID),
    Ask("GET", f"/v2/images?visibility=private&marker={TWO}", headers=_ID),
    Ask("GET", "/v2/images?protected=true&limit=7&owner=proj-a&sort_key=size&sort_dir=asc", headers=_ID),
    Ask("GET", "/v2/images?name=%C3%A9%E2%82%AC&min_ram=6", headers=_ID),
    Ask("GET", "/v2/images?marker=nothing", headers=_ID),
    Ask("GET", "/v2/images?os_hidden=TRUE&limit=5", headers=_ID, who="admin"),
    Ask("GET", "/v2/images?visibility=nonsense", headers=_ID),
    # 6: patch, both dialects
    Ask("PATCH", f"/v2/images/{TWO}", '[{"op": "add", "path": "/a~1b", "value": "c"}]', _PATCH_10),
    Ask("PATCH", f"/v2/images/{TWO}", '[{"replace": "/name", "value": "old"}]', _PATCH_4),
    Ask("PATCH", f"/v2/images/{TWO}", '[{"add": "/name", "value": "old"}]', _PATCH_4),
    Ask("PATCH", f"/v2/images/{TWO}", '[{"op": "remove", "path": "/a~1b"}]', _PATCH_10),
    Ask("PATCH", f"/v2/images/{TWO}", '[{"op": "replace", "path": "/tags", "value": ["z"]}]', _PATCH_10),
    Ask("PATCH", f"/v2/images/{TWO}", '[{"op": "remove", "path": "/name"}]', _PATCH_10),
    Ask("PATCH", f"/v2/images/{TWO}", "[]", (("content-type", "application/json"), *_ID)),
    Ask("PATCH", f"/v2/images/{NONE}", "[]", _PATCH_10),
    # 7: upload
    Ask("GET", f"/v2/images/{ONE}/file", headers=_ID),
    Ask("PUT", f"/v2/images/{TWO}/file", b"x", _OCTETS),
    Ask("PUT", f"/v2/images/{ONE}/file", b"x", (("content-type", "text/plain"), *_ID)),
    Ask("PUT", f"/v2/images/{ONE}/file", b"x", (*_OCTETS, ("x-image-meta-store", "nowhere"))),
    Ask("PUT", f"/v2/images/{ONE}/file", b"hello world", _OCTETS),
    Ask("PUT", f"/v2/images/{ONE}/file", b"again", _OCTETS),
    Ask("GET", f"/v2/images/{ONE}", headers=_ID),
    # 8: download
    Ask("GET", f"/v2/images/{ONE}/file", headers=_ID),
    *(
        Ask("GET", f"/v2/images/{ONE}/file", headers=_ranged(value))
        for value in ("bytes=0-0", "bytes=2-4", "bytes=-4", "bytes=4-", "bytes=4-400", "bytes=11-", "bytes=0-1,3-4")
    ),
    Ask("GET", f"/v2/images/{ONE}/file", headers=(("content-range", "bytes 2-4/11"), *_ID)),
    Ask("GET", f"/v2/images/{ONE}/file", headers=_ID, who="bob"),
    # 10: actions, tags, members
    Ask("POST", f"/v2/images/{ONE}/actions/deactivate", headers=_ID),
    Ask("GET", f"/v2/images/{ONE}", headers=_ID),
    Ask("GET", f"/v2/images/{ONE}", headers=_ID, who="admin"),
    Ask("GET", f"/v2/images/{ONE}/file", headers=_ID),
    Ask("POST", f"/v2/images/{ONE}/actions/reactivate", headers=_ID),
    Ask("PUT", f"/v2/images/{ONE}/tags/c%20d", headers=_ID),
    Ask("DELETE", f"/v2/images/{ONE}/tags/c%20d", headers=_ID),
    Ask("DELETE", f"/v2/images/{ONE}/tags/c%20d", headers=_ID),
    Ask("GET", f"/v2/images/{ONE}/members", headers=_ID),
    Ask("POST", f"/v2/images/{ONE}/members", '{"member": "proj-b"}', _ID),
    Ask("POST", f"/v2/images/{ONE}/members", '{"member": "proj-b"}', _ID),
    Ask("POST", f"/v2/images/{TWO}/members", '{"member": "proj-b"}', _ID),
    Ask("GET", f"/v2/images/{ONE}/members", headers=_ID),
    Ask("GET", f"/v2/images/{ONE}/members/proj-b", headers=_ID, who="bob"),
    Ask("PUT", f"/v2/images/{ONE}/members/proj-b", '{"status": "accepted"}', _ID, who="bob"),
    Ask("PUT", f"/v2/images/{ONE}/members/proj-b", '{"status": "maybe"}', _ID, who="bob"),
    Ask("GET", f"/v2/images/{ONE}/members/proj-c", headers=_ID),
    Ask("DELETE", f"/v2/images/{ONE}/members/proj-b", headers=_ID),
    # 7.1, 8: no bytes at all, formats that are looked at and formats that are not
    *_made(FOUR, "raw", "bare", b"", name="four"),
    *_made(FIVE, "ami", "ami", b"kernel" * 100, name="five", visibility="community"),
    *_made(SIX, "qcow2", "ovf", b"not inspected" * 10, name="six", os_distro="debian"),
    # Glance keeps the data that it refuses here, so that only the refusals are alike.
    *_made(SEVEN, "qcow2", "bare", b"no qcow2" * 100)[:2],
    Ask("DELETE", f"/v2/images/{SEVEN}", headers=_ID),
    *_made(EIGHT, "iso", "bare", bytes(70_000))[:2],
    Ask("DELETE", f"/v2/images/{EIGHT}", headers=_ID),
    *(
        Ask("GET", f"/v2/images/{SIX}/file", headers=_ranged(value))
        for value in ("bytes=-400", "bytes=5-2", "bytes=a-b", "lines=0-1", "bytes= 1-2")
    ),
    *(
        Ask("GET", f"/v2/images/{SIX}/file", headers=(("content-range", value), *_ID))
        for value in ("bytes 0-4/*", "bytes 5-2/130", "bytes 500-501/130", "bytes 2-500/*", "junk")
    ),
    Ask("GET", f"/v2/images/{SIX}/file?prefer=nowhere", headers=_ID),
    Ask("GET", f"/v2/images/{SIX}/file?prefer=local", headers=_ID),
    Ask("GET", f"/v2/images/{SIX}/file?prefer=", headers=_ID),
    # 3.3, 5.2: who lists what
    Ask("POST", f"/v2/images/{SIX}/members", '{"member": "proj-b"}', _ID),
    Ask("POST", f"/v2/images/{FOUR}/members", '{"member": "proj-b"}', _ID),
    Ask("PUT", f"/v2/images/{FOUR}/members/proj-b", '{"status": "accepted"}', _ID, who="bob"),
    *(Ask("GET", f"/v2/images?{query}", headers=_ID, who=who) for who in ("alice", "bob", "admin") for query in _LISTS),
    Ask("GET", f"/v2/images/{SIX}", headers=_ID, who="bob"),
    Ask("PATCH", f"/v2/images/{FOUR}", '[{"op": "replace", "path": "/visibility", "value": "private"}]', _PATCH_10),
    Ask("GET", f"/v2/images/{FOUR}", headers=_ID, who="bob"),
    Ask("GET", f"/v2/images/{FOUR}/members", headers=_ID),
    Ask("PATCH", f"/v2/images/{FOUR}", '[{"op": "replace", "path": "/visibility", "value": "shared"}]', _PATCH_10),
    Ask("GET", f"/v2/images/{FOUR}", headers=_ID, who="bob"),
    # 10.3: removed and offered again, a member is asked again
    Ask("DELETE", f"/v2/images/{FOUR}/members/proj-b", headers=_ID),
    Ask("POST", f"/v2/images/{FOUR}/members", '{"member": "proj-b"}', _ID),
    Ask("PUT", f"/v2/images/{FOUR}/members/proj-b", '{"status": "rejected"}', _ID, who="bob"),
    Ask("PUT", f"/v2/images/{FOUR}/members/proj-b", '{"status": "pending"}', _ID, who="admin"),
    # 4: roles
    *(
        Ask(method, path, body, (*headers, *_role(roles)))
        for roles in ("reader", "nothing", "")
        for method, path, body, headers in (
            ("GET", "/v2/images?name=four", None, ()),
            ("GET", f"/v2/images/{FOUR}", None, ()),
            ("GET", f"/v2/images/{FOUR}/file", None, ()),
            ("GET", f"/v2/images/{FOUR}/members", None, ()),
            ("POST", "/v2/images", "{}", ()),
            ("PATCH", f"/v2/images/{FOUR}", _RENAME, (("content-type", DRAFT_10),)),
            ("PUT", f"/v2/images/{FOUR}/tags/t", None, ()),
            ("POST", f"/v2/images/{FOUR}/actions/deactivate", None, ()),
            ("DELETE", f"/v2/images/{FOUR}", None, ()),
        )
    ),
    *(
        Ask("GET", path, headers=(("x-project-id", None), *_ID))
        for path in (f"/v2/images/{FOUR}", f"/v2/images/{THREE}", f"/v2/images/{NONE}")
    ),
    *(
        Ask("GET", path, headers=(("x-project-id", None), ("openstack-system-scope", "all"), *_ID), who="admin")
        for path in ("/v2/images", f"/v2/images/{FOUR}")
    ),
    # 12: discovery
    Ask("GET", "/v2/info/stores", headers=_ID),
    Ask("GET", "/v2/info/stores/detail", headers=_ID),
    # 5.5: delete
    Ask("DELETE", f"/v2/images/{TWO}", headers=_ID),
    Ask("DELETE", f"/v2/images/{ONE}", headers=_ID),
    Ask("GET", f"/v2/images/{ONE}", headers=_ID, who="admin"),
    Ask("POST", "/v2/images", f'{{"id": "{ONE}"}}', _ID),
)
