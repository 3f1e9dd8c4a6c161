"""The 67 policy rules: names and default checks as Glance 33 has them, since operators' files override them by name.

`check` is what holds by default. `deprecated` is what held before; it is added with OR where `enforce_new_defaults` is
false. Paths are below /v2.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """One rule: what it decides, its default check, the older one if it had another, and the calls that it guards."""

    name: str
    check: str
    deprecated: str | None
    description: str
    operations: tuple[str, ...] = ()

    @property
    def scoped(self) -> bool:
        """Whether callers whose token is for the system or a domain are refused, whatever the check says."""
        return self.name not in UNSCOPED


OWN = "project_id:%(project_id)s"
ADMIN = "rule:context_is_admin"
READABLE = (
    f"{OWN} or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s "
    "or 'shared':%(visibility)s"
)
OWN_MEMBER = f"{ADMIN} or (role:member and {OWN})"
METADEF_READ = f"{ADMIN} or (role:reader and ({OWN} or 'public':%(visibility)s))"
METADEF_ADMIN = "rule:metadef_admin"
OLD, OLD_METADEF, OLD_CACHE = "rule:default", "rule:metadef_default", "rule:manage_image_cache"

UNSCOPED = frozenset({"default", "context_is_admin", "service_api", "metadef_default", "metadef_admin"})
"""Rules that look at any caller: they are parts of others, not asked for a call."""

IMAGE = "/images/{image_id}"
MEMBERS = f"{IMAGE}/members"
TASK = "/tasks/{task_id}"
NAMESPACES = "/metadefs/namespaces"
NAMESPACE = f"{NAMESPACES}/{{namespace_name}}"
OBJECTS = f"{NAMESPACE}/objects"
PROPERTIES = f"{NAMESPACE}/properties"
TAGS = f"{NAMESPACE}/tags"
TYPES = f"{NAMESPACE}/resource_types"

_PARTS = (
    Rule("default", "", ADMIN, "Decides for names that have no rule of their own, and in older defaults."),
    Rule("context_is_admin", "role:admin", None, "Who is administrator; asked once for each request."),
    Rule("service_api", "role:service or role:admin", None, "Which callers count as other services."),
)

_IMAGES = (
    Rule(
        "add_image",
        f"{ADMIN} or (role:member and {OWN} and project_id:%(owner)s)",
        OLD,
        "Create an image record.",
        ("POST /images",),
    ),
    Rule("delete_image", OWN_MEMBER, OLD, "Delete an image and its data.", (f"DELETE {IMAGE}",)),
    Rule(
        "get_image",
        f"{ADMIN} or (role:reader and ({READABLE}))",
        OLD,
        "See an image. Whoever fails this is told that the image does not exist, whatever was asked.",
        (f"GET {IMAGE}",),
    ),
    Rule("get_images", f"{ADMIN} or (role:reader and {OWN})", OLD, "List images at all.", ("GET /images",)),
    Rule("modify_image", OWN_MEMBER, OLD, "Change a record, its properties or its tags.", (f"PATCH {IMAGE}",)),
    Rule("publicize_image", ADMIN, None, "Make an image public.", (f"PATCH {IMAGE}",)),
    Rule("communitize_image", OWN_MEMBER, OLD, "Make an image a community image.", (f"PATCH {IMAGE}",)),
    Rule(
        "download_image",
        f"{ADMIN} or (role:member and ({READABLE}))",
        OLD,
        "Read the data of an image.",
        (f"GET {IMAGE}/file",),
    ),
    Rule(
        "download_from_store",
        f"{ADMIN} or (role:member and ({READABLE}))",
        None,
        "Say from which store the data is to be read.",
        (f"GET {IMAGE}/file",),
    ),
    Rule("upload_image", OWN_MEMBER, OLD, "Bring the data of an image.", (f"PUT {IMAGE}/file",)),
    Rule("delete_image_location", ADMIN, OLD, "Remove a location of an image.", (f"PATCH {IMAGE}",)),
    Rule(
        "get_image_location",
        f"{ADMIN} or (role:reader and {OWN})",
        OLD,
        "Know a location in order to remove an image from one store.",
        (f"GET {IMAGE}",),
    ),
    Rule("set_image_location", OWN_MEMBER, OLD, "Add or replace locations by PATCH.", (f"PATCH {IMAGE}",)),
    Rule(
        "add_image_location",
        f"rule:service_api or (role:member and {OWN} and project_id:%(owner)s)",
        None,
        "Give an image without data its location.",
        (f"POST {IMAGE}/locations",),
    ),
    Rule("fetch_image_location", "rule:service_api", None, "Read the locations.", (f"GET {IMAGE}/locations",)),
    Rule("add_member", OWN_MEMBER, OLD, "Share an image with a project.", (f"POST {MEMBERS}",)),
    Rule("delete_member", OWN_MEMBER, OLD, "Share it no more.", (f"DELETE {MEMBERS}/{{member_id}}",)),
    Rule(
        "get_member",
        f"{ADMIN} or role:reader and ({OWN} or project_id:%(member_id)s)",
        OLD,
        "See one project that an image is shared with.",
        (f"GET {MEMBERS}/{{member_id}}",),
    ),
    Rule(
        "get_members",
        f"{ADMIN} or role:reader and ({OWN} or project_id:%(member_id)s)",
        OLD,
        "List the projects that an image is shared with.",
        (f"GET {MEMBERS}",),
    ),
    Rule(
        "modify_member",
        f"{ADMIN} or (role:member and project_id:%(member_id)s)",
        OLD,
        "Accept or reject an image that is shared with one's project.",
        (f"PUT {MEMBERS}/{{member_id}}",),
    ),
    Rule("manage_image_cache", ADMIN, None, "The older default of rules of the cache."),
    Rule("deactivate", OWN_MEMBER, OLD, "Close an image for downloads.", (f"POST {IMAGE}/actions/deactivate",)),
    Rule("reactivate", OWN_MEMBER, OLD, "Open it again.", (f"POST {IMAGE}/actions/reactivate",)),
    Rule("copy_image", ADMIN, None, "Copy an image's data to further stores.", (f"POST {IMAGE}/import",)),
    Rule("list_cached_nodes", ADMIN, None, "See which nodes have an image cached.", ("GET /cache/nodes/{image_id}",)),
)

_TASKS = (
    Rule("get_task", OLD, OLD, "See a task; `tasks_api_access` decides instead.", (f"GET {TASK}",)),
    Rule("get_tasks", OLD, OLD, "List tasks; `tasks_api_access` decides instead.", ("GET /tasks",)),
    Rule("add_task", OLD, OLD, "Create a task; `tasks_api_access` decides instead.", ("POST /tasks",)),
    Rule("modify_task", OLD, None, "Delete a task; `tasks_api_access` decides instead.", (f"DELETE {TASK}",)),
    Rule(
        "tasks_api_access",
        ADMIN,
        None,
        "All calls on tasks.",
        (f"GET {TASK}", "GET /tasks", "POST /tasks", f"DELETE {TASK}"),
    ),
)

_METADEFS = (
    Rule("metadef_default", "", None, "The older default of rules that read metadata definitions."),
    Rule("metadef_admin", ADMIN, None, "Who may change metadata definitions."),
    Rule("get_metadef_namespace", METADEF_READ, OLD_METADEF, "See a namespace.", (f"GET {NAMESPACE}",)),
    Rule(
        "get_metadef_namespaces",
        f"{ADMIN} or (role:reader and {OWN})",
        OLD_METADEF,
        "List namespaces.",
        (f"GET {NAMESPACES}",),
    ),
    Rule("modify_metadef_namespace", METADEF_ADMIN, None, "Change a namespace.", (f"PUT {NAMESPACE}",)),
    Rule("add_metadef_namespace", METADEF_ADMIN, None, "Create a namespace.", (f"POST {NAMESPACES}",)),
    Rule("delete_metadef_namespace", METADEF_ADMIN, None, "Delete a namespace.", (f"DELETE {NAMESPACE}",)),
    Rule("get_metadef_object", METADEF_READ, OLD_METADEF, "See an object.", (f"GET {OBJECTS}/{{object_name}}",)),
    Rule("get_metadef_objects", METADEF_READ, OLD_METADEF, "List the objects of a namespace.", (f"GET {OBJECTS}",)),
    Rule("modify_metadef_object", METADEF_ADMIN, None, "Change an object.", (f"PUT {OBJECTS}/{{object_name}}",)),
    Rule("add_metadef_object", METADEF_ADMIN, None, "Create an object.", (f"POST {OBJECTS}",)),
    Rule("delete_metadef_object", METADEF_ADMIN, None, "Delete an object.", (f"DELETE {OBJECTS}/{{object_name}}",)),
    Rule(
        "list_metadef_resource_types",
        METADEF_READ,
        OLD_METADEF,
        "List resource types.",
        ("GET /metadefs/resource_types",),
    ),
    Rule(
        "get_metadef_resource_type",
        METADEF_READ,
        OLD_METADEF,
        "See which resource types a namespace is for.",
        (f"GET {TYPES}",),
    ),
    Rule(
        "add_metadef_resource_type_association",
        METADEF_ADMIN,
        None,
        "Make a namespace hold for a resource type.",
        (f"POST {TYPES}",),
    ),
    Rule(
        "remove_metadef_resource_type_association",
        METADEF_ADMIN,
        None,
        "Make it hold for a resource type no more.",
        (f"DELETE {TYPES}/{{name}}",),
    ),
    Rule(
        "get_metadef_property", METADEF_READ, OLD_METADEF, "See a property.", (f"GET {PROPERTIES}/{{property_name}}",)
    ),
    Rule("get_metadef_properties", METADEF_READ, OLD_METADEF, "List properties.", (f"GET {PROPERTIES}",)),
    Rule(
        "modify_metadef_property", METADEF_ADMIN, None, "Change a property.", (f"PUT {PROPERTIES}/{{property_name}}",)
    ),
    Rule("add_metadef_property", METADEF_ADMIN, None, "Create a property.", (f"POST {PROPERTIES}",)),
    Rule(
        "remove_metadef_property",
        METADEF_ADMIN,
        None,
        "Delete a property.",
        (f"DELETE {PROPERTIES}/{{property_name}}",),
    ),
    Rule("get_metadef_tag", METADEF_READ, OLD_METADEF, "See a tag.", (f"GET {TAGS}/{{tag_name}}",)),
    Rule("get_metadef_tags", METADEF_READ, OLD_METADEF, "List tags.", (f"GET {TAGS}",)),
    Rule("modify_metadef_tag", METADEF_ADMIN, None, "Change a tag.", (f"PUT {TAGS}/{{tag_name}}",)),
    Rule("add_metadef_tag", METADEF_ADMIN, None, "Create a tag.", (f"POST {TAGS}/{{tag_name}}",)),
    Rule("add_metadef_tags", METADEF_ADMIN, None, "Create several tags.", (f"POST {TAGS}",)),
    Rule("delete_metadef_tag", METADEF_ADMIN, None, "Delete a tag.", (f"DELETE {TAGS}/{{tag_name}}",)),
    Rule("delete_metadef_tags", METADEF_ADMIN, None, "Delete all tags of a namespace.", (f"DELETE {TAGS}",)),
)

_CACHE_AND_STORES = (
    Rule("cache_image", ADMIN, OLD_CACHE, "Queue an image for the cache.", ("PUT /cache/{image_id}",)),
    Rule("cache_list", ADMIN, OLD_CACHE, "See what is cached and queued.", ("GET /cache",)),
    Rule("cache_delete", ADMIN, OLD_CACHE, "Empty the cache.", ("DELETE /cache", "DELETE /cache/{image_id}")),
    Rule("cache_clean", ADMIN, None, "Remove what is broken or stalled from the cache.", ("POST /cache/clean",)),
    Rule("cache_prune", ADMIN, None, "Shrink the cache to its limit.", ("POST /cache/prune",)),
    Rule(
        "stores_info_detail",
        f"{ADMIN} or rule:service_api",
        ADMIN,
        "See how the stores are configured.",
        ("GET /info/stores/detail",),
    ),
)

RULES: tuple[Rule, ...] = (*_PARTS, *_IMAGES, *_TASKS, *_METADEFS, *_CACHE_AND_STORES)
"""In the order in which `fanlight policy sample` prints them."""
