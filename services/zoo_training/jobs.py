"""Jobs as their people see them: made, read, changed, cancelled, paused, resumed."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import Aborted, FailedPrecondition, ResourceExhausted
from zoo_server.principal import Principal, Role
from zoo_store.sql import Database, now
from zoo_training.access import check_role, job_not_found
from zoo_training.events import StateChange, write
from zoo_training.job import FINAL, Job, JobState, Wanted, job_from_row, new_job_name, to_text
from zoo_training.lanes import Lane
from zoo_training.requests import Request
from zoo_training.schema import job_labels, jobs, lanes
from zoo_training.spec import SPEC_JSON, JobSpec, Source
from zoo_training.states import Change, States, job_row, lane_of, unraced

__all__ = ["JobEdit", "Jobs", "NewJob", "check_room", "insert_job"]

MAX_ATTEMPTS = 3

_BY_NAME = select(jobs).where(jobs.c.name == bindparam("name"))


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be: its spec complete and checked by the description of its recipe that has `recipe_digest`, base and
    dataset as they were resolved."""

    spec: JobSpec
    base: Source
    dataset: Source
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    retry_of: str = ""
    sweep: str = ""
    recipe_digest: str = ""
    name: str = field(default_factory=new_job_name)


@dataclass(frozen=True, slots=True)
class JobEdit:
    """What is to become of a job; None: as it is."""

    priority: int | None = None
    labels: Mapping[str, str] | None = None


class Jobs:
    def __init__(self, states: States) -> None:
        self._states = states
        self._database: Database = states.database

    async def made_by(self, request: Request) -> Job | None:
        """What this request made before. Raises REQUEST_ID_REUSED."""
        async with self._database.read() as connection:
            made = await request.made(connection)
            return None if made is None else job_from_row(await job_row(connection, made))

    async def create(self, new: NewJob, request: Request) -> Job:
        """Queue a job of `request.subject`, or find the one that the request made before. Raises REQUEST_ID_REUSED and
        QUOTA_EXCEEDED."""
        async with self._states.changing() as change:
            name = await request.made(change.connection)
            if name is None:
                row = await insert_job(change, new, request.subject, self._states.policy.queued_most)
                await request.keep(change.connection, new.name)
            else:
                row = await job_row(change.connection, name)
            return job_from_row(row)

    async def check_quota(self, namespace: str) -> None:
        """Raises QUOTA_EXCEEDED where a job of the namespace would not be queued now."""
        async with self._database.read() as connection:
            await check_room(connection, namespace.casefold(), self._states.policy.queued_most)

    async def get(self, name: str, principal: Principal) -> Job:
        """Raises JOB_NOT_FOUND."""
        rows = await self._database.fetch(_BY_NAME, {"name": name})
        if not rows:
            raise job_not_found(name)
        job = job_from_row(rows[0])
        check_role(principal, Role.VIEWER, job.namespace, job_not_found(name))
        return job

    async def update(self, name: str, edit: JobEdit, etag: str, principal: Principal) -> Job:
        """Raises JOB_NOT_FOUND, ROLE_MISSING, ETAG_MISMATCH; JOB_FINAL for another priority of a job that is."""
        async with self._states.changing() as change:
            row = await _decidable(change.connection, name, principal)
            if etag and etag != str(row.etag):
                raise Aborted(
                    "ETAG_MISMATCH",
                    f"the job {name} was changed since it was read: read it again and repeat",
                    metadata={"etag": str(row.etag)},
                )
            values: dict[str, Any] = {}
            if edit.priority is not None and edit.priority != row.priority:
                if JobState(row.state) in FINAL:
                    raise _final(row, "its priority decides nothing any more")
                values |= {"priority": edit.priority, "place": -edit.priority}
            if edit.labels is not None and dict(edit.labels) != json.loads(row.labels):
                values["labels"] = json.dumps(dict(edit.labels))
                await change.connection.execute(delete(job_labels).where(job_labels.c.job_id == row.id))
                await _insert_labels(change.connection, row.id, edit.labels)
            if not values:
                return job_from_row(row)
            changed = update(jobs).where(jobs.c.id == row.id).values(**values, etag=row.etag + 1).returning(jobs)
            row = (await change.connection.execute(changed)).one()
            await change.refresh(lane_of(row))
            return job_from_row(row)

    async def cancel(self, name: str, principal: Principal) -> Job:
        """End the job, at once where nobody works on it. Raises JOB_NOT_FOUND, ROLE_MISSING; JOB_FINAL where it has
        succeeded or failed, or has its result already."""

        async def cancel(change: Change, row: Row[Any]) -> Row[Any] | None:
            if row.state == JobState.CANCELLED.value or row.wanted == Wanted.CANCEL.value:
                return row
            _check_open(row)
            wanted, etag = Wanted.CANCEL, row.etag + 1
            if row.state == JobState.RUNNING.value:
                return await change.decide(row, principal.subject, wanted=wanted, etag=etag)
            return await change.move(row, JobState.CANCELLED, principal.subject, wanted=wanted, etag=etag)

        return await self._decide(name, principal, cancel)

    async def pause(self, name: str, principal: Principal) -> Job:
        """Let the job wait, at once where nobody works on it. Raises JOB_NOT_FOUND, ROLE_MISSING; JOB_FINAL where it is
        that, is to end, or has its result already."""

        async def pause(change: Change, row: Row[Any]) -> Row[Any] | None:
            _check_open(row)
            if row.wanted == Wanted.PAUSE.value:
                return row
            wanted, etag = Wanted.PAUSE, row.etag + 1
            if row.state == JobState.RUNNING.value:
                return await change.decide(row, principal.subject, wanted=wanted, etag=etag)
            return await change.move(row, JobState.PAUSED, principal.subject, wanted=wanted, etag=etag)

        return await self._decide(name, principal, pause)

    async def resume(self, name: str, principal: Principal) -> Job:
        """Let the job go on. Raises as `pause`."""

        async def resume(change: Change, row: Row[Any]) -> Row[Any] | None:
            _check_open(row)
            if row.wanted == Wanted.RUN.value:
                return row
            wanted, etag = Wanted.RUN, row.etag + 1
            if row.state == JobState.RUNNING.value:
                return await change.decide(row, principal.subject, wanted=wanted, etag=etag)
            return await change.move(
                row, JobState.QUEUED, principal.subject, run_after=row.now, wanted=wanted, etag=etag
            )

        return await self._decide(name, principal, resume)

    async def _decide(self, name: str, principal: Principal, decision: Callable[[Change, Row[Any]], Any]) -> Job:
        async with self._states.changing() as change:
            row = await _decidable(change.connection, name, principal)
            return job_from_row(unraced(await decision(change, row)))


