"""What is left half done, whoever died, is brought to its end; and nothing else is touched."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import prometheus_client
import pytest
from redis.asyncio import Redis

from support.job_service import ADA, LONG_AGO, POLICY, JobService, Trainer, job_service
from support.servers import redis_server
from zoo_store.queue import open_queue
from zoo_training.events import StateChange
from zoo_training.job import JobState
from zoo_training.leases import Release, end_attempt
from zoo_training.outcomes import Outcome
from zoo_training.policy import Policy


@pytest.fixture
async def on_redis(redis_url: str, sqlite_url: str) -> AsyncIterator[JobService]:
    async with open_queue(redis_url) as queue, job_service(sqlite_url, queue, migrated=True) as service:
        yield service


async def test_j1_a_reaper_that_looked_too_early_writes_nothing(service: JobService) -> None:
    job = await service.create()
    lease = await service.leased()
    await service.set_times(job.name, lease_expires=LONG_AGO)
    # It looks now, and is slow.
    stale = await service.row_with_time(job.name)
    await service.release(lease, Outcome.TRAINED)
    await service.reconciler.publish()
    before = await service.row(job.name)
    async with service.states.changing() as change:
        lapsed = Release(Outcome.LAPSED, "TRAINER_CRASHED", "")
        assert await end_attempt(change, stale, lapsed, service.states, 0.5, "reconciler") is None
    assert not await service.reconciler.expire(job.name, lease.epoch)
    assert await service.row(job.name) == before


async def test_j1_a_lease_that_was_renewed_since_the_reaper_looked_is_left_alone(service: JobService) -> None:
    job = await service.create()
    lease = await service.leased()
    await service.renew(lease)
    assert not await service.reconciler.expire(job.name, lease.epoch)
    assert (await service.get(job.name)).state is JobState.RUNNING


async def test_j15_a_rescue_leaves_an_event_and_is_counted(service: JobService) -> None:
    def counted() -> float:
        return prometheus_client.REGISTRY.get_sample_value("zoo_training_leases_lapsed_total") or 0.0

    job = await service.create()
    await service.renew(await service.leased())
    before = counted()
    await service.lapse(job.name)
    assert counted() == before + 1
    last = [event async for event in service.events(job.name)][-1]
    assert isinstance(last.body, StateChange)
    assert (last.body.state, last.body.actor, last.epoch) == (JobState.QUEUED, "reconciler", 1)
    assert "trainer-1 on node-1" in last.body.message


async def test_j16_rounds_never_touch_what_waits(service: JobService) -> None:
    waiting, paused = await service.create(), await service.create()
    await service.jobs.pause(paused.name, ADA)
    before = [await service.get(job.name) for job in (waiting, paused)]
    for _ in range(3):
        await service.reconciler.round()
    assert [await service.get(job.name) for job in (waiting, paused)] == before


async def test_after_a_silence_as_long_as_a_lease_leases_get_one_more(service: JobService) -> None:
    job = await service.create()
    await service.renew(await service.leased())
    await service.set_times(job.name, lease_expires=LONG_AGO)
    await service.let_no_round_come_for(POLICY.lease + timedelta(seconds=1))
    for _ in range(2):
        await service.reconciler.round()
        assert (await service.get(job.name)).state is JobState.RUNNING
    await service.let_the_silence_be_forgotten()
    await service.reconciler.round()
    assert (await service.get(job.name)).state is JobState.QUEUED


async def test_replicas_take_turns(sqlite_url: str) -> None:
    async with job_service(sqlite_url, migrated=True, policy=Policy()) as service:
        other = JobService(service.database, service.queue, Policy())
        await service.let_no_round_come_for(timedelta(seconds=10))
        assert await service.reconciler.round()
        assert not await other.reconciler.round()
        await service.let_no_round_come_for(timedelta(seconds=10))
        assert sorted(await asyncio.gather(*(s.reconciler.round() for s in (service, other)))) == [False, True]


@pytest.mark.parametrize("state", ["queued", "paused", "running"])
async def test_a_job_fails_by_its_deadline_wherever_it_is(service: JobService, state: str) -> None:
    job = await service.create(deadline=datetime.now(UTC) + timedelta(hours=1))
    other = await service.create("ours/a", deadline=datetime.now(UTC) + timedelta(hours=1))
    if state == "paused":
        await service.jobs.pause(job.name, ADA)
    if state == "running":
        await service.leased()
        await service.leased()
    await service.set_times(job.name, deadline=LONG_AGO)
    await service.reconciler.round()
    failed = await service.get(job.name)
    assert (failed.state, failed.reason) == (JobState.FAILED, "DEADLINE_PASSED")
    assert (await service.get(other.name)).state is not JobState.FAILED


async def test_what_is_past_its_deadline_is_not_started_and_what_has_its_result_is_published(
    service: JobService,
) -> None:
    late = await service.create()
    await service.set_times(late.name, deadline=LONG_AGO)
    assert await service.lease() is None
    done = await service.create("ours/a")
    service.catalog.away = True
    await service.train()
    await service.set_times(done.name, deadline=LONG_AGO)
    await service.reconciler.round()
    service.catalog.away = False
    await service.reconciler.publish()
    assert (await service.get(done.name)).state is JobState.SUCCEEDED


async def test_a_result_is_published_when_the_catalog_is_back(service: JobService) -> None:
    service.catalog.away = True
    jobs = [await service.create() for _ in range(3)]
    for _ in jobs:
        await service.train()
    await service.reconciler.publish()
    assert {(await service.get(job.name)).state for job in jobs} == {JobState.RUNNING}
    service.catalog.away = False
    await service.reconciler.publish()
    await service.reconciler.publish()
    assert {(await service.get(job.name)).state for job in jobs} == {JobState.SUCCEEDED}


async def test_a_result_that_can_never_be_published_fails_its_job_once(service: JobService) -> None:
    job = await service.create()
    await service.train()
    for _ in range(2):
        failed = await service.results.fail(job.name, 1, "NAMESPACE_NOT_FOUND", "the namespace was deleted")
        assert (failed.state, failed.reason) == (JobState.FAILED, "NAMESPACE_NOT_FOUND")
    await service.reconciler.publish()
    assert not service.catalog.versions


async def test_a_job_whose_time_comes_is_offered_by_the_next_round(on_redis: JobService) -> None:
    job = await on_redis.create()
    await on_redis.release(await on_redis.leased(), Outcome.FAILED, reason="X")
    await on_redis.reconciler.round()
    assert await on_redis.lease() is None
    await on_redis.let_backoff_pass(job.name)
    assert (await on_redis.leased()).job.name == job.name


async def test_j6_an_emptied_redis_is_filled_from_sql_and_running_jobs_never_notice(
    on_redis: JobService, redis_url: str
) -> None:
    """50 jobs queued and 2 running: all 52 finish, each once."""
    jobs = [await on_redis.create(f"team-{number % 7}/a") for number in range(52)]
    running = [await on_redis.leased(Trainer(f"trainer-{number}")) for number in range(2)]
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
    assert await on_redis.lease() is None
    for lease in running:
        await on_redis.renew(lease)
    await on_redis.reconciler.round()
    started: list[str] = []

    async def train(trainer: Trainer) -> None:
        while (lease := await on_redis.lease(trainer)) is not None:
            started.append(lease.job.name)
            await on_redis.release(lease, Outcome.TRAINED)

    await asyncio.gather(*(train(Trainer(f"trainer-{number}")) for number in range(2, 6)))
    for lease in running:
        await on_redis.release(lease, Outcome.TRAINED)
    await on_redis.reconciler.publish()
    done = [await on_redis.get(job.name) for job in jobs]
    assert {(job.state, job.attempts) for job in done} == {(JobState.SUCCEEDED, 1)}
    assert sorted(started) == sorted({job.name for job in jobs} - {lease.job.name for lease in running})


async def test_j6_while_redis_is_down_jobs_are_created_and_leased_and_nothing_is_lost(sqlite_url: str) -> None:
    with redis_server() as server:
        async with open_queue(server.url()) as queue, job_service(sqlite_url, queue, migrated=True) as service:
            first = await service.create()
            server.kill()
            second = await service.create()
            assert (await service.leased()).job.name == first.name
            await service.reconciler.round()
            server.start()
            assert await service.lease() is None
            await service.reconciler.round()
            assert (await service.leased()).job.name == second.name


async def test_j7_a_job_is_leased_whatever_dies_around_telling_the_queue(on_redis: JobService, redis_url: str) -> None:
    """Before it was told, after it, and twice."""
    job = await on_redis.create()
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
        await on_redis.reconciler.round()
        await on_redis.reconciler.round()
        assert await redis.zcard("zoo:queue:cpu") == 1
    assert (await on_redis.leased()).job.name == job.name
    await on_redis.queue.put("cpu", {"team": -7.0})
    assert await on_redis.lease() is None


async def test_an_entry_taken_by_whoever_died_is_put_back_by_the_next_round(on_redis: JobService) -> None:
    job = await on_redis.create()
    assert await on_redis.queue.pop("cpu", 0) == "team"
    assert await on_redis.lease() is None
    await on_redis.reconciler.round()
    assert (await on_redis.leased()).job.name == job.name


async def test_rounds_come_by_themselves_and_a_result_does_not_wait_for_one(sqlite_url: str) -> None:
    policy = Policy(round=timedelta(minutes=5))
    async with job_service(sqlite_url, migrated=True, policy=policy) as service, service.reconciler.running():
        job = await service.create()
        await service.train()
        service.reconciler.publish_soon()
        await asyncio.wait_for(service.until_final(job.name), 10)
