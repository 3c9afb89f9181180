"""What sweeping needs: references of manifests to blobs, states, and whether it may."""

import uuid

import sqlalchemy as sa
from alembic import op

from zoo_store.sql import UtcTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("manifests", sa.Column("state", sa.String(8), server_default="stored"))
    op.add_column("manifests", sa.Column("touch_time", UtcTime))
    op.add_column("namespace_manifests", sa.Column("state", sa.String(8), server_default="stored"))
    op.execute("UPDATE manifests SET touch_time = create_time")
    with op.batch_alter_table("manifests") as manifests:
        manifests.alter_column("state", nullable=False, server_default=None)
        manifests.alter_column("touch_time", nullable=False)
    with op.batch_alter_table("namespace_manifests") as namespace_manifests:
        namespace_manifests.alter_column("state", nullable=False, server_default=None)
    op.create_index("namespace_manifests_by_digest", "namespace_manifests", ["digest"])
    op.create_table(
        "manifest_blobs",
        sa.Column("manifest", sa.String(64), sa.ForeignKey("manifests.digest"), nullable=False),
        sa.Column("blob", sa.String(64), sa.ForeignKey("blobs.digest"), nullable=False),
        sa.PrimaryKeyConstraint("manifest", "blob"),
    )
    op.create_index("manifest_blobs_by_blob", "manifest_blobs", ["blob"])
    upkeep = op.create_table(
        "upkeep",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("index_id", sa.String(32), nullable=False),
        sa.Column("frozen", sa.Boolean, nullable=False),
        sa.Column("freeze_reason", sa.Text, nullable=False),
        sa.Column("rebuilding", sa.Boolean, nullable=False),
        sa.Column("waiting", sa.Boolean, nullable=False),
        sa.Column("lease_owner", sa.String(32)),
        sa.Column("lease_expire_time", UtcTime),
        sa.Column("sweep_time", UtcTime),
        sa.Column("scrub_time", UtcTime),
    )
    op.create_table(
        "holders",
        sa.Column("subject", sa.String(128), primary_key=True),
        sa.Column("index_id", sa.String(32), nullable=False),
        sa.Column("confirm_time", UtcTime, nullable=False),
    )
    # Which blobs the manifests name stands in the bucket alone: the service reads it from there when it starts. Pins
    # stay what they are, so that nobody is waited for.
    known = op.get_bind().execute(sa.text("SELECT 1 FROM manifests LIMIT 1")).first() is not None
    op.execute(
        sa.insert(upkeep).values(
            id=1, index_id=uuid.uuid4().hex, frozen=False, freeze_reason="", rebuilding=known, waiting=False
        )
    )


def downgrade() -> None:
    # What is not visible, or not whole, did not exist before.
    op.execute(
        "DELETE FROM pins WHERE EXISTS (SELECT 1 FROM namespace_manifests AS visible WHERE visible.state <> "
        "'stored' AND visible.namespace = pins.namespace AND visible.digest = pins.digest)"
    )
    op.execute("DELETE FROM namespace_manifests WHERE state <> 'stored'")
    for table in ("holders", "upkeep", "manifest_blobs"):
        op.drop_table(table)
    op.execute("DELETE FROM manifests WHERE state <> 'stored'")
    op.execute("DELETE FROM namespace_blobs WHERE digest IN (SELECT digest FROM blobs WHERE state = 'storing')")
    op.execute("DELETE FROM blobs WHERE state = 'storing'")
    op.drop_index("namespace_manifests_by_digest", "namespace_manifests")
    with op.batch_alter_table("namespace_manifests") as namespace_manifests:
        namespace_manifests.drop_column("state")
    with op.batch_alter_table("manifests") as manifests:
        manifests.drop_column("touch_time")
        manifests.drop_column("state")
