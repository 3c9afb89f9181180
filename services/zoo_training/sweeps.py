"""Sweeps: jobs that differ in parameters, made together; when all are final, the best of them is promoted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import NotFound
from zoo_server.principal import Principal, Role
from zoo_store.sql import now
from zoo_training.access import check_role
from zoo_training.job import FINAL, Job, JobState, job_from_row, new_job_name
from zoo_training.jobs import NewJob, check_room, insert_job
from zoo_training.pins import Pins, source_pins
from zoo_training.planning import Grounds, Plan, Planner
from zoo_training.recipe import Recipe
from zoo_training.requests import Request
from zoo_training.schema import jobs, sweeps
from zoo_training.spec import SPEC_JSON, JobSpec, Promotion
from zoo_training.states import States
from zoo_training.trials import CHOICES_JSON, Choices, SweepMethod, trials_of

__all__ = ["NewSweep", "Sweep", "Sweeps", "best_of", "read_sweep", "sweep_jobs"]


@dataclass(frozen=True, slots=True)
class NewSweep:
    """What is asked for; `promotion` of the spec is that of the best job alone."""

    spec: JobSpec
    choices: Mapping[str, Choices]
    method: SweepMethod
    trials: int

    def request(self, principal: Principal, request_id: str) -> Request:
        arguments = {
            "spec": SPEC_JSON.dump_python(self.spec, mode="json"),
            "choices": CHOICES_JSON.dump_python(dict(self.choices), mode="json"),
            "method": self.method.value,
            "trials": self.trials,
        }
        return Request(principal.subject, "CreateSweep", request_id, arguments)


@dataclass(frozen=True, slots=True)
class Sweep:
    """As zoo.training.v1.Sweep. `metric` is that by which its jobs are compared."""

    name: str
    spec: JobSpec
    choices: Mapping[str, Choices]
    method: SweepMethod
    trials: int
    metric: str
    lower_is_better: bool
    creator: str
    create_time: datetime
    end_time: datetime | None
    jobs: tuple[str, ...] = field(default=())
    best: str = ""
    finished: int = 0
    message: str = ""

    @property
    def namespace(self) -> str:
        return self.spec.output.partition("/")[0]


class Sweeps:
    def __init__(self, states: States, planner: Planner, held: Pins) -> None:
        self._states = states
        self._planner = planner
        self._held = held

    async def create(self, new: NewSweep, principal: Principal, request_id: str) -> Sweep:
        """Queue all of its jobs at once, or find the sweep that the request made before.

        Raises SWEEP_INVALID, REQUEST_ID_REUSED, QUOTA_EXCEEDED and what `Planner.plan` does for any of its jobs.
        """
        request = new.request(principal, request_id)
        async with self._states.database.read() as connection:
            made = await request.made(connection)
            if made is not None:
                return await read_sweep(connection, made)
        grounds = await self._planner.grounds(new.spec, principal)
        name = new_job_name().replace("job_", "sweep_", 1)
        whole, plans = _planned(grounds, new)
        trials = [_trial(name, plan) for plan in plans]
        await self._held.hold([pin for trial in trials for pin in source_pins(trial.name, trial.base, trial.dataset)])
        async with self._states.changing() as change:
            # Somebody else with the same request may have been faster: what was pinned for these trials is let go of.
            made = await request.made(change.connection)
            if made is None:
                await self._check_room(change.connection, whole, len(trials))
                await _insert(change.connection, name, new, whole, grounds.recipe, principal.subject)
                for trial in trials:
                    await insert_job(change, trial, principal.subject, self._states.policy.queued_most)
                await request.keep(change.connection, name)
            return await read_sweep(change.connection, made or name)

    async def foresee(self, new: NewSweep, principal: Principal) -> JobSpec:
        """What its jobs would share, completed; makes nothing. Its data may be yet to be published. Raises as `create`
        would now."""
        whole, plans = _planned(await self._planner.foreseen(new.spec, principal), new)
        async with self._states.database.read() as connection:
            await self._check_room(connection, whole, len(plans))
        return whole

    async def get(self, name: str, principal: Principal) -> Sweep:
        """Raises SWEEP_NOT_FOUND."""
        async with self._states.database.read() as connection:
            sweep = await read_sweep(connection, name)
        check_role(principal, Role.VIEWER, sweep.namespace, _not_found(name))
        return sweep

    async def _check_room(self, connection: AsyncConnection, whole: JobSpec, trials: int) -> None:
        namespace_key = whole.output.partition("/")[0].casefold()
        await check_room(connection, namespace_key, self._states.policy.queued_most, trials)


async def read_sweep(connection: AsyncConnection, name: str) -> Sweep:
    """With what has become of its jobs so far. Raises SWEEP_NOT_FOUND."""
    row = (await connection.execute(select(sweeps).where(sweeps.c.name == name))).one_or_none()
    if row is None:
        raise _not_found(name)
    made = await sweep_jobs(connection, name)
    best = best_of(made, row.metric, lower_is_better=row.lower_is_better)
    return Sweep(
        name=row.name,
        spec=SPEC_JSON.validate_python(row.spec),
        choices=CHOICES_JSON.validate_python(row.choices),
        method=SweepMethod(row.method),
        trials=row.trials,
        metric=row.metric,
        lower_is_better=row.lower_is_better,
        creator=row.creator,
        create_time=row.create_time,
        end_time=row.end_time,
        jobs=tuple(job.name for job in made),
        best=row.best or (best.name if best else ""),
        finished=sum(job.state in FINAL for job in made),
        message=row.message,
    )


async def sweep_jobs(connection: AsyncConnection, name: str) -> list[Job]:
    """In the order of their creation."""
    rows = await connection.execute(select(jobs).where(jobs.c.sweep == name).order_by(jobs.c.id))
    return [job_from_row(row) for row in rows]


def best_of(made: Sequence[Job], metric: str, *, lower_is_better: bool) -> Job | None:
    """Of those that succeeded and were measured the one with the best metric; of equal ones the first."""
    measured = [(value, job) for job in made if (value := _measured(job, metric)) is not None]
    if not measured:
        return None
    best = min if lower_is_better else max
    return best(measured, key=lambda pair: pair[0])[1]


def _measured(job: Job, metric: str) -> float | None:
    if job.state is not JobState.SUCCEEDED or job.made is None:
        return None
    values = [each.after for each in job.made.measured if each.metric == metric]
    return values[0] if values and math.isfinite(values[0]) else None


def _planned(grounds: Grounds, new: NewSweep) -> tuple[JobSpec, list[Plan]]:
    """What all trials share, and each of them."""
    whole = grounds.plan(new.spec, new.spec.parameters).spec
    alone = replace(new.spec, promotion=Promotion())
    trials = trials_of(grounds.recipe, new.choices, new.method, new.trials, whole.seed)
    return whole, [grounds.plan(alone, {**new.spec.parameters, **chosen}) for chosen in trials]


def _trial(sweep: str, plan: Plan) -> NewJob:
    return NewJob(plan.spec, plan.base, plan.dataset, sweep=sweep, recipe_digest=plan.recipe.digest)


async def _insert(
    connection: AsyncConnection, name: str, new: NewSweep, whole: JobSpec, recipe: Recipe, creator: str
) -> None:
    shared = {key: value for key, value in whole.parameters.items() if key not in new.choices}
    await connection.execute(
        insert(sweeps).values(
            name=name,
            namespace_key=whole.output.partition("/")[0].casefold(),
            spec=SPEC_JSON.dump_python(replace(whole, parameters=shared), mode="json"),
            choices=CHOICES_JSON.dump_python(dict(new.choices), mode="json"),
            method=new.method.value,
            trials=new.trials,
            metric=recipe.metric,
            lower_is_better=recipe.lower_is_better,
            best="",
            creator=creator,
            create_time=now(),
        )
    )


def _not_found(name: str) -> NotFound:
    return NotFound(
        "SWEEP_NOT_FOUND",
        f"there is no sweep {name[:64]!a}, or none that you may see: its jobs name it, or ask an admin for a grant",
    )
