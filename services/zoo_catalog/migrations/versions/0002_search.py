"""What models are found by: facts of their newest version beside them, tags one a row, an index of their words."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from zoo_store.text_index import TextIndex

revision = "0002"
down_revision = "0001"

TEXT = TextIndex("models", "id", ("name", "tags", "description", "card"))
INDEXES = {
    "models_by_namespace": "namespace_key",
    "models_by_task": "task",
    "models_by_licence": "licence",
    "models_by_architecture": "architecture",
    "models_by_parameters": "parameters",
    "models_by_size": "size_bytes",
    "models_by_create_time": "create_time",
    "models_by_update_time": "update_time",
}


def upgrade() -> None:
    op.add_column("models", sa.Column("architecture", sa.Text(), nullable=False, server_default=""))
    op.add_column("models", sa.Column("parameters", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("models", sa.Column("size_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "model_tags",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"]),
        sa.PrimaryKeyConstraint("tag", "model_id"),
    )
    op.create_index("model_tags_by_model", "model_tags", ["model_id"])
    _fill(op.get_bind())
    for name, column in INDEXES.items():
        op.create_index(name, "models", [column, "key"])
    TEXT.create(op.get_bind())


def downgrade() -> None:
    TEXT.drop(op.get_bind())
    for name in INDEXES:
        op.drop_index(name, "models")
    op.drop_table("model_tags")
    for column in ("architecture", "parameters", "size_bytes"):
        op.drop_column("models", column)


def _fill(connection: sa.Connection) -> None:
    newest = sa.text(
        "SELECT models.id, models.tags, versions.facts FROM models JOIN versions"
        " ON versions.model_id = models.id AND versions.version = models.newest_version"
    )
    facts = sa.text(
        "UPDATE models SET architecture = :architecture, parameters = :parameters, size_bytes = :size WHERE id = :id"
    )
    tag = sa.text("INSERT INTO model_tags (model_id, tag) VALUES (:id, :tag)")
    for row in connection.execute(newest).all():
        known = _json(row.facts)
        connection.execute(
            facts,
            {
                "id": row.id,
                "architecture": known["architecture"],
                "parameters": known["parameters"],
                "size": known["size_bytes"],
            },
        )
        for each in sorted(set(_json(row.tags))):
            connection.execute(tag, {"id": row.id, "tag": each})


def _json(value: Any) -> Any:
    # Without a type for the column, SQLite gives the text.
    return json.loads(value) if isinstance(value, str) else value
