"""What versions are found by: their labels and metrics again, one a row."""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# Versions whose rows are made at once.
BATCH = 1000


def upgrade() -> None:
    labels = op.create_table(
        "version_labels",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "version", "name"),
        sa.ForeignKeyConstraint(["model_id", "version"], ["versions.model_id", "versions.version"]),
    )
    metrics = op.create_table(
        "version_metrics",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column[float]("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "version", "dataset", "split", "name"),
        sa.ForeignKeyConstraint(["model_id", "version"], ["versions.model_id", "versions.version"]),
    )
    _fill(op.get_bind(), labels, metrics)
    op.create_index("version_labels_by_name", "version_labels", ["model_id", "name", "value", "version"])
    columns = ["model_id", "dataset", "name", "version", "value", "split"]
    op.create_index("version_metrics_by_name", "version_metrics", columns)


def downgrade() -> None:
    op.drop_table("version_metrics")
    op.drop_table("version_labels")


def _fill(connection: sa.Connection, labels: sa.Table, metrics: sa.Table) -> None:
    for rows in _described(connection):
        named = [
            {"model_id": row.model_id, "version": row.version, "name": name, "value": value}
            for row in rows
            for name, value in _json(row.labels).items()
        ]
        measured = [
            {
                "model_id": row.model_id,
                "version": row.version,
                **{key: each[key] for key in ("dataset", "split", "name")},
                "value": float(each["value"]),
            }
            for row in rows
            for each in _json(row.metrics)
        ]
        for table, found in ((labels, named), (metrics, measured)):
            if found:
                connection.execute(sa.insert(table), found)


def _described(connection: sa.Connection) -> Iterator[list[Any]]:
    """Versions that have labels or metrics, some at a time."""
    some = sa.text(
        "SELECT model_id, version, labels, metrics FROM versions WHERE (model_id, version) > (:model_id, :after)"
        " AND (CAST(labels AS TEXT) <> '{}' OR CAST(metrics AS TEXT) <> '[]')"
        " ORDER BY model_id, version LIMIT :batch"
    )
    model_id, after = 0, 0
    while rows := connection.execute(some, {"model_id": model_id, "after": after, "batch": BATCH}).all():
        yield list(rows)
        model_id, after = rows[-1].model_id, rows[-1].version


def _json(value: Any) -> Any:
    # Without a type for the column, SQLite gives the text.
    return json.loads(value) if isinstance(value, str) else value
