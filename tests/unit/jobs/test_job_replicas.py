"""Several replicas on one PostgreSQL and one Redis do what one does."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from modelzoo.errors import Aborted, FailedPrecondition
from support.job_service import ADA, LONG_AGO, POLICY, JobService, Trainer, job_service
from zoo_store.queue import open_queue
from zoo_store.sql import open_database
from zoo_training.job import FINAL, JobState
from zoo_training.outcomes import Outcome


@pytest.fixture
async def replicas(postgresql_url: str, redis_url: str) -> AsyncIterator[list[JobService]]:
    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(open_queue(redis_url))
        first = await stack.enter_async_context(job_service(postgresql_url, queue))
        others = []
        for _ in range(2):
            database = await stack.enter_async_context(open_database(postgresql_url))
            own = await stack.enter_async_context(open_queue(redis_url))
            others.append(JobService(database, own, POLICY, first.catalog))
        yield [first, *others]


async def test_of_many_trainers_each_job_goes_to_one(replicas: list[JobService]) -> None:
    jobs = [await replicas[n % 3].create(f"team-{n % 4}/a") for n in range(24)]
    leased: list[str] = []

    async def work(number: int) -> None:
        service = replicas[number % 3]
        while (lease := await service.lease(Trainer(f"trainer-{number}"), 0.5)) is not None:
            leased.append(lease.job.name)
            await service.release(lease, Outcome.TRAINED)

    await asyncio.gather(*(work(number) for number in range(6)))
    assert Counter(leased) == Counter(job.name for job in jobs)


async def test_of_all_who_end_a_job_at_once_one_does(replicas: list[JobService]) -> None:
    """Its trainer, whoever cancels it, and two reapers."""
    for _ in range(6):
        job = await replicas[0].create()
        lease = await replicas[1].leased()
        await replicas[0].renew(lease)
        await replicas[0].set_times(job.name, lease_expires=LONG_AGO)
        ends = [
            replicas[0].release(lease, Outcome.TRAINED),
            replicas[1].jobs.cancel(job.name, ADA),
            replicas[1].reconciler.expire(job.name, lease.epoch),
            replicas[2].reconciler.expire(job.name, lease.epoch),
        ]
        for answer in await asyncio.gather(*ends, return_exceptions=True):
            assert not isinstance(answer, Exception) or isinstance(answer, Aborted | FailedPrecondition)
        await asyncio.gather(*(service.reconciler.publish() for service in replicas), return_exceptions=True)
        state = (await replicas[0].get(job.name)).state
        if state is JobState.QUEUED:
            await replicas[0].jobs.cancel(job.name, ADA)
        assert state in FINAL | {JobState.QUEUED}
        await replicas[0].check()


async def test_a_request_sent_to_all_makes_one_job(replicas: list[JobService]) -> None:
    jobs = await asyncio.gather(*(replicas[n % 3].create(request_id=f"r{n // 6}") for n in range(18)))
    assert len({job.name for job in jobs}) == 3
