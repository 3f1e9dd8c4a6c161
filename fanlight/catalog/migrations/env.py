"""Alembic's entry: runs our revisions on the connection that catalog/schema.py hands over."""

from __future__ import annotations

from alembic import context

from fanlight.catalog.tables import OUR_VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=None,
    version_table=OUR_VERSION_TABLE,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
