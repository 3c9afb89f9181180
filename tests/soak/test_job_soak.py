"""The state machine of jobs, again and again, on PostgreSQL and Redis; and random trainers at work while Redis is
emptied and killed. `make soak SECONDS=900 SEED=1`; without SECONDS a short one.
"""

import asyncio
import itertools
import os
import random
import time
import uuid
from collections import Counter
from contextlib import AsyncExitStack, suppress

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from modelzoo.errors import ZooError
from support.job_machine import JobMachine
from support.job_service import ADA, LONG_AGO, POLICY, JobService, Trainer, job_service
from support.postgresql import PostgresqlServer
from support.servers import RedisServer, redis_server
from zoo_store.queue import open_queue
from zoo_store.sql import open_database
from zoo_training.events import Log, Severity
from zoo_training.job import FINAL, JobState
from zoo_training.outcomes import Outcome

SECONDS = float(os.environ.get("ZOO_SOAK_SECONDS", "0")) or 6.0
SEED = int(os.environ.get("ZOO_SOAK_SEED", "1"))
TRAINERS = 4

pytestmark = pytest.mark.timeout(SECONDS + 300)

# Far from those that the fixtures count up from 1.
_redis_databases = itertools.count(60_000)


def test_the_machine_runs_for_as_long_as_it_is_told_to(
    postgresql_shared: PostgresqlServer, redis_shared: RedisServer
) -> None:
    class Machine(JobMachine):
        def database_url(self) -> str:
            return postgresql_shared.url(f"soak_{uuid.uuid4().hex}")

        def queue_url(self) -> str:
            return redis_shared.url(next(_redis_databases))

    end, rounds = time.monotonic() + SECONDS / 2, 0
    while time.monotonic() < end:
        run = settings(
            max_examples=1,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
            database=None,
        )
        seed(SEED * 10_000 + rounds)(Machine)
        run_state_machine_as_test(Machine, settings=run)
        rounds += 1
    print(f"{rounds} rounds of the machine, seed {SEED}")


async def test_trainers_die_redis_is_lost_and_every_job_ends_once(postgresql_url: str) -> None:
    dice = random.Random(SEED)
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server())
        queue = await stack.enter_async_context(open_queue(redis.url()))
        first = await stack.enter_async_context(job_service(postgresql_url, queue))
        database = await stack.enter_async_context(open_database(postgresql_url))
        replicas = [first, JobService(database, queue, POLICY, first.catalog)]
        end = time.monotonic() + SECONDS / 2
        names: list[str] = []
        async with asyncio.TaskGroup() as tasks:
            for number in range(TRAINERS):
                tasks.create_task(_train(replicas[number % 2], f"trainer-{number}", random.Random(number), end))
            tasks.create_task(_submit(first, dice, names, end))
            tasks.create_task(_trouble(replicas, redis, dice, names, end))
        states = await _finish(first, names)
        assert set(states.values()) <= FINAL, states
        print(f"{len(names)} jobs: {dict(Counter(state.value for state in states.values()))}, seed {SEED}")


async def _submit(service: JobService, dice: random.Random, names: list[str], end: float) -> None:
    while time.monotonic() < end:
        job = await service.create(f"team-{dice.randrange(3)}/a", priority=dice.randrange(-2, 3), max_attempts=2)
        names.append(job.name)
        if dice.random() < 0.2:
            with suppress(ZooError):
                await dice.choice([service.jobs.cancel, service.jobs.pause])(dice.choice(names), ADA)


async def _train(service: JobService, name: str, dice: random.Random, end: float) -> None:
    """Some attempts end well, some badly, and some trainers are never heard of again."""
    while time.monotonic() < end:
        lease = await service.lease(Trainer(name), 0.2)
        with suppress(ZooError):
            if lease is not None and dice.random() < 0.9:
                await service.renew(lease, Log(Severity.INFO, name))
                outcomes = [Outcome.TRAINED, Outcome.TRAINED, Outcome.FAILED, Outcome.YIELDED, Outcome.STOPPED]
                if dice.random() < 0.8:
                    await service.release(lease, dice.choice(outcomes), reason="X")


async def _trouble(
    replicas: list[JobService], redis: RedisServer, dice: random.Random, names: list[str], end: float
) -> None:
    while time.monotonic() < end:
        service = dice.choice(replicas)
        if dice.random() < 0.1:
            redis.kill()
            await service.reconciler.round()
            redis.start()
        for name in dice.sample(names, min(3, len(names))):
            row = await service.row(name)
            lapsed = {"lease_expires": LONG_AGO} if row.lease_expires is not None else {}
            await service.set_times(name, run_after=LONG_AGO, **lapsed)
        await service.reconciler.round()
        await service.reconciler.publish()


async def _finish(service: JobService, names: list[str]) -> dict[str, JobState]:
    for _ in range(4):
        for name in names:
            with suppress(ZooError):
                await service.jobs.resume(name, ADA)
            row = await service.row(name)
            if row.lease_expires is not None:
                await service.set_times(name, lease_expires=LONG_AGO)
            await service.set_times(name, run_after=LONG_AGO)
        await service.reconciler.round()
        while (lease := await service.lease()) is not None:
            await service.release(lease, Outcome.TRAINED)
        await service.reconciler.publish()
    return {name: (await service.get(name)).state for name in names}
