"""What happens to a job: numbered from 1 without gaps, in the transaction in which it happens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Row, Select, bindparam, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_training.job import Checkpoint, JobState, Progress, Wanted, from_text, to_text
from zoo_training.schema import events

__all__ = [
    "PAGE_ROWS",
    "Event",
    "Log",
    "Metrics",
    "Report",
    "Severity",
    "StateChange",
    "event_from_row",
    "page_of_events",
    "write",
]

PAGE_ROWS = 200


class Severity(Enum):
    """By the names of zoo.training.v1.Severity."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class StateChange:
    """The job is in this state now, or something was decided about it; as zoo.training.v1.StateChange."""

    state: JobState
    wanted: Wanted
    reason: str = ""
    message: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    severity: Severity
    text: str


@dataclass(frozen=True, slots=True)
class Metrics:
    progress: Progress | None = None
    values: Mapping[str, float] = field(default_factory=dict[str, float])


# What a trainer reports.
Report = Log | Metrics | Checkpoint
Body = StateChange | Report

_KINDS: Mapping[str, TypeAdapter[Any]] = {
    "state": TypeAdapter(StateChange),
    "log": TypeAdapter(Log),
    "metrics": TypeAdapter(Metrics),
    "checkpoint": TypeAdapter(Checkpoint),
}
_NAMES: Mapping[type[Body], str] = {StateChange: "state", Log: "log", Metrics: "metrics", Checkpoint: "checkpoint"}


@dataclass(frozen=True, slots=True)
class Event:
    """`epoch` 0: of no attempt."""

    sequence: int
    time: datetime
    epoch: int
    body: Body


async def write(
    connection: AsyncConnection, job_id: int, first: int, epoch: int, bodies: Sequence[Body], time: datetime
) -> None:
    """Write rows under numbers that the caller has taken by raising the job's `last_sequence`."""
    if bodies:
        rows = [
            {
                "job_id": job_id,
                "sequence": sequence,
                "time": time,
                "epoch": epoch,
                "kind": (kind := _NAMES[type(body)]),
                "body": to_text(_KINDS[kind], body),
            }
            for sequence, body in enumerate(bodies, first)
        ]
        await connection.execute(insert(events), rows)


def page_of_events() -> Select[Any]:
    """Of the job :job_id the first events after :after, at most PAGE_ROWS, in order."""
    after = (events.c.job_id == bindparam("job_id"), events.c.sequence > bindparam("after"))
    return select(events).where(*after).order_by(events.c.sequence).limit(PAGE_ROWS)


def event_from_row(row: Row[Any]) -> Event:
    return Event(row.sequence, row.time, row.epoch, from_text(_KINDS[row.kind], row.body))
