"""How jobs move from state to state. Whatever moves one, or decides about one, does it here.

QUEUED ──> RUNNING ──> SUCCEEDED        RUNNING ──> QUEUED      tried again, or its trainer stopped
   │  ^       ├──────> FAILED           QUEUED, PAUSED ──> FAILED       its deadline passed
   v  │       v                         any that is not final ──> CANCELLED
  PAUSED <────┘
"""

import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import prometheus_client
from sqlalchemy import ColumnElement, Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import ZooError
from zoo_store.queue import Queue
from zoo_store.sql import Database, now
from zoo_training.access import job_not_found
from zoo_training.events import StateChange, write
from zoo_training.job import FINAL, JobState, Wanted
from zoo_training.lanes import Lane, Offer, lanes_of, refresh
from zoo_training.policy import Policy
from zoo_training.schema import jobs

__all__ = ["NEXT", "Change", "States", "job_row", "lane_of", "unraced"]

log = logging.getLogger(__name__)

_QUEUED, _RUNNING, _PAUSED = JobState.QUEUED, JobState.RUNNING, JobState.PAUSED
NEXT: Mapping[JobState, frozenset[JobState]] = {
    _QUEUED: frozenset({_RUNNING, _PAUSED, JobState.FAILED, JobState.CANCELLED}),
    _RUNNING: frozenset({_QUEUED, _PAUSED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    _PAUSED: frozenset({_QUEUED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

_MOVES = prometheus_client.Counter("zoo_training_moves_total", "Jobs that came into a state.", ["state"])
_UNOFFERED = prometheus_client.Counter(
    "zoo_training_unoffered_total", "Times that the queue could not be told of a lane; the reconciler tells it later."
)


class Change:
    """A transaction that changes jobs."""

    def __init__(self, connection: AsyncConnection, policy: Policy) -> None:
        self.connection = connection
        self.offers: dict[Lane, Offer] = {}
        self.moved: list[JobState] = []
        self._policy = policy

    async def move(
        self,
        job: Row[Any],
        state: JobState,
        actor: str,
        *only_if: ColumnElement[bool],
        reason: str = "",
        message: str = "",
        wanted: Wanted | None = None,
        **values: Any,
    ) -> Row[Any] | None:
        """Bring the job into the state, with an event that says so, and set these columns. Returns its row as it is
        then, or None where it is no longer in the state and the epoch that `job` says, or not as `only_if` wants:
        somebody else was faster, and nothing was changed.

        `job` was read with its time, as `job_row` does.
        """
        before = JobState(job.state)
        if state not in NEXT[before]:
            raise AssertionError(f"{job.name} is {before.value} and cannot become {state.value}")
        if state in FINAL:
            values["end_time"] = job.now
        if before is _RUNNING:
            values["lease_expires"] = None
        change = StateChange(state, wanted or Wanted(job.wanted), reason, message, actor)
        row = await self._write(job, change, only_if, {**values, "reason": reason, "message": message})
        if row is None:
            return None
        self.moved.append(state)
        waiting = (_QUEUED, _PAUSED)
        queued = (state in waiting) - (before in waiting)
        running = (state is _RUNNING) - (before is _RUNNING)
        await self.refresh(lane_of(job), queued=queued, running=running, started=state is _RUNNING)
        if running < 0 and self._policy.running_most:
            # Where the namespace had as many as it may, its other lanes have room now too.
            for lane in await lanes_of(self.connection, job.namespace_key):
                if lane != lane_of(job):
                    await self.refresh(lane)
        return row

    async def decide(
        self, job: Row[Any], actor: str, *, message: str = "", wanted: Wanted | None = None, **values: Any
    ) -> Row[Any] | None:
        """As `move`, for what leaves the job in its state."""
        change = StateChange(JobState(job.state), wanted or Wanted(job.wanted), job.reason, message, actor)
        return await self._write(job, change, (), values)

    async def refresh(self, lane: Lane, **change: Any) -> None:
        """Let the lane say what is true now; arguments as of `lanes.refresh`."""
        self.offers[lane] = await refresh(self.connection, lane, self._policy, **change)

    async def _write(
        self, job: Row[Any], change: StateChange, only_if: tuple[ColumnElement[bool], ...], values: dict[str, Any]
    ) -> Row[Any] | None:
        same = (jobs.c.id == job.id, jobs.c.state == job.state, jobs.c.epoch == job.epoch, *only_if)
        said = {"state": change.state.value, "wanted": change.wanted.value}
        raised = {"last_sequence": jobs.c.last_sequence + 1}
        written = update(jobs).where(*same).values({**values, **said, **raised}).returning(jobs)
        row = (await self.connection.execute(written)).one_or_none()
        if row is not None:
            await write(self.connection, row.id, row.last_sequence, row.epoch, [change], job.now)
        return row


class States:
    """Transactions that change jobs, and the queue that hears of them."""

    def __init__(self, database: Database, queue: Queue, policy: Policy) -> None:
        self.database = database
        self.policy = policy
        self._queue = queue

    @asynccontextmanager
    async def changing(self) -> AsyncGenerator[Change]:
        """A transaction. What it puts in front of trainers the queue is told after the commit; where that fails, or the
        process dies in between, the next round of the reconciler does it."""
        async with self.database.write() as connection:
            change = Change(connection, self.policy)
            yield change
        for state in change.moved:
            _MOVES.labels(state.value.lower()).inc()
        await self.offer(change.offers.values())

    async def offer(self, offers: Iterable[Offer]) -> None:
        """Tell the queue; it is only logged where that does not answer."""
        entries: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for offer in offers:
            # What may not start is left where it stands: whoever takes it finds nothing, and it is gone.
            if offer.rank is not None:
                entries[offer.lane.resource_class][offer.lane.namespace_key] = offer.rank
        try:
            for resource_class, ranks in entries.items():
                await self._queue.put(resource_class, ranks)
        except ZooError as error:
            _UNOFFERED.inc()
            log.warning("the queue is not told of lanes in %s: %s", ", ".join(entries), error.message)


async def job_row(connection: AsyncConnection, name: str) -> Row[Any]:
    """The job of that name, and as `now` the database's time. Raises JOB_NOT_FOUND."""
    query = select(jobs, now().label("now")).where(jobs.c.name == name)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise job_not_found(name)
    return row


def lane_of(job: Row[Any]) -> Lane:
    return Lane(job.resource_class, job.namespace_key)


def unraced(row: Row[Any] | None) -> Row[Any]:
    """The row that a move of something read in the same transaction gave: writers come one after another, so that what
    was read is still so."""
    if row is None:
        raise AssertionError("somebody wrote into the middle of a transaction")
    return row
