"""The records that cross the layers: frozen, plain, without behaviour beyond what their fields say.

Every layer may import this module; it imports nothing of ours but `errors`. Times are naive UTC
`datetime`s, sizes are bytes, `min_disk` is GiB and `min_ram` MiB (Image API V2, "Show image").
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

# Status machine of an image: which status may follow which (Image API V2, "Image status").
# `killed` is only ever found in rows that Glance's V1 wrote.
TRANSITIONS: Mapping[str, frozenset[str]] = {
    "queued": frozenset({"saving", "uploading", "importing", "active", "deleted"}),
    "saving": frozenset({"active", "killed", "deleted", "queued"}),
    "uploading": frozenset({"importing", "queued", "deleted"}),
    "importing": frozenset({"active", "deleted", "queued"}),
    "active": frozenset({"pending_delete", "deleted", "deactivated"}),
    "killed": frozenset({"deleted"}),
    "pending_delete": frozenset({"deleted", "active"}),
    "deactivated": frozenset({"active", "deleted"}),
    "deleted": frozenset(),
}

VISIBILITIES = ("public", "community", "shared", "private")
MEMBER_STATUSES = ("pending", "accepted", "rejected")
INTERNAL_PREFIX = "os_glance"
"""Custom properties with this prefix belong to the service; nobody may set them."""
HIDDEN_PROPERTIES = frozenset({"os_glance_stage_host", "os_glance_hash_op_host"})
"""Internal properties that are never shown."""


Property = str | float | None
"""Value of a custom property. Numbers and truth values, where an operator declared such, are texts once they are kept.
"""


class Location(Struct, frozen=True, kw_only=True):
    """Where the bytes of an image lie. `url` may hold credentials: never log or show it unasked."""

    url: str
    metadata: dict[str, Any] = {}
    status: str = "active"
    id: int | None = None

    def __repr__(self) -> str:
        return f"Location(id={self.id}, store={self.metadata.get('store')!r}, status={self.status!r})"


class Image(Struct, frozen=True, kw_only=True):
    """One image of the catalogue with its custom properties, tags and active locations."""

    id: str
    status: str
    created_at: datetime.datetime
    updated_at: datetime.datetime
    owner: str | None = None
    name: str | None = None
    visibility: str = "shared"
    disk_format: str | None = None
    container_format: str | None = None
    size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    protected: bool = False
    os_hidden: bool = False
    properties: dict[str, Property] = {}
    tags: tuple[str, ...] = ()
    locations: tuple[Location, ...] = ()
    member: str | None = None
    """The viewer's project when the image is shared and not its own; drives `member_id` in policy."""


class Member(Struct, frozen=True, kw_only=True):
    """A project that an image is shared with."""

    image_id: str
    member_id: str
    status: str
    created_at: datetime.datetime
    updated_at: datetime.datetime


class Caller(Struct, frozen=True, kw_only=True):
    """Who is calling, as the identity stage found out; the credentials that policy checks see."""

    user_id: str | None = None
    project_id: str | None = None
    roles: tuple[str, ...] = ()
    """Lower-cased roles of the user."""
    is_admin: bool = False
    """What the rule `context_is_admin` said, once per request."""
    read_only: bool = False
    service_roles: tuple[str, ...] = ()
    service_user_id: str | None = None
    """Whose the service token is; None without one."""
    service_project_id: str | None = None
    service_user_domain_id: str | None = None
    service_project_domain_id: str | None = None
    domain_id: str | None = None
    user_domain_id: str | None = None
    project_domain_id: str | None = None
    system_scope: str | None = None
    request_id: str | None = None
    token: str | None = None
    service_catalog: str | None = None
    """Keystone's list of services for this token, as JSON; only stores that act in the caller's name read it."""

    def __repr__(self) -> str:
        return f"Caller(user={self.user_id!r}, project={self.project_id!r}, roles={self.roles!r})"


class Lease(Struct, frozen=True, kw_only=True):
    """A debt of bytes: somebody is writing or deleting an object, and what to clean up if it dies.

    `kind` is `upload`, `delete`, or `discard`: what a failed upload left in a store that cannot be reached. While
    `holder` lives it renews `expires_at`; a lease that is not renewed for long, or whose holder is known dead, is taken
    over and undone (upload) or finished (delete, discard).
    """

    token: str
    kind: str
    image_id: str
    store: str | None
    url: str | None
    metadata: dict[str, Any] = {}
    holder: str
    expires_at: datetime.datetime
    location_id: int | None = None

    def __repr__(self) -> str:
        return f"Lease({self.kind} of {self.image_id} by {self.holder})"


class Stored(Struct, frozen=True, kw_only=True):
    """What a store did with a body: where the object lies and what was measured on the way."""

    url: str
    size: int
    checksum: str
    os_hash_algo: str
    os_hash_value: str
    metadata: dict[str, Any]

    def __repr__(self) -> str:
        return f"Stored(size={self.size}, store={self.metadata.get('store')!r})"


class Filter(Struct, frozen=True):
    """One condition on a real column of an image. `value` is typed as the column is; a tuple for `in`."""

    column: str
    op: str
    """`eq`, `neq`, `gt`, `gte`, `lt`, `lte` or `in`."""
    value: Any


class ImageQuery(Struct, frozen=True, kw_only=True):
    """Which images a listing asks for, in which order, and how many at most (Image API V2, "List images").

    All conditions must hold. What the caller may see comes on top, in the catalogue.
    """

    limit: int
    marker: str | None = None
    """The id after which the page begins."""
    sort: tuple[tuple[str, str], ...] = (("created_at", "desc"), ("id", "desc"))
    """Pairs of column and `asc` or `desc`, ending in the tie-breakers `created_at` and `id`."""
    filters: tuple[Filter, ...] = ()
    visibility: str | None = None
    """A visibility, `all`, or None: everything but community images of others. Others match nothing."""
    member_status: str = "accepted"
    """Which answers make an image shared with the caller appear; `all` for any."""
    os_hidden: bool = False
    tags: tuple[str, ...] = ()
    """The image must carry all of these."""
    properties: dict[str, str] = {}
    """Custom properties that must have exactly this value."""
