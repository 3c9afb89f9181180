"""The training service's tables.

    jobs ─< events (what happened, in order)      job_labels (a job's labels again, one a row, to find jobs by)
    lanes: the jobs of one namespace in one resource class, as the queue sees them; classes ─< lanes
    rounds (when something was last done)         requests (what request ids were used for)
    trainers, descriptions (as they registered)   sweeps ─< jobs
    pins (what the artifact service keeps)        publications

Of jobs and events the columns spec, labels, progress, checkpoint, made and body are texts that hold JSON, in which
numbers may be infinite or none at all: a loss can be.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from zoo_store.sql import UtcTime

__all__ = [
    "classes",
    "descriptions",
    "events",
    "job_labels",
    "jobs",
    "lanes",
    "metadata",
    "pins",
    "publications",
    "requests",
    "rounds",
    "sweeps",
    "trainers",
]

JOB_LENGTH = 64
NAME_LENGTH = 96
MODEL_NAME_LENGTH = 2 * NAME_LENGTH + 1
SUBJECT_LENGTH = 128
ACTOR_LENGTH = 256
CLASS_LENGTH = 64
REFERENCE_LENGTH = 512
SHA256_HEX_LENGTH = 64

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    # In the order of their creation.
    Column("id", Integer, primary_key=True),
    Column("name", String(JOB_LENGTH), nullable=False, unique=True),
    Column("namespace_key", String(NAME_LENGTH), nullable=False),
    # The spec as JSON, and what jobs are found by.
    Column("spec", Text, nullable=False),
    Column("base", String(REFERENCE_LENGTH), nullable=False),
    Column("base_digest", String(SHA256_HEX_LENGTH), nullable=False),
    Column("dataset", String(REFERENCE_LENGTH), nullable=False),
    Column("dataset_digest", String(SHA256_HEX_LENGTH), nullable=False),
    Column("output", String(MODEL_NAME_LENGTH), nullable=False),
    Column("recipe", String(64), nullable=False),
    # The description that it was checked by; '' of jobs of before: any trainer that has the recipe.
    Column("recipe_digest", String(SHA256_HEX_LENGTH), nullable=False, server_default=""),
    Column("executor", String(32), nullable=False),
    Column("processes", Integer, nullable=False),
    Column("resource_class", String(CLASS_LENGTH), nullable=False),
    Column("creator", String(SUBJECT_LENGTH), nullable=False),
    Column("retry_of", String(JOB_LENGTH), nullable=False),
    Column("sweep", String(JOB_LENGTH), nullable=False),
    # What its people decide; the etag rises with it.
    Column("priority", Integer, nullable=False),
    # -priority, so that one index has a lane in its order.
    Column("place", Integer, nullable=False),
    Column("labels", Text, nullable=False),
    Column("wanted", String(8), nullable=False),
    Column("etag", BigInteger, nullable=False),
    # Where it is. `epoch` counts leases and is the fencing token; `tries` are those that count against `max_attempts`.
    Column("state", String(16), nullable=False),
    Column("reason", String(128), nullable=False),
    Column("message", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("run_after", UtcTime, nullable=False),
    Column("deadline", UtcTime),
    # The lease: no longer one where `lease_expires` is NULL. A RUNNING job without one waits to be published.
    Column("trainer", String(128), nullable=False),
    Column("host", String(ACTOR_LENGTH), nullable=False),
    Column("lease_expires", UtcTime),
    # Renewals of this epoch; leases in a row that lapsed without one; the last epoch that was given back.
    Column("renewals", Integer, nullable=False),
    Column("unrenewed", Integer, nullable=False),
    Column("released_epoch", Integer, nullable=False),
    # Number of the next event that the trainer of this epoch sends, from 1.
    Column("next_event", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("progress", Text),
    Column("checkpoint", Text),
    # What its trainer made, and the version that it became, '' until then.
    Column("made", Text),
    Column("result", String(REFERENCE_LENGTH), nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("start_time", UtcTime),
    Column("end_time", UtcTime),
    # The next one of a lane.
    Index("jobs_by_lane", "resource_class", "namespace_key", "state", "place", "id"),
    # Lapsed leases, and what waits to be published.
    Index("jobs_by_lease", "state", "lease_expires"),
    Index("jobs_by_deadline", "end_time", "deadline"),
    Index("jobs_by_namespace", "namespace_key", "id"),
    Index("jobs_by_sweep", "sweep", "id"),
)

job_labels = Table(
    "job_labels",
    metadata,
    Column[Any]("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("name", String(256), nullable=False),
    Column("value", String(256), nullable=False),
    PrimaryKeyConstraint("job_id", "name"),
    Index("job_labels_by_value", "name", "value", "job_id"),
)

# Sequences of a job begin at 1 and have no gaps. `kind` names the record that `body` is of.
events = Table(
    "events",
    metadata,
    Column[Any]("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("job_id", "sequence"),
)

# Tags of start-time fair queueing (see ranks.py). `start` and `rank` are those of the lane's first job, NULL where none
# may start now. `queued` counts jobs that are QUEUED or PAUSED, `running` RUNNING ones.
lanes = Table(
    "lanes",
    metadata,
    Column("resource_class", String(CLASS_LENGTH), nullable=False),
    Column("namespace_key", String(NAME_LENGTH), nullable=False),
    Column("start", Double),
    Column("finish", Double, nullable=False),
    Column("rank", Double),
    Column("queued", Integer, nullable=False),
    Column("running", Integer, nullable=False),
    PrimaryKeyConstraint("resource_class", "namespace_key"),
    Index("lanes_by_rank", "resource_class", "rank"),
    Index("lanes_by_namespace", "namespace_key"),
)

# `virtual` is the time of start-time fair queueing: the start tag of the job leased last.
classes = Table(
    "classes",
    metadata,
    Column("resource_class", String(CLASS_LENGTH), primary_key=True),
    Column("virtual", Double, nullable=False),
)

# `expire_after`: no lease lapses before.
rounds = Table(
    "rounds",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("last_time", UtcTime, nullable=False),
    Column("expire_after", UtcTime, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("subject", String(SUBJECT_LENGTH), nullable=False),
    Column("action", String(64), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("arguments_sha256", String(SHA256_HEX_LENGTH), nullable=False),
    # Name of the job or sweep that the request made.
    Column("made", String(JOB_LENGTH), nullable=False),
    PrimaryKeyConstraint("subject", "action", "request_id"),
)

# Agents, each under a name that is new with every start.
trainers = Table(
    "trainers",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("host", String(256), nullable=False),
    Column("resource_class", String(64), nullable=False),
    # Names, and the digests of their descriptions.
    Column("recipes", JSON, nullable=False),
    Column("descriptions", JSON, nullable=False, server_default="[]"),
    Column("executors", JSON, nullable=False),
    # Of one job, at most.
    Column("processes", Integer, nullable=False),
    Column("seen_time", UtcTime, nullable=False),
    Index("trainers_by_seen_time", "seen_time"),
)

# Of recipes, by their digests: a name may have several, of trainers of several releases. They outlive their trainers,
# because jobs refer to them. `first_time` is when the first trainer brought it: the newest is the one that came last.
descriptions = Table(
    "descriptions",
    metadata,
    Column("digest", String(SHA256_HEX_LENGTH), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("description", JSON, nullable=False),
    Column("first_time", UtcTime, nullable=False),
    Column("update_time", UtcTime, nullable=False),
    Index("descriptions_by_name", "name", "first_time"),
)

# What the artifact service is asked to keep for jobs. A row is written before the pin is set and removed after it is
# ended, so that no pin is forgotten. `role`: base, dataset, checkpoint or result.
pins = Table(
    "pins",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job", String(JOB_LENGTH), nullable=False),
    Column("role", String(16), nullable=False),
    Column("namespace", String(NAME_LENGTH), nullable=False),
    Column("manifest_digest", String(SHA256_HEX_LENGTH), nullable=False),
    Column("wanted", Boolean, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    UniqueConstraint("job", "role", "namespace", "manifest_digest"),
)

# The jobs of a sweep are made with it and name it. `metric` of the recipe decides which is the best; `best` is the job
# that was promoted, '' for none, once `end_time` is set.
sweeps = Table(
    "sweeps",
    metadata,
    Column("name", String(JOB_LENGTH), primary_key=True),
    Column("namespace_key", String(NAME_LENGTH), nullable=False),
    # As they were asked for, the spec complete but for what the choices choose.
    Column("spec", JSON, nullable=False),
    Column("choices", JSON, nullable=False),
    Column("method", String(16), nullable=False),
    Column("trials", Integer, nullable=False),
    Column("metric", String(64), nullable=False),
    Column("lower_is_better", Boolean, nullable=False),
    Column("best", String(JOB_LENGTH), nullable=False),
    Column("creator", String(SUBJECT_LENGTH), nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("end_time", UtcTime),
    # What became of the promotion, for people.
    Column("message", Text, nullable=False, server_default=""),
    Index("sweeps_by_end_time", "end_time"),
)

# What was decided while a job's result was published: the etag that its alias had when it was about to move.
publications = Table(
    "publications",
    metadata,
    Column("job", String(JOB_LENGTH), primary_key=True),
    Column("alias_etag", String(64), nullable=False),
)
