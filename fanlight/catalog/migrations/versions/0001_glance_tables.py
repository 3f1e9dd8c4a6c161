"""Glance's tables, as its own migrations leave them at 2024_1_contract01; nothing in a database that has them."""

from __future__ import annotations

import sqlalchemy
from alembic import op

from fanlight.catalog.schema import create_missing
from fanlight.catalog.tables import GLANCE_HEAD, METADATA, alembic_version

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables and stamp them with Glance's head, so that Glance can take the database back.

    The stamp comes last: without it, an earlier start was killed while it made them, where DDL has no transactions.
    """
    connection = op.get_bind()
    made = sqlalchemy.inspect(connection).has_table(alembic_version.name)
    if made and connection.execute(sqlalchemy.select(alembic_version)).first() is not None:
        return
    create_missing(connection, METADATA)
    connection.execute(sqlalchemy.insert(alembic_version).values(version_num=GLANCE_HEAD))
