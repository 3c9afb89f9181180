"""What a job is."""

import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Row

from zoo_training.spec import SPEC_JSON, JobSpec, Source

__all__ = [
    "FINAL",
    "Checkpoint",
    "Job",
    "JobState",
    "Made",
    "Measured",
    "Progress",
    "Wanted",
    "from_text",
    "job_from_row",
    "new_job_name",
    "to_text",
]

T = TypeVar("T")


class JobState(Enum):
    """By the names of zoo.training.v1.JobState."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


FINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class Wanted(Enum):
    """By the names of zoo.training.v1.Wanted."""

    RUN = "RUN"
    PAUSE = "PAUSE"
    CANCEL = "CANCEL"


@dataclass(frozen=True, slots=True)
class Progress:
    """As zoo.training.v1.Progress; None where it is unset there."""

    step: int = 0
    steps: int = 0
    epoch: float = 0.0
    loss: float | None = None
    examples_per_second: float = 0.0
    remaining: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """As zoo.training.v1.Checkpoint."""

    step: int
    manifest_digest: str
    size_bytes: int = 0
    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """As zoo.training.v1.Measured; None where it is unset there."""

    metric: str
    before: float | None
    after: float
    majority: float | None
    split: str
    items: int


@dataclass(frozen=True, slots=True)
class Made:
    """What an attempt made; as zoo.training.v1.Result."""

    manifest_digest: str
    measured: tuple[Measured, ...] = ()
    adapter: bool = False
    used: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Job:
    """As zoo.training.v1.Job, its spec complete, base and dataset with their digests.

    `attempts` is the epoch of its last lease. `result` is the version that `made` became, '' until it is published.
    """

    name: str
    spec: JobSpec
    base: Source
    dataset: Source
    state: JobState
    wanted: Wanted
    reason: str
    message: str
    attempts: int
    progress: Progress | None
    checkpoint: Checkpoint | None
    made: Made | None
    result: str
    priority: int
    labels: Mapping[str, str]
    creator: str
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    run_after: datetime
    retry_of: str
    sweep: str
    last_sequence: int
    etag: str
    trainer: str
    host: str
    recipe_digest: str = ""

    @property
    def namespace(self) -> str:
        return self.spec.output.partition("/")[0]


def new_job_name() -> str:
    """`job_` and a UUIDv7 (RFC 9562), so that names sort by their time."""
    stamp = (time.time_ns() // 1_000_000).to_bytes(6)
    value = bytearray(stamp + os.urandom(10))
    value[6] = 0x70 | value[6] & 0x0F
    value[8] = 0x80 | value[8] & 0x3F
    return f"job_{uuid.UUID(bytes=bytes(value))}"


_PROGRESS, _CHECKPOINT, _MADE = TypeAdapter(Progress), TypeAdapter(Checkpoint), TypeAdapter(Made)


def to_text(kind: TypeAdapter[T], value: T) -> str:
    """JSON, but for NaN and Infinity, which it lacks and a loss may be."""
    return json.dumps(kind.dump_python(value, mode="json"))


def from_text(kind: TypeAdapter[T], text: str) -> T:
    return kind.validate_python(json.loads(text))


def job_from_row(row: Row[Any]) -> Job:
    return Job(
        name=row.name,
        spec=from_text(SPEC_JSON, row.spec),
        base=Source(row.base, row.base_digest),
        dataset=Source(row.dataset, row.dataset_digest),
        state=JobState(row.state),
        wanted=Wanted(row.wanted),
        reason=row.reason,
        message=row.message,
        attempts=row.epoch,
        progress=row.progress and from_text(_PROGRESS, row.progress),
        checkpoint=row.checkpoint and from_text(_CHECKPOINT, row.checkpoint),
        made=row.made and from_text(_MADE, row.made),
        result=row.result,
        priority=row.priority,
        labels=json.loads(row.labels),
        creator=row.creator,
        create_time=row.create_time,
        start_time=row.start_time,
        end_time=row.end_time,
        run_after=row.run_after,
        retry_of=row.retry_of,
        sweep=row.sweep,
        last_sequence=row.last_sequence,
        etag=str(row.etag),
        trainer=row.trainer,
        host=row.host,
        recipe_digest=row.recipe_digest,
    )
