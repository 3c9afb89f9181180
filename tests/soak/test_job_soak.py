"""The state machine of jobs, again and again, on PostgreSQL and Redis; and random trainers at work, some of which die
or freeze and come back too late, while Redis is emptied, lied to and killed. `make soak SECONDS=900 SEED=1`; without
SECONDS a short one. Both end with a check of every job's log, and print what they did.
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
from redis.asyncio import Redis

from modelzoo.errors import Aborted, Unavailable, ZooError
from support.job_machine import JobMachine
from support.job_service import ADA, LONG_AGO, POLICY, JobService, Trainer, job_service
from support.postgresql import PostgresqlServer
from support.servers import RedisServer, redis_server
from zoo_store.queue import open_queue
from zoo_store.sql import open_database
from zoo_training.events import Log, Severity
from zoo_training.job import FINAL, JobState
from zoo_training.leases import Lease
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
        faults: Counter[str] = Counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(TRAINERS):
                tasks.create_task(
                    _train(replicas[number % 2], f"trainer-{number}", random.Random(SEED * 100 + number), faults, end)
                )
            tasks.create_task(_submit(first, dice, names, end))
            tasks.create_task(_trouble(replicas, redis, dice, names, faults, end))
        states = await _finish(first, names)
        assert set(states.values()) <= FINAL, states
        attempts = sum([(await first.get(name)).attempts for name in names])
        ended = ", ".join(f"{count} {state}" for state, count in Counter(s.value for s in states.values()).items())
        print(f"{len(names)} jobs with {attempts} attempts and {await first.check()} events: {ended}; seed {SEED}")
        print("; ".join(f"{fault}: {count}" for fault, count in sorted(faults.items())))


async def _submit(service: JobService, dice: random.Random, names: list[str], end: float) -> None:
    while time.monotonic() < end:
        job = await service.create(f"team-{dice.randrange(3)}/a", priority=dice.randrange(-2, 3), max_attempts=2)
        names.append(job.name)
        if dice.random() < 0.2:
            with suppress(ZooError):
                await dice.choice([service.jobs.cancel, service.jobs.pause])(dice.choice(names), ADA)


OUTCOMES = [Outcome.TRAINED, Outcome.TRAINED, Outcome.FAILED, Outcome.YIELDED, Outcome.STOPPED]


async def _train(service: JobService, name: str, dice: random.Random, faults: Counter[str], end: float) -> None:
    """Some attempts end well, some badly; some trainers are never heard of again, and some wake up long after."""
    frozen: list[Lease] = []
    while time.monotonic() < end:
        if frozen and dice.random() < 0.3:
            await _wake(service, frozen.pop(0), faults)
        lease = await service.lease(Trainer(name), 0.2)
        if lease is None:
            continue
        if dice.random() < 0.1:
            faults["trainers that died before they said anything"] += 1
            continue
        with suppress(ZooError):
            await service.renew(lease, Log(Severity.INFO, name))
            fate = dice.random()
            if fate < 0.75:
                await service.release(lease, dice.choice(OUTCOMES), reason="X")
            elif fate < 0.9:
                frozen.append(lease)
            else:
                faults["trainers that died at work"] += 1
    for lease in frozen:
        await _wake(service, lease, faults)


async def _wake(service: JobService, lease: Lease, faults: Counter[str]) -> None:
    """It goes on as if no time had passed: it may, unless its lease was ended meanwhile."""
    row = await service.row(lease.job.name)
    try:
        await service.release(lease, Outcome.TRAINED)
        faults["trainers that froze and came back in time"] += 1
    except Aborted:
        faults["trainers that froze and were refused"] += 1
    else:
        assert row.epoch == lease.epoch, f"{lease.job.name}: epoch {lease.epoch} ended it, and it was in {row.epoch}"


async def _trouble(
    replicas: list[JobService],
    redis: RedisServer,
    dice: random.Random,
    names: list[str],
    faults: Counter[str],
    end: float,
) -> None:
    while time.monotonic() < end:
        service = dice.choice(replicas)
        fate = dice.random()
        if fate < 0.05:
            redis.kill()
            await service.reconciler.round()
            redis.start()
            faults["Redis killed"] += 1
        elif fate < 0.1:
            async with Redis.from_url(redis.url()) as client:
                await client.flushall()
            faults["Redis emptied"] += 1
        elif fate < 0.2:
            with suppress(Unavailable):
                await service.queue.put("cpu", {dice.choice(["team-0", "nobody"]): dice.uniform(-100, 100)})
            faults["entries that say what is not true"] += 1
        for name in dice.sample(names, min(3, len(names))):
            await service.let_lease_pass(name)
            await service.set_times(name, run_after=LONG_AGO)
        await service.reconciler.round()
        await service.reconciler.publish()


async def _finish(service: JobService, names: list[str]) -> dict[str, JobState]:
    for _ in range(4):
        for name in names:
            with suppress(ZooError):
                await service.jobs.resume(name, ADA)
            await service.let_lease_pass(name)
            await service.set_times(name, run_after=LONG_AGO)
        await service.reconciler.round()
        while (lease := await service.lease()) is not None:
            await service.release(lease, Outcome.TRAINED)
        await service.reconciler.publish()
    return {name: (await service.get(name)).state for name in names}
