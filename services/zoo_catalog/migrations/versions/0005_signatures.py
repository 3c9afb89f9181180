"""Signatures and trusted signers."""

import sqlalchemy as sa
from alembic import op

from zoo_store.sql import UtcTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "signatures",
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("bundle", sa.LargeBinary, nullable=False),
        sa.Column("creator", sa.String(128), nullable=False),
        sa.Column("create_time", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "version", "key_id"),
        sa.ForeignKeyConstraint(["model_id", "version"], ["versions.model_id", "versions.version"]),
    )
    op.create_table(
        "trusted_signers",
        sa.Column("namespace_key", sa.String(96), sa.ForeignKey("namespaces.key"), nullable=False),
        sa.Column("name", sa.String(96), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("namespace_key", "name"),
    )
    op.create_table(
        "signing_policies",
        sa.Column("namespace_key", sa.String(96), sa.ForeignKey("namespaces.key"), primary_key=True),
        sa.Column("require_signatures", sa.Boolean, nullable=False),
        sa.Column("etag", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in ("signing_policies", "trusted_signers", "signatures"):
        op.drop_table(table)
