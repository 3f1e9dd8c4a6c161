"""Our own table of leases, and the indexes that make lists flat. Glance does not see either."""

from __future__ import annotations

import sqlalchemy
from alembic import op

from fanlight.catalog.schema import create_missing
from fanlight.catalog.tables import LIST_INDEXES, OURS

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what is missing: a database may have been handed back and taken over again."""
    connection = op.get_bind()
    create_missing(connection, OURS)
    inspector = sqlalchemy.inspect(connection)
    for name, table, columns in LIST_INDEXES:
        if name not in {index["name"] for index in inspector.get_indexes(table)}:
            op.create_index(name, table, list(columns))
