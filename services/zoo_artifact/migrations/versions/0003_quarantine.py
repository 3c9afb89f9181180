"""Quarantines, and what namespaces take."""

import sqlalchemy as sa
from alembic import op

from zoo_store.sql import UtcTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "quarantines",
        sa.Column("namespace", sa.String(96), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("create_time", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "digest"),
    )
    op.create_table(
        "namespace_policies",
        sa.Column("namespace", sa.String(96), primary_key=True),
        sa.Column("allow_opaque", sa.Boolean, nullable=False),
    )


def downgrade() -> None:
    for table in ("namespace_policies", "quarantines"):
        op.drop_table(table)
