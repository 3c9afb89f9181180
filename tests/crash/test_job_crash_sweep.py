"""Creating, leasing, renewing, releasing, cancelling, reconciling and publishing with the process dying before, after,
or just behind every transaction and every word to the queue.

The operation runs once to count its calls of drivers. Then for each of them, and each way to die, it dies there; what
is left is checked; it is repeated, as whoever asked for it would; and everything goes on to its end: every job has one,
and a version where it has succeeded.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import get_args

import pytest
from sqlalchemy import select, update

from modelzoo.errors import Unavailable
from support.crashes import Crash, Crashes, CrashingDatabase, CrashingQueue, Phase
from support.job_service import ADA, LONG_AGO, POLICY, Catalog, JobService, Trainer, folder_in_memory, job_service
from zoo_store.queue_memory import MemoryQueue
from zoo_store.sql import Database
from zoo_training.events import Log, Metrics, Severity
from zoo_training.job import FINAL, Checkpoint, Job, JobState, Progress
from zoo_training.leases import Lease
from zoo_training.outcomes import Outcome
from zoo_training.schema import jobs

REPORTS = (Log(Severity.INFO, "begun"), Metrics(Progress(5)), Checkpoint(5, "c" * 64))

_numbers = count(1)


@dataclass
class Stage:
    """A namespace and a resource class of its own in the one database, with what stands there before the operation."""

    database: Database
    queue: MemoryQueue
    catalog: Catalog
    name: str
    job: Job | None = None
    lease: Lease | None = None

    def service(self, crashes: Crashes | None = None) -> JobService:
        """As a process that has just started."""
        if crashes is None:
            return JobService(self.database, self.queue, POLICY, self.catalog)
        database, queue = CrashingDatabase(self.database, crashes), CrashingQueue(self.queue, crashes)
        return JobService(database, queue, POLICY, self.catalog)

    @property
    def trainer(self) -> Trainer:
        return Trainer(resource_class=self.name)

    async def create(self, service: JobService) -> Job:
        return await service.create(f"{self.name}/a", request_id=self.name, resource_class=self.name)


@pytest.fixture
async def stage() -> AsyncIterator[Callable[[], Stage]]:
    queue, catalog = MemoryQueue(), Catalog()
    with folder_in_memory() as folder:
        async with job_service(f"sqlite:///{folder}/t.db", queue) as service:
            service.catalog = catalog
            yield lambda: Stage(service.database, queue, catalog, f"stage-{next(_numbers)}")


async def nothing(stage: Stage) -> None:
    pass


async def queued(stage: Stage) -> None:
    stage.job = await stage.create(stage.service())


async def two_queued(stage: Stage) -> None:
    await queued(stage)
    await stage.service().create(f"{stage.name}/b", resource_class=stage.name)


async def leased(stage: Stage) -> None:
    await queued(stage)
    stage.lease = await stage.service().leased(stage.trainer)


async def lapsed(stage: Stage) -> None:
    """With a lease to end, and another job that the queue has forgotten."""
    await leased(stage)
    await stage.service().create(f"{stage.name}/b", resource_class=stage.name)
    await stage.queue.pop(stage.name, 0)
    assert stage.lease is not None
    await stage.service().renew(stage.lease)
    await stage.service().set_times(stage.lease.job.name, lease_expires=LONG_AGO)


async def trained(stage: Stage) -> None:
    await leased(stage)
    assert stage.lease is not None
    await stage.service().release(stage.lease, Outcome.TRAINED)


async def create(service: JobService, stage: Stage) -> None:
    await stage.create(service)


async def lease(service: JobService, stage: Stage) -> None:
    await service.lease(stage.trainer)


async def renew(service: JobService, stage: Stage) -> None:
    assert stage.lease is not None
    await service.renew(stage.lease, *REPORTS)


def release(outcome: Outcome) -> Callable[[JobService, Stage], Awaitable[None]]:
    async def release(service: JobService, stage: Stage) -> None:
        assert stage.lease is not None
        await service.release(stage.lease, outcome)

    return release


async def cancel(service: JobService, stage: Stage) -> None:
    assert stage.job is not None
    await service.jobs.cancel(stage.job.name, ADA)


async def reconcile(service: JobService, stage: Stage) -> None:
    await service.reconciler.round()


async def publish(service: JobService, stage: Stage) -> None:
    await service.reconciler.publish()


OPERATIONS = {
    "create": (nothing, create, 2),
    "lease": (two_queued, lease, 3),
    "renew with a checkpoint": (leased, renew, 1),
    "release trained": (leased, release(Outcome.TRAINED), 1),
    "release yielded": (leased, release(Outcome.YIELDED), 2),
    "release failed": (leased, release(Outcome.FAILED), 1),
    "cancel what waits": (queued, cancel, 1),
    "cancel what runs": (leased, cancel, 1),
    "reconcile": (lapsed, reconcile, 6),
    "publish": (trained, publish, 2),
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_wherever_it_dies_every_job_comes_to_one_end(operation: str, stage: Callable[[], Stage]) -> None:
    prepare, run, least = OPERATIONS[operation]
    whole = stage()
    await prepare(whole)
    counting = Crashes()
    await run(whole.service(counting), whole)
    await go_on_to_the_end(whole)
    assert len(counting.calls) >= least, f"not all is counted: {counting.calls}"
    for at in range(1, len(counting.calls) + 1):
        for phase in get_args(Phase):
            await die_and_go_on(stage(), Crashes(at, phase), prepare, run)


async def die_and_go_on(
    stage: Stage,
    crashes: Crashes,
    prepare: Callable[[Stage], Awaitable[None]],
    run: Callable[[JobService, Stage], Awaitable[None]],
) -> None:
    await prepare(stage)
    with suppress(Crash, Unavailable):
        await run(stage.service(crashes), stage)
    await stage.service().check()
    await run(stage.service(), stage)
    await stage.service().check()
    await go_on_to_the_end(stage)


async def go_on_to_the_end(stage: Stage) -> None:
    """Leases lapse, times come, trainers train, results are published: and all that was created is done."""
    service = stage.service()
    mine = jobs.c.namespace_key == stage.name
    for _ in range(3):
        async with service.database.write() as connection:
            running = (mine, jobs.c.lease_expires.is_not(None))
            await connection.execute(update(jobs).where(*running).values(lease_expires=LONG_AGO))
            await connection.execute(update(jobs).where(mine).values(run_after=LONG_AGO))
        await service.reconciler.round()
        while await service.lease(stage.trainer) is not None:
            async with service.database.read() as connection:
                row = (await connection.execute(select(jobs).where(mine, jobs.c.lease_expires.is_not(None)))).first()
            assert row is not None
            held = Lease(await service.get(row.name), POLICY.lease)
            await service.release(held, Outcome.TRAINED)
        await service.reconciler.publish()
    async with service.database.read() as connection:
        states = {JobState(row.state) for row in await connection.execute(select(jobs).where(mine))}
    assert states <= FINAL - {JobState.FAILED}, f"in the end jobs are {states}"
    assert states, "what was created is gone"
    await service.check()
