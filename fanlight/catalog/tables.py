"""The tables of the catalogue: Glance's own, column for column, and those that we add.

Bottom of every request's way. The layout is that of Glance 33 (database head `2024_1_contract01`), so that a
database can be taken over from Glance and handed back. What is ours carries the prefix `fanlight_`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)
from sqlalchemy.types import TypeEngine

METADATA = MetaData()
"""Glance's tables, their columns in the order in which Glance's migrations leave them: a dump without names fits."""
OURS = MetaData()
"""Tables that only we know."""

_INNODB: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8"}


def _big() -> TypeEngine[int]:
    return BigInteger().with_variant(Integer, "sqlite")


def _checked(*dialects: str) -> TypeEngine[bool]:
    """A boolean with an unnamed CHECK, on MySQL and SQLite unless told otherwise."""
    return Boolean(create_constraint=False).with_variant(
        Boolean(create_constraint=True), *(dialects or ("mysql", "sqlite"))
    )


def _times(*, deleted: bool) -> list[Column[Any]]:
    columns: list[Column[Any]] = [
        Column("created_at", DateTime(), nullable=False),
        Column("updated_at", DateTime(), nullable=True),
    ]
    if deleted:
        columns += [
            Column("deleted_at", DateTime(), nullable=True),
            Column("deleted", _checked(), nullable=False),
        ]
    return columns


images = Table(
    "images",
    METADATA,
    Column("id", String(36), primary_key=True, nullable=False),
    Column("name", String(255)),
    Column("size", _big()),
    Column("status", String(30), nullable=False),
    Column("created_at", DateTime(), nullable=False),
    Column("updated_at", DateTime()),
    Column("deleted_at", DateTime()),
    Column("deleted", _checked("mysql"), nullable=False),
    Column("disk_format", String(20)),
    Column("container_format", String(20)),
    Column("checksum", String(32)),
    Column("owner", String(255)),
    Column("min_disk", Integer(), nullable=False),
    Column("min_ram", Integer(), nullable=False),
    Column("protected", _checked("mysql"), nullable=False, server_default=false()),
    Column("virtual_size", _big()),
    Column(
        "visibility",
        Enum("private", "public", "shared", "community", name="image_visibility", create_constraint=False),
        nullable=False,
        server_default="shared",
    ),
    Column("os_hidden", Boolean(), nullable=False, server_default=false()),
    Column("os_hash_algo", String(64)),
    Column("os_hash_value", String(128)),
    Index("checksum_image_idx", "checksum"),
    Index("created_at_image_idx", "created_at"),
    Index("ix_images_deleted", "deleted"),
    Index("os_hash_value_image_idx", "os_hash_value"),
    Index("os_hidden_image_idx", "os_hidden"),
    Index("owner_image_idx", "owner"),
    Index("updated_at_image_idx", "updated_at"),
    Index("visibility_image_idx", "visibility"),
    **_INNODB,
)

image_properties = Table(
    "image_properties",
    METADATA,
    Column("id", Integer(), primary_key=True, nullable=False),
    Column("image_id", String(36), ForeignKey("images.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("value", Text()),
    *_times(deleted=True),
    Index("ix_image_properties_deleted", "deleted"),
    Index("ix_image_properties_image_id", "image_id"),
    UniqueConstraint("image_id", "name", name="ix_image_properties_image_id_name"),
    **_INNODB,
)

image_tags = Table(
    "image_tags",
    METADATA,
    Column("id", Integer(), primary_key=True, nullable=False),
    Column("image_id", String(36), ForeignKey("images.id"), nullable=False),
    Column("value", String(255), nullable=False),
    *_times(deleted=True),
    Index("ix_image_tags_image_id", "image_id"),
    Index("ix_image_tags_image_id_tag_value", "image_id", "value"),
    **_INNODB,
)

image_locations = Table(
    "image_locations",
    METADATA,
    Column("id", Integer(), primary_key=True, nullable=False),
    Column("image_id", String(36), ForeignKey("images.id"), nullable=False),
    Column("value", Text(), nullable=False),
    *_times(deleted=True),
    Column("meta_data", Text()),
    Column("status", String(30), nullable=False, server_default="active"),
    Index("ix_image_locations_deleted", "deleted"),
    Index("ix_image_locations_image_id", "image_id"),
    **_INNODB,
)

image_members = Table(
    "image_members",
    METADATA,
    Column("id", Integer(), primary_key=True, nullable=False),
    Column("image_id", String(36), ForeignKey("images.id"), nullable=False),
    Column("member", String(255), nullable=False),
    Column("can_share", _checked(), nullable=False),
    *_times(deleted=True),
    Column("status", String(20), nullable=False, server_default="pending"),
    Index("ix_image_members_deleted", "deleted"),
    Index("ix_image_members_image_id", "image_id"),
    Index("ix_image_members_image_id_member", "image_id", "member"),
    UniqueConstraint("image_id", "member", "deleted_at", name="image_members_image_id_member_deleted_at_key"),
    **_INNODB,
)

tasks = Table(
    "tasks",
    METADATA,
    Column("id", String(36), primary_key=True, nullable=False),
    Column("type", String(30), nullable=False),
    Column("status", String(30), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("expires_at", DateTime()),
    *_times(deleted=True),
    Column("image_id", String(36)),
    Column("request_id", String(64)),
    Column("user_id", String(64)),
    Index("ix_tasks_deleted", "deleted"),
    Index("ix_tasks_image_id", "image_id"),
    Index("ix_tasks_owner", "owner"),
    Index("ix_tasks_status", "status"),
    Index("ix_tasks_type", "type"),
    Index("ix_tasks_updated_at", "updated_at"),
    **_INNODB,
)

task_info = Table(
    "task_info",
    METADATA,
    Column("task_id", String(36), ForeignKey("tasks.id"), primary_key=True, nullable=False),
    Column("input", Text()),
    Column("result", Text()),
    Column("message", Text()),
    **_INNODB,
)

node_reference = Table(
    "node_reference",
    METADATA,
    Column("node_reference_id", _big(), primary_key=True, nullable=False, autoincrement=True),
    Column("node_reference_url", String(255), nullable=False),
    UniqueConstraint("node_reference_url", name="uq_node_reference_node_reference_url"),
    **_INNODB,
)

cached_images = Table(
    "cached_images",
    METADATA,
    Column("id", _big(), primary_key=True, nullable=False, autoincrement=True),
    Column("image_id", String(36), nullable=False),
    Column("last_accessed", DateTime(), nullable=False),
    Column("last_modified", DateTime(), nullable=False),
    Column("size", BigInteger(), nullable=False),
    Column("hits", Integer(), nullable=False),
    Column("checksum", String(32)),
    Column("node_reference_id", _big(), ForeignKey("node_reference.node_reference_id"), nullable=False),
    UniqueConstraint("image_id", "node_reference_id", name="ix_cached_images_image_id_node_reference_id"),
    **_INNODB,
)

metadef_namespaces = Table(
    "metadef_namespaces",
    METADATA,
    Column("id", Integer(), primary_key=True, nullable=False),
    Column("namespace", String(80), nullable=False),
    Column("display_name", String(80)),
    Column("description", Text()),
    Column("visibility", String(32)),
    Column("protected", _checked()),
    Column("owner", String(255), nullable=False),
    *_times(deleted=False),
    Index("ix_metadef_namespaces_owner", "owner"),
    UniqueConstraint("namespace", name="uq_metadef_namespaces_namespace"),
    **_INNODB,
)

metadef_objects = Table(
    "metadef_objects",
    METADATA,
    Column("id", Integer(), primary_key=True, nullable=False),
    Column("namespace_id", Integer(), ForeignKey("metadef_namespaces.id"), nullable=False),
    Column("name", String(80), nullable=False),
    Column("description", Text()),
    Column("required", Text()),
    Column("json_schema", Text(), nullable=False),
    *_times(deleted=False),
    Index("ix_metadef_objects_name", "name"),
    UniqueConstraint("namespace_id", "name", name="uq_metadef_objects_namespace_id_name"),
    **_INNODB,
)

metadef_properties = Table(
    "metadef_properties",
    METADATA,
    Column("id", Integer(), primary_key=True, nullable=False),
    Column("namespace_id", Integer(), ForeignKey("metadef_namespaces.id"), nullable=False),
    Column("name", String(80), nullable=False),
    Column("json_schema", Text(), nullable=False),
    *_times(deleted=False),
    Index("ix_metadef_properties_name", "name"),
    UniqueConstraint("namespace_id", "name", name="uq_metadef_properties_namespace_id_name"),
    **_INNODB,
)

metadef_resource_types = Table(
    "metadef_resource_types",
    METADATA,
    Column("id", Integer(), primary_key=True, nullable=False),
    Column("name", String(80), nullable=False),
    Column("protected", _checked(), nullable=False),
    *_times(deleted=False),
    UniqueConstraint("name", name="uq_metadef_resource_types_name"),
    **_INNODB,
)

metadef_namespace_resource_types = Table(
    "metadef_namespace_resource_types",
    METADATA,
    Column("resource_type_id", Integer(), ForeignKey("metadef_resource_types.id"), nullable=False),
    Column("namespace_id", Integer(), ForeignKey("metadef_namespaces.id"), nullable=False),
    Column("properties_target", String(80)),
    Column("prefix", String(80)),
    *_times(deleted=False),
    PrimaryKeyConstraint("resource_type_id", "namespace_id"),
    Index("ix_metadef_ns_res_types_namespace_id", "namespace_id"),
    **_INNODB,
)

metadef_tags = Table(
    "metadef_tags",
    METADATA,
    Column("id", Integer(), primary_key=True, nullable=False),
    Column("namespace_id", Integer(), ForeignKey("metadef_namespaces.id"), nullable=False),
    Column("name", String(80), nullable=False),
    *_times(deleted=False),
    Index("ix_metadef_tags_name", "name"),
    UniqueConstraint("namespace_id", "name", name="uq_metadef_tags_namespace_id_name"),
    **_INNODB,
)

alembic_version = Table(
    "alembic_version",
    METADATA,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

leases = Table(
    "fanlight_leases",
    OURS,
    Column("token", String(32), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("image_id", String(36), nullable=False),
    Column("store", String(255)),
    Column("url", Text()),
    Column("meta_data", Text(), nullable=False),
    Column("location_id", Integer()),
    Column("holder", String(255), nullable=False),
    Column("expires_at", DateTime(), nullable=False),
    Index("fanlight_leases_expires_at", "expires_at"),
    Index("fanlight_leases_image_id", "image_id"),
    **_INNODB,
)


def live(table: Table) -> ColumnElement[bool]:
    """Rows of a child table that are not deleted, found through their image.

    Written as no index serves it: `deleted = 0` would make SQLite walk the index of that column, nearly all rows.
    """
    return table.c.deleted.is_not(true())


LIST_INDEXES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("fanlight_images_listed", "images", ("deleted", "os_hidden", "created_at", "id")),
    ("fanlight_images_by_visibility", "images", ("visibility", "deleted", "os_hidden", "created_at", "id")),
    ("fanlight_images_by_owner", "images", ("owner", "deleted", "os_hidden", "created_at", "id")),
    ("fanlight_images_listed_by_name", "images", ("deleted", "os_hidden", "name", "created_at", "id")),
    (
        "fanlight_images_by_visibility_and_name",
        "images",
        ("visibility", "deleted", "os_hidden", "name", "created_at", "id"),
    ),
    ("fanlight_images_by_owner_and_name", "images", ("owner", "deleted", "os_hidden", "name", "created_at", "id")),
    ("fanlight_images_by_name", "images", ("name", "deleted")),
    ("fanlight_image_members_by_member", "image_members", ("member", "image_id", "deleted", "status")),
    ("fanlight_image_properties_by_name", "image_properties", ("name", "image_id")),
    ("fanlight_image_tags_by_value", "image_tags", ("value", "image_id")),
)
"""Name, table, columns. What makes a page of a list cost the same in a small and in a large catalogue: each branch of
the list query (everything; one visibility; one owner) walks one of these in the order of the API's default sort, or by
name, which is the default of python-glanceclient."""

GLANCE_HEAD = "2024_1_contract01"
"""What Glance's own `alembic_version` holds in a database of this layout."""
OUR_VERSION_TABLE = "fanlight_alembic_version"
