"""What trainers have of jobs: a lease, for as long as they renew it, under an epoch that nobody else gets.

A lease holds until it is given back or somebody ends it: one that has lapsed too, so that it can still be renewed after
the database was away. Of a job that is another's by then, or nobody's, nothing is taken any more.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import prometheus_client
from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Row, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import Aborted, FailedPrecondition, InvalidArgument, OutOfRange, Unavailable
from zoo_store.queue import Queue
from zoo_store.sql import now
from zoo_training.events import Metrics, Report, write
from zoo_training.job import Checkpoint, Job, JobState, Made, Progress, Wanted, from_text, job_from_row, to_text
from zoo_training.lanes import Lane, Offer, first_job
from zoo_training.outcomes import Attempt, Ending, Outcome, ending
from zoo_training.schema import jobs, lanes
from zoo_training.states import Change, States, job_row, unraced

__all__ = ["Lease", "Leases", "Leasing", "Release", "Renewal", "Reports", "end_attempt"]

WAIT_MOST_S = 30.0
# How often those who wait look into SQL where the queue cannot tell them.
LOOK_S = 1.0

_PROGRESS, _CHECKPOINT, _MADE = TypeAdapter(Progress), TypeAdapter(Checkpoint), TypeAdapter(Made)

_LEASED = prometheus_client.Counter("zoo_training_leases_total", "Leases given to trainers.")
_ENDED = prometheus_client.Counter("zoo_training_attempts_total", "Attempts that ended.", ["outcome"])


class Leasing(Protocol):
    """A trainer that wants a job. It gets those of its class whose executor it has, of at most so many processes, and
    whose recipe as they were checked by it: `descriptions` are digests."""

    @property
    def name(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def resource_class(self) -> str: ...
    @property
    def recipes(self) -> Collection[str]: ...
    @property
    def descriptions(self) -> Collection[str]: ...
    @property
    def executors(self) -> Collection[str]: ...
    @property
    def processes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Lease:
    """Of `job`, whose `attempts` is the epoch, for `duration` from now on."""

    job: Job
    duration: timedelta
    next_event: int = 1

    @property
    def epoch(self) -> int:
        return self.job.attempts


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is wanted of the job, which is as it is now."""

    job: Job
    wanted: Wanted
    duration: timedelta


@dataclass(frozen=True, slots=True)
class Reports:
    """What happened, in order; `first` is the number of the first report within the epoch, from 1."""

    reports: Sequence[Report] = ()
    first: int = 0


@dataclass(frozen=True, slots=True)
class Release:
    """How an attempt ended. `reason` and `message` are of FAILED and HOPELESS, `made` of TRAINED."""

    outcome: Outcome
    reason: str = ""
    message: str = ""
    made: Made | None = None