async def insert_job(change: Change, new: NewJob, creator: str, queued_most: int) -> Row[Any]:
    """Queue a job in a transaction. Raises QUOTA_EXCEEDED where its namespace has `queued_most` (0: no limit)."""
    connection, spec = change.connection, new.spec
    namespace_key = spec.output.partition("/")[0].casefold()
    time = await check_room(connection, namespace_key, queued_most)
    values: dict[str, Any] = {
        "name": new.name,
        "namespace_key": namespace_key,
        "spec": to_text(SPEC_JSON, spec),
        "base": new.base.reference,
        "base_digest": new.base.manifest_digest,
        "dataset": new.dataset.reference,
        "dataset_digest": new.dataset.manifest_digest,
        "output": spec.output,
        "recipe": spec.recipe,
        "recipe_digest": new.recipe_digest,
        "executor": spec.executor,
        "processes": spec.processes,
        "resource_class": spec.resource_class,
        "creator": creator,
        "retry_of": new.retry_of,
        "sweep": new.sweep,
        "priority": new.priority,
        "place": -new.priority,
        "labels": json.dumps(dict(new.labels)),
        "wanted": Wanted.RUN.value,
        "etag": 1,
        "state": JobState.QUEUED.value,
        "reason": "",
        "message": "",
        "epoch": 0,
        "tries": 0,
        "max_attempts": spec.max_attempts or MAX_ATTEMPTS,
        "run_after": time,
        "deadline": spec.deadline,
        "trainer": "",
        "host": "",
        "renewals": 0,
        "unrenewed": 0,
        "released_epoch": 0,
        "next_event": 1,
        "last_sequence": 1,
        "result": "",
        "create_time": time,
    }
    row = (await connection.execute(insert(jobs).values(values).returning(jobs))).one()
    await _insert_labels(connection, row.id, new.labels)
    await write(connection, row.id, 1, 0, [StateChange(JobState.QUEUED, Wanted.RUN, actor=creator)], time)
    await change.refresh(Lane(spec.resource_class, namespace_key), queued=1)
    return row


async def check_room(connection: AsyncConnection, namespace_key: str, queued_most: int, wanted: int = 1) -> Any:
    """The database's time. Raises QUOTA_EXCEEDED where not so many more jobs of the namespace may wait."""
    waiting = select(func.coalesce(func.sum(lanes.c.queued), 0)).where(lanes.c.namespace_key == namespace_key)
    row = (await connection.execute(select(waiting.scalar_subquery().label("jobs"), now().label("now")))).one()
    if queued_most and row.jobs + wanted > queued_most:
        more = f", and {wanted:,} more are asked for" if wanted > 1 else ""
        raise ResourceExhausted(
            "QUOTA_EXCEEDED",
            f"{row.jobs:,} jobs of the namespace '{namespace_key}' wait, and {queued_most:,} may{more}: cancel some, "
            "or wait until some are done",
            metadata={"jobs": str(row.jobs), "jobs_most": str(queued_most)},
        )
    return row.now


async def _insert_labels(connection: AsyncConnection, job_id: int, labels: Mapping[str, str]) -> None:
    if labels:
        rows = [{"job_id": job_id, "name": name, "value": value} for name, value in labels.items()]
        await connection.execute(insert(job_labels), rows)


async def _decidable(connection: AsyncConnection, name: str, principal: Principal) -> Row[Any]:
    """The row of a job about which `principal` may decide. Raises JOB_NOT_FOUND and ROLE_MISSING."""
    row = await job_row(connection, name)
    check_role(principal, Role.TRAINER, row.output.partition("/")[0], job_not_found(name))
    return row


def _check_open(row: Row[Any]) -> None:
    """Raises JOB_FINAL where nothing can be decided about the job any more."""
    if JobState(row.state) in FINAL:
        raise _final(row, "nothing can be decided about it any more; a new job with `retry_of` tries it again")
    if row.made is not None:
        raise _final(row, "it is trained, and its version is being published")
    if row.wanted == Wanted.CANCEL.value:
        raise _final(row, "it is being cancelled")


def _final(row: Row[Any], why: str) -> FailedPrecondition:
    return FailedPrecondition(
        "JOB_FINAL", f"the job {row.name} is {row.state}: {why}", metadata={"state": row.state, "job": row.name}
    )
