"""Jobs and their events, lanes, requests; recipes, trainers, sweeps, pins."""

import sqlalchemy as sa
from alembic import op

from zoo_store.sql import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "classes",
        sa.Column("resource_class", sa.String(64), primary_key=True),
        sa.Column("virtual", sa.Double, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("namespace_key", sa.String(96), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("base", sa.String(512), nullable=False),
        sa.Column("base_digest", sa.String(64), nullable=False),
        sa.Column("dataset", sa.String(512), nullable=False),
        sa.Column("dataset_digest", sa.String(64), nullable=False),
        sa.Column("output", sa.String(193), nullable=False),
        sa.Column("recipe", sa.String(64), nullable=False),
        sa.Column("executor", sa.String(32), nullable=False),
        sa.Column("resource_class", sa.String(64), nullable=False),
        sa.Column("creator", sa.String(128), nullable=False),
        sa.Column("retry_of", sa.String(64), nullable=False),
        sa.Column("sweep", sa.String(64), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("wanted", sa.String(8), nullable=False),
        sa.Column("etag", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(128), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("run_after", UtcTime, nullable=False),
        sa.Column("deadline", UtcTime),
        sa.Column("trainer", sa.String(128), nullable=False),
        sa.Column("host", sa.String(256), nullable=False),
        sa.Column("lease_expires", UtcTime),
        sa.Column("renewals", sa.Integer, nullable=False),
        sa.Column("unrenewed", sa.Integer, nullable=False),
        sa.Column("released_epoch", sa.Integer, nullable=False),
        sa.Column("next_event", sa.BigInteger, nullable=False),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
        sa.Column("progress", sa.Text),
        sa.Column("checkpoint", sa.Text),
        sa.Column("made", sa.Text),
        sa.Column("result", sa.String(512), nullable=False),
        sa.Column("create_time", UtcTime, nullable=False),
        sa.Column("start_time", UtcTime),
        sa.Column("end_time", UtcTime),
    )
    op.create_index("jobs_by_deadline", "jobs", ["end_time", "deadline"])
    op.create_index("jobs_by_lane", "jobs", ["resource_class", "namespace_key", "state", "place", "id"])
    op.create_index("jobs_by_lease", "jobs", ["state", "lease_expires"])
    op.create_index("jobs_by_namespace", "jobs", ["namespace_key", "id"])
    op.create_index("jobs_by_sweep", "jobs", ["sweep", "id"])
    op.create_table(
        "lanes",
        sa.Column("resource_class", sa.String(64), nullable=False),
        sa.Column("namespace_key", sa.String(96), nullable=False),
        sa.Column("start", sa.Double),
        sa.Column("finish", sa.Double, nullable=False),
        sa.Column("rank", sa.Double),
        sa.Column("queued", sa.Integer, nullable=False),
        sa.Column("running", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("resource_class", "namespace_key"),
    )
    op.create_index("lanes_by_namespace", "lanes", ["namespace_key"])
    op.create_index("lanes_by_rank", "lanes", ["resource_class", "rank"])
    op.create_table(
        "pins",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("namespace", sa.String(96), nullable=False),
        sa.Column("manifest_digest", sa.String(64), nullable=False),
        sa.Column("wanted", sa.Boolean, nullable=False),
        sa.Column("create_time", UtcTime, nullable=False),
        sa.UniqueConstraint("job", "role", "namespace", "manifest_digest"),
    )
    op.create_table(
        "publications",
        sa.Column("job", sa.String(64), primary_key=True),
        sa.Column("alias_etag", sa.String(64), nullable=False),
    )
    op.create_table(
        "recipes",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("description", sa.JSON, nullable=False),
        sa.Column("update_time", UtcTime, nullable=False),
    )
    op.create_table(
        "requests",
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("arguments_sha256", sa.String(64), nullable=False),
        sa.Column("made", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("subject", "action", "request_id"),
    )
    op.create_table(
        "rounds",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("last_time", UtcTime, nullable=False),
        sa.Column("expire_after", UtcTime, nullable=False),
    )
    op.create_table(
        "sweeps",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("namespace_key", sa.String(96), nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("choices", sa.JSON, nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("trials", sa.Integer, nullable=False),
        sa.Column("metric", sa.String(64), nullable=False),
        sa.Column("lower_is_better", sa.Boolean, nullable=False),
        sa.Column("best", sa.String(64), nullable=False),
        sa.Column("creator", sa.String(128), nullable=False),
        sa.Column("create_time", UtcTime, nullable=False),
        sa.Column("end_time", UtcTime),
    )
    op.create_index("sweeps_by_end_time", "sweeps", ["end_time"])
    op.create_table(
        "trainers",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("host", sa.String(256), nullable=False),
        sa.Column("resource_class", sa.String(64), nullable=False),
        sa.Column("recipes", sa.JSON, nullable=False),
        sa.Column("executors", sa.JSON, nullable=False),
        sa.Column("seen_time", UtcTime, nullable=False),
    )
    op.create_index("trainers_by_seen_time", "trainers", ["seen_time"])
    op.create_table(
        "events",
        sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("time", UtcTime, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "sequence"),
    )
    op.create_table(
        "job_labels",
        sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("value", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "name"),
    )
    op.create_index("job_labels_by_value", "job_labels", ["name", "value", "job_id"])


def downgrade() -> None:
    for table in (
        "job_labels",
        "events",
        "trainers",
        "sweeps",
        "rounds",
        "requests",
        "recipes",
        "publications",
        "pins",
        "lanes",
        "jobs",
        "classes",
    ):
        op.drop_table(table)