class Leases:
    """`draw` spreads new attempts, from 0 to 1. `on_made` is called when there is something to publish."""

    def __init__(
        self,
        states: States,
        queue: Queue,
        *,
        draw: Callable[[], float] = random.random,
        on_made: Callable[[], None] = lambda: None,
    ) -> None:
        self._states = states
        self._database = states.database
        self._queue = queue
        self._draw = draw
        self._on_made = on_made

    async def lease(self, trainer: Leasing, wait_s: float) -> Lease | None:
        """The job that comes next of those that the trainer can do, or None where none came within `wait_s`.

        Its epoch is one that nobody had. The lease lapses unless it is renewed within its duration.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + min(max(wait_s, 0.0), WAIT_MOST_S)
        while True:
            try:
                entry = await self._queue.pop(trainer.resource_class, max(end - clock(), 0.0))
            except Unavailable:
                lease = await self._first_in_sql(trainer)
            else:
                if entry is None:
                    return None
                lease, offer = await self._take(trainer, Lane(trainer.resource_class, entry))
                if lease is None and offer.rank is None:
                    continue  # nothing is left there: the entry is gone, and there may be others
                # What waits there is not for this trainer: it was put back for others, and is no longer in the way.
                lease = lease or await self._first_in_sql(trainer)
            left_s = end - clock()
            if lease is not None or left_s <= 0:
                return lease
            await asyncio.sleep(min(LOOK_S, left_s))

    async def _first_in_sql(self, trainer: Leasing) -> Lease | None:
        """Without the queue: by what the tables say of ranks, of those lanes that have something for the trainer."""
        mine = (lanes.c.resource_class == trainer.resource_class, lanes.c.rank.is_not(None))
        ranked = select(lanes.c.namespace_key).where(*mine).order_by(lanes.c.rank, lanes.c.namespace_key)
        async with self._database.read() as connection:
            waiting = [Lane(trainer.resource_class, row.namespace_key) for row in await connection.execute(ranked)]
            suitable = [
                lane
                for lane in waiting
                if (await connection.execute(first_job(lane, *_suits(trainer)))).first() is not None
            ]
        for lane in suitable:
            lease, _ = await self._take(trainer, lane)
            if lease is not None:
                return lease
        return None

    async def _take(self, trainer: Leasing, lane: Lane) -> tuple[Lease | None, Offer]:
        """Lease the lane's first job, if there is one and the namespace has room; and what the lane says then."""
        async with self._states.changing() as change:
            await change.refresh(lane)
            if change.offers[lane].rank is not None:
                query = first_job(lane, *_suits(trainer))
                row = (await change.connection.execute(query)).one_or_none()
                if row is not None and (leased := await self._leased(change, row, trainer)) is not None:
                    _LEASED.inc()
                    return Lease(job_from_row(leased), self._states.policy.lease), change.offers[lane]
        return None, change.offers[lane]

    async def _leased(self, change: Change, row: Row[Any], trainer: Leasing) -> Row[Any] | None:
        return await change.move(
            row,
            JobState.RUNNING,
            trainer.name,
            epoch=row.epoch + 1,
            tries=row.tries + 1,
            trainer=trainer.name,
            host=trainer.host,
            lease_expires=row.now + self._states.policy.lease,
            renewals=0,
            next_event=1,
            start_time=row.start_time or row.now,
        )

    async def renew(self, name: str, epoch: int, reports: Reports) -> Renewal:
        """Let the lease hold for another duration, and take what is reported; what was taken before is passed over.

        Raises JOB_NOT_FOUND, JOB_LEASE_LOST, CURSOR_INVALID where reports are missing before these, and
        CHECKPOINT_INVALID for a checkpoint that does not go beyond the last.
        """
        async with self._database.write() as connection:
            row = await job_row(connection, name)
            _check_lease(row, epoch)
            values = await _take_reports(connection, row, reports)
            renewed = {
                "lease_expires": row.now + self._states.policy.lease,
                "renewals": row.renewals + 1,
                "unrenewed": 0,
            }
            row = await _write_lease(connection, row, {**values, **renewed})
            return Renewal(job_from_row(row), Wanted(row.wanted), self._states.policy.lease)

    async def release(self, name: str, epoch: int, reports: Reports, release: Release) -> Job:
        """End the lease; the job goes where its outcome sends it. What is TRAINED stays RUNNING, without a lease, until
        it is published. Repeating an accepted release changes nothing.

        Raises JOB_NOT_FOUND, JOB_LEASE_LOST, CURSOR_INVALID, CHECKPOINT_INVALID; FIELD_INVALID for TRAINED without a
        result.
        """
        if (release.outcome is Outcome.TRAINED) != (release.made is not None):
            raise InvalidArgument("FIELD_INVALID", "a result belongs to TRAINED, and to it alone", field="result")
        async with self._states.changing() as change:
            row = await job_row(change.connection, name)
            if row.released_epoch == epoch:
                return job_from_row(row)
            _check_lease(row, epoch)
            values = await _take_reports(change.connection, row, reports)
            released = {"released_epoch": epoch, "unrenewed": 0}
            row = await _write_lease(change.connection, row, {**values, **released})
            if release.made is not None and row.wanted != Wanted.CANCEL.value:
                ended = await _keep(change, row, release.made)
            else:
                ended = await end_attempt(change, row, release, self._states, self._draw(), row.trainer)
            ended = unraced(ended)
        _ENDED.labels(release.outcome.value.lower()).inc()
        if release.made is not None:
            self._on_made()
        return job_from_row(ended)


