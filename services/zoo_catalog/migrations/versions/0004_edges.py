"""Edges between versions; what a change is of, and who sees it."""

import sqlalchemy as sa
from alembic import op

from zoo_catalog.changes import scope_of
from zoo_store.sql import UtcTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "edges",
        sa.Column("child_model_id", sa.Integer(), nullable=False),
        sa.Column("child_version", sa.Integer(), nullable=False),
        sa.Column("parent_model_id", sa.Integer(), nullable=False),
        sa.Column("parent_version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("job", sa.String(length=128), nullable=False),
        sa.Column("dataset", sa.String(length=512), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("create_time", UtcTime(), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("child_model_id", "child_version", "parent_model_id", "parent_version", "kind"),
        sa.ForeignKeyConstraint(["child_model_id", "child_version"], ["versions.model_id", "versions.version"]),
        sa.ForeignKeyConstraint(["parent_model_id", "parent_version"], ["versions.model_id", "versions.version"]),
    )
    op.create_index("edges_by_parent", "edges", ["parent_model_id", "parent_version"])
    op.add_column("changes", sa.Column("namespace_key", sa.String(length=96), nullable=True))
    op.add_column("changes", sa.Column("model_key", sa.String(length=193), nullable=True))
    op.add_column("changes", sa.Column("role", sa.Integer(), nullable=False, server_default="5"))
    op.create_index("changes_by_namespace", "changes", ["namespace_key", "sequence"])
    op.create_index("changes_by_model", "changes", ["model_key", "sequence"])
    _fill_scopes(op.get_bind())


def downgrade() -> None:
    op.drop_index("changes_by_model", "changes")
    op.drop_index("changes_by_namespace", "changes")
    for column in ("role", "model_key", "namespace_key"):
        op.drop_column("changes", column)
    op.drop_table("edges")


def _fill_scopes(connection: sa.Connection) -> None:
    changes = sa.table(
        "changes", *map(sa.column, ("sequence", "action", "resource", "namespace_key", "model_key", "role"))
    )
    after = 0
    query = sa.select(changes.c.sequence, changes.c.action, changes.c.resource).order_by(changes.c.sequence).limit(1000)
    while rows := connection.execute(query.where(changes.c.sequence > after)).all():
        for sequence, action, resource in rows:
            scope = scope_of(action, resource)
            connection.execute(
                sa.update(changes)
                .where(changes.c.sequence == sequence)
                .values(namespace_key=scope.namespace_key, model_key=scope.model_key, role=int(scope.role))
            )
            after = sequence
