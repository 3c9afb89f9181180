"""Blobs, manifests and pins."""

import sqlalchemy as sa
from alembic import op

from zoo_store.sql import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("reference_count", sa.Integer, nullable=False),
        sa.Column("touch_time", UtcTime, nullable=False),
    )
    op.create_table(
        "namespace_blobs",
        sa.Column("namespace", sa.String(96), nullable=False),
        sa.Column("digest", sa.String(64), sa.ForeignKey("blobs.digest"), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "digest"),
    )
    op.create_table(
        "manifests",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("create_time", UtcTime, nullable=False),
    )
    op.create_table(
        "namespace_manifests",
        sa.Column("namespace", sa.String(96), nullable=False),
        sa.Column("digest", sa.String(64), sa.ForeignKey("manifests.digest"), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "digest"),
    )
    op.create_table(
        "pins",
        sa.Column("namespace", sa.String(96), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("holder", sa.String(256), nullable=False),
        sa.Column("expire_time", UtcTime),
        sa.PrimaryKeyConstraint("namespace", "digest", "subject", "holder"),
        sa.ForeignKeyConstraint(
            ["namespace", "digest"], ["namespace_manifests.namespace", "namespace_manifests.digest"]
        ),
    )


def downgrade() -> None:
    for table in ("pins", "namespace_manifests", "manifests", "namespace_blobs", "blobs"):
        op.drop_table(table)