async def end_attempt(
    change: Change,
    row: Row[Any],
    release: Release,
    states: States,
    draw: float,
    actor: str,
    *only_if: ColumnElement[bool],
) -> Row[Any] | None:
    """Bring a RUNNING job where the end of its attempt sends it; None where it is not as `row` says any more, or not as
    `only_if` wants."""
    attempt = Attempt(Wanted(row.wanted), row.tries, row.max_attempts, row.renewals, row.unrenewed)
    end: Ending = ending(attempt, release.outcome, release.reason, release.message, states.policy, draw)
    values: dict[str, Any] = {} if end.counts else {"tries": row.tries - 1}
    if release.outcome is Outcome.LAPSED:
        values["unrenewed"] = 0 if row.renewals else row.unrenewed + 1
    if end.state is JobState.QUEUED:
        values["run_after"] = row.now + end.wait
    return await change.move(row, end.state, actor, *only_if, reason=end.reason, message=end.message, **values)


async def _keep(change: Change, row: Row[Any], made: Made) -> Row[Any] | None:
    """The job has its result, and no lease. It is too late to pause it."""
    return await change.decide(
        row,
        row.trainer,
        message="it is trained, and its version is being published",
        wanted=Wanted.RUN,
        made=to_text(_MADE, made),
        lease_expires=None,
    )


def _suits(trainer: Leasing) -> tuple[ColumnElement[bool], ...]:
    """Jobs that the trainer can do, and that have time left."""
    return (
        or_(
            jobs.c.recipe_digest.in_(sorted(trainer.descriptions)),
            and_(jobs.c.recipe_digest == "", jobs.c.recipe.in_(sorted(trainer.recipes))),
        ),
        jobs.c.executor.in_(sorted(trainer.executors)),
        jobs.c.processes <= trainer.processes,
        or_(jobs.c.deadline.is_(None), jobs.c.deadline > now()),
    )


def _check_lease(row: Row[Any], epoch: int) -> None:
    """Raises JOB_LEASE_LOST where the lease of this epoch is over."""
    if row.state != JobState.RUNNING.value or row.epoch != epoch or row.lease_expires is None:
        raise Aborted(
            "JOB_LEASE_LOST",
            f"the lease of {row.name} with epoch {epoch} is over: stop working on it, and push nothing more",
            metadata={"job": row.name, "epoch": str(epoch)},
        )


async def _take_reports(connection: AsyncConnection, row: Row[Any], reports: Reports) -> dict[str, Any]:
    """Write the new ones behind the job's events; what its row says then, still to be written."""
    count = len(reports.reports)
    if count and not 1 <= reports.first <= row.next_event:
        raise OutOfRange(
            "CURSOR_INVALID",
            f"events are missing: the next of {row.name} in epoch {row.epoch} is {row.next_event}, and these begin "
            f"with {reports.first}",
            metadata={"next": str(row.next_event)},
            field="first_event",
        )
    new = reports.reports[row.next_event - reports.first :] if count else ()
    values: dict[str, Any] = {"next_event": row.next_event + len(new)}
    last = row.checkpoint and from_text(_CHECKPOINT, row.checkpoint)
    kept: list[Report] = []
    for report in new:
        if isinstance(report, Checkpoint):
            if report == last:
                continue
            if last is not None and report.step <= last.step:
                raise _not_beyond(row.name, report, last)
            last = report
            values["checkpoint"] = to_text(_CHECKPOINT, report)
        elif isinstance(report, Metrics) and report.progress is not None:
            values["progress"] = to_text(_PROGRESS, report.progress)
        kept.append(report)
    values["last_sequence"] = row.last_sequence + len(kept)
    await write(connection, row.id, row.last_sequence + 1, row.epoch, kept, row.now)
    return values


def _not_beyond(name: str, checkpoint: Checkpoint, last: Checkpoint) -> FailedPrecondition:
    return FailedPrecondition(
        "CHECKPOINT_INVALID",
        f"a checkpoint of {name} at step {checkpoint.step} does not go beyond the last, at step {last.step}",
        metadata={"step": str(checkpoint.step), "last_step": str(last.step)},
        field="events",
    )


async def _write_lease(connection: AsyncConnection, row: Row[Any], values: dict[str, Any]) -> Row[Any]:
    """What the holder of a lease changes, which was looked at in this transaction."""
    same = (jobs.c.id == row.id, jobs.c.state == row.state, jobs.c.epoch == row.epoch)
    # Nobody else has written since: the numbers of events are still the ones that were taken.
    unchanged = jobs.c.last_sequence == row.last_sequence
    written = update(jobs).where(*same, unchanged).values(values).returning(jobs, now().label("now"))
    return (await connection.execute(written)).one()
