"""Policy and quota, owners and gates, labels and metrics, deletion that can be undone, requests for access.

What was there keeps what it says: sizes and owners are read from what stands beside them, the newest version gets the
card that its model shows.
"""

import sqlalchemy as sa
from alembic import op

from zoo_store.sql import UtcTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("namespaces", sa.Column("update_time", UtcTime(), nullable=False, server_default="0"))
    op.add_column("namespaces", sa.Column("etag", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("namespaces", sa.Column("policy", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("namespaces", sa.Column("quota_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("models", sa.Column("owner", sa.String(length=128), nullable=False, server_default=""))
    op.add_column("models", sa.Column("gated", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("models", sa.Column("kind", sa.String(length=16), nullable=False, server_default="MODEL"))
    op.add_column("models", sa.Column("purge_time", UtcTime(), nullable=True))
    op.add_column("models", sa.Column("purged", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("models_by_purge_time", "models", ["purge_time"])
    op.add_column("versions", sa.Column("size_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("versions", sa.Column("labels", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("versions", sa.Column("metrics", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("versions", sa.Column("state_reason", sa.Text(), nullable=False, server_default=""))
    op.add_column("versions", sa.Column("etag", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("versions", sa.Column("update_time", UtcTime(), nullable=False, server_default="0"))
    op.add_column("versions", sa.Column("delete_time", UtcTime(), nullable=True))
    op.add_column("versions", sa.Column("purge_time", UtcTime(), nullable=True))
    op.add_column("versions", sa.Column("undelete_state", sa.String(length=16), nullable=False, server_default=""))
    op.add_column("versions", sa.Column("undelete_reason", sa.Text(), nullable=False, server_default=""))
    op.add_column("versions", sa.Column("purged", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("versions", sa.Column("released", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("versions_by_purge_time", "versions", ["purge_time"])
    op.create_index("versions_to_release", "versions", ["purged", "released"])
    op.add_column("aliases", sa.Column("serving", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "cards",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model_id", "version"], ["versions.model_id", "versions.version"]),
        sa.PrimaryKeyConstraint("model_id", "version"),
    )
    op.create_table(
        "access_requests",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("decider", sa.String(length=128), nullable=False),
        sa.Column("decision_reason", sa.Text(), nullable=False),
        sa.Column("create_time", UtcTime(), nullable=False),
        sa.Column("update_time", UtcTime(), nullable=False),
        sa.Column("etag", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"]),
        sa.PrimaryKeyConstraint("model_id", "subject"),
    )
    op.create_index("access_requests_by_subject", "access_requests", ["subject"], unique=False)
    _fill()


def _fill() -> None:
    namespaces = sa.table("namespaces", sa.column("create_time", sa.BigInteger), sa.column("update_time"))
    versions = sa.table(
        "versions",
        sa.column("facts", sa.JSON),
        sa.column("size_bytes"),
        sa.column("create_time", sa.BigInteger),
        sa.column("update_time"),
    )
    op.execute(sa.update(namespaces).values(update_time=namespaces.c.create_time))
    size = sa.cast(versions.c.facts["size_bytes"].as_string(), sa.BigInteger)
    op.execute(sa.update(versions).values(size_bytes=sa.func.coalesce(size, 0), update_time=versions.c.create_time))
    op.execute(
        "INSERT INTO cards (model_id, version, text) "
        "SELECT id, newest_version, card FROM models WHERE newest_version > 0 AND card <> ''"
    )
    # Whoever made a model stands in the log of changes.
    op.execute(
        "UPDATE models SET owner = COALESCE((SELECT MIN(changes.actor) FROM changes "
        "WHERE changes.action = 'CreateModel' AND changes.resource = models.name), '')"
    )


def downgrade() -> None:
    op.drop_table("access_requests")
    op.drop_table("cards")
    op.drop_column("aliases", "serving")
    op.drop_index("versions_to_release", "versions")
    op.drop_index("versions_by_purge_time", "versions")
    for name in (
        "size_bytes",
        "labels",
        "metrics",
        "state_reason",
        "etag",
        "update_time",
        "delete_time",
        "purge_time",
        "undelete_state",
        "undelete_reason",
        "purged",
        "released",
    ):
        op.drop_column("versions", name)
    op.drop_index("models_by_purge_time", "models")
    for name in ("owner", "gated", "kind", "purge_time", "purged"):
        op.drop_column("models", name)
    for name in ("update_time", "etag", "policy", "quota_bytes"):
        op.drop_column("namespaces", name)
