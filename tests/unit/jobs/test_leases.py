"""What trainers are given, what is taken of them, and what no longer is."""

import asyncio
from datetime import timedelta

import pytest

from modelzoo.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound, OutOfRange
from support.job_service import ADA, LONG_AGO, RESULT, JobService, Trainer
from zoo_store.queue_memory import MemoryQueue
from zoo_training.events import Log, Metrics, Severity
from zoo_training.job import Checkpoint, JobState, Progress, Wanted
from zoo_training.leases import Lease, Release, Reports
from zoo_training.outcomes import Outcome

LINE = Log(Severity.INFO, "begun")


async def assert_lost(service: JobService, lease: Lease) -> None:
    """Nothing of this lease is taken any more, not a line."""
    before = (await service.row(lease.job.name))._asdict()
    with pytest.raises(Aborted) as renewing:
        await service.renew(lease, LINE)
    with pytest.raises(Aborted) as releasing:
        await service.release(lease, Outcome.TRAINED)
    assert renewing.value.reason == releasing.value.reason == "JOB_LEASE_LOST"
    assert (await service.row(lease.job.name))._asdict() == before


async def test_a_job_is_leased_once_and_trained_to_a_version(service: JobService) -> None:
    job = await service.create()
    lease = await service.leased()
    assert (lease.job.name, lease.epoch, lease.job.host) == (job.name, 1, "node-1")
    assert await service.lease() is None
    assert (await service.release(lease, Outcome.TRAINED)).state is JobState.RUNNING
    await service.reconciler.publish()
    done = await service.get(job.name)
    assert (done.state, done.result, done.made) == (JobState.SUCCEEDED, "team/topics@1", RESULT)


async def test_who_waits_for_a_job_gets_the_one_that_is_created_then(service: JobService) -> None:
    waiting = asyncio.create_task(service.lease(wait_s=10))
    await asyncio.wait([waiting], timeout=0.1)
    job = await service.create()
    lease = await asyncio.wait_for(waiting, 30)
    assert lease is not None
    assert lease.job.name == job.name


async def test_j2_a_zombie_is_refused_everything_once_its_job_is_anothers(service: JobService) -> None:
    await service.create()
    zombie = await service.leased()
    await service.renew(zombie)
    await service.lapse(zombie.job.name)
    await assert_lost(service, zombie)
    await service.let_backoff_pass(zombie.job.name)
    other = await service.leased(Trainer("trainer-2"))
    assert other.epoch == 2
    await assert_lost(service, zombie)
    await service.release(other, Outcome.TRAINED)
    await assert_lost(service, zombie)


async def test_a_lapsed_lease_that_nobody_ended_can_still_be_renewed(service: JobService) -> None:
    await service.create()
    lease = await service.leased()
    await service.set_times(lease.job.name, lease_expires=LONG_AGO)
    await service.renew(lease)
    await service.reconciler.round()
    assert (await service.get(lease.job.name)).state is JobState.RUNNING


async def test_j3_a_job_of_ten_leases_time_that_is_renewed_is_one_attempt(service: JobService) -> None:
    await service.create()
    lease = await service.leased()
    for _ in range(10):
        # The whole lease passes but for its last moment.
        left = (await service.row(lease.job.name)).lease_expires - timedelta(seconds=29)
        await service.set_times(lease.job.name, lease_expires=left)
        await service.reconciler.round()
        await service.renew(lease)
    assert (await service.get(lease.job.name)).attempts == 1
    assert await service.lease() is None


async def test_j4_an_entry_of_a_job_that_was_cancelled_leases_nothing(service: JobService) -> None:
    job = await service.create()
    await service.jobs.cancel(job.name, ADA)
    await service.queue.put("cpu", {"team": 0.0, "nobody": -1.0})
    assert await service.lease() is None
    assert (await service.get(job.name)).state is JobState.CANCELLED
    assert await service.queue.size("cpu") == 0


async def test_j5_a_job_that_kills_every_trainer_fails_and_its_neighbours_finish(service: JobService) -> None:
    poison = await service.create(max_attempts=2)
    neighbours = [await service.create() for _ in range(3)]
    for number in range(2):
        lease = await service.leased(Trainer(f"victim-{number}"))
        assert lease.job.name == poison.name
        await service.renew(lease)
        await service.lapse(poison.name)
        if number == 0:
            await service.let_backoff_pass(poison.name)
    dead = await service.get(poison.name)
    assert (dead.state, dead.reason) == (JobState.FAILED, "ATTEMPTS_EXHAUSTED")
    assert "TRAINER_CRASHED" in dead.message
    for _ in neighbours:
        await service.train()
    await service.reconciler.publish()
    assert {(await service.get(job.name)).state for job in neighbours} == {JobState.SUCCEEDED}


async def test_a_job_that_kills_trainers_before_they_renew_is_not_tried_for_ever(service: JobService) -> None:
    job = await service.create(max_attempts=2)
    for _ in range(7):
        assert (await service.get(job.name)).state is JobState.QUEUED
        await service.let_backoff_pass(job.name)
        await service.leased()
        await service.lapse(job.name)
    dead = await service.get(job.name)
    assert (dead.state, dead.reason, dead.attempts) == (JobState.FAILED, "ATTEMPTS_EXHAUSTED", 7)


async def test_a_lease_whose_answer_was_lost_costs_an_epoch_and_no_attempt(service: JobService) -> None:
    job = await service.create(max_attempts=1)
    await service.leased()
    await service.lapse(job.name)
    lease = await service.leased()
    assert (lease.epoch, (await service.row(job.name)).tries) == (2, 1)


@pytest.mark.parametrize("outcome", [Outcome.YIELDED, Outcome.STOPPED])
async def test_a_trainer_that_stops_for_its_own_reasons_costs_no_attempt(service: JobService, outcome: Outcome) -> None:
    job = await service.create(max_attempts=1)
    for epoch in (1, 2, 3):
        lease = await service.leased()
        assert lease.epoch == epoch
        assert (await service.release(lease, outcome)).state is JobState.QUEUED
    assert (await service.train()).name == job.name


async def test_a_failed_attempt_waits_ever_longer_before_the_next(service: JobService) -> None:
    job = await service.create()
    waits = []
    for _ in range(2):
        failed = await service.release(await service.leased(), Outcome.FAILED, reason="OUT_OF_MEMORY")
        assert (failed.state, failed.reason) == (JobState.QUEUED, "OUT_OF_MEMORY")
        assert await service.lease() is None
        events = [event async for event in service.events(job.name)]
        waits.append((failed.run_after - events[-1].time).total_seconds())
        await service.let_backoff_pass(job.name)
    assert waits == [10, 20]


async def test_a_hopeless_attempt_is_the_last(service: JobService) -> None:
    await service.create()
    failed = await service.release(await service.leased(), Outcome.HOPELESS, reason="LOSS_NOT_FINITE")
    assert (failed.state, failed.reason, failed.message) == (JobState.FAILED, "LOSS_NOT_FINITE", "what happened")


async def test_repeating_a_release_changes_nothing_also_when_the_job_is_anothers_by_then(service: JobService) -> None:
    await service.create()
    lease = await service.leased()
    first = await service.release(lease, Outcome.YIELDED)
    assert await service.release(lease, Outcome.YIELDED) == first
    other = await service.leased(Trainer("trainer-2"))
    assert (await service.release(lease, Outcome.YIELDED)).attempts == other.epoch
    await service.release(other, Outcome.TRAINED)
    assert (await service.release(other, Outcome.TRAINED)).state is JobState.RUNNING


async def test_j7_what_is_reported_twice_is_taken_once(service: JobService) -> None:
    job = await service.create()
    lease = await service.leased()
    lines = [Log(Severity.INFO, f"line {number}") for number in range(4)]
    await service.renew(lease, *lines[:2])
    await service.renew(lease, *lines[:3])
    await service.renew(lease, *lines[:1])
    await service.renew(lease, lines[3], first=4)
    said = [event.body for event in [e async for e in service.events(job.name)] if isinstance(event.body, Log)]
    assert said == lines


async def test_what_is_missing_before_reports_is_asked_for(service: JobService) -> None:
    await service.create()
    lease = await service.leased()
    await service.renew(lease, LINE)
    for first in (0, 3):
        with pytest.raises(OutOfRange) as refused:
            await service.renew(lease, LINE, first=first)
        assert (refused.value.reason, refused.value.metadata) == ("CURSOR_INVALID", {"next": "2"})


async def test_reports_are_numbered_anew_in_each_epoch_and_events_are_not(service: JobService) -> None:
    job = await service.create()
    first = await service.leased()
    await service.renew(first, LINE, LINE)
    await service.release(first, Outcome.YIELDED)
    second = await service.leased()
    assert second.next_event == 1
    await service.renew(second, LINE)
    sequences = [event.sequence async for event in service.events(job.name)]
    assert sequences == list(range(1, 8))


async def test_progress_and_checkpoints_stand_with_the_job_and_go_to_the_next_attempt(service: JobService) -> None:
    await service.create()
    lease = await service.leased()
    progress, checkpoint = Progress(40, 100, 0.5, float("nan")), Checkpoint(40, "c" * 64, 10, 5)
    await service.renew(lease, Metrics(progress, {"gradient_norm": float("inf")}), checkpoint)
    job = (await service.renew(lease)).job
    assert (job.progress and job.progress.step, job.checkpoint) == (40, checkpoint)
    await service.release(lease, Outcome.YIELDED)
    assert (await service.leased()).job.checkpoint == checkpoint


async def test_j10_an_attempt_after_one_without_a_checkpoint_begins_at_the_beginning(service: JobService) -> None:
    await service.create()
    lease = await service.leased()
    await service.renew(lease, Metrics(Progress(7)))
    await service.lapse(lease.job.name)
    await service.let_backoff_pass(lease.job.name)
    assert (await service.leased()).job.checkpoint is None


async def test_a_checkpoint_that_does_not_go_beyond_the_last_is_refused_and_the_same_one_passed_over(
    service: JobService,
) -> None:
    job = await service.create()
    lease = await service.leased()
    checkpoint = Checkpoint(40, "c" * 64)
    await service.renew(lease, checkpoint)
    await service.renew(lease, checkpoint, LINE, first=2)
    for step in (39, 40):
        with pytest.raises(FailedPrecondition) as refused:
            await service.renew(lease, Checkpoint(step, "d" * 64), first=4)
        assert refused.value.reason == "CHECKPOINT_INVALID"
    assert (await service.get(job.name)).checkpoint == checkpoint


async def test_a_trainer_gets_only_what_it_can_do_and_is_not_in_the_way_of_others(service: JobService) -> None:
    other_recipe = await service.create("ours/a", recipe="causal-lm")
    other_executor = await service.create("ours/a", executor="ray")
    several = await service.create("ours/a", processes=4)
    other_class = await service.create("ours/a", resource_class="gpu")
    mine = await service.create("theirs/a")
    assert (await service.leased()).job.name == mine.name
    assert await service.lease() is None
    for trainer, job in (
        (Trainer(recipes=("causal-lm",)), other_recipe),
        (Trainer(executors=("ray", "process")), other_executor),
        (Trainer(processes=4), several),
        (Trainer(resource_class="gpu"), other_class),
    ):
        assert (await service.leased(trainer)).job.name == job.name


async def test_without_the_queue_jobs_are_leased_by_what_the_tables_say(service: JobService) -> None:
    class Away(MemoryQueue):
        pop = put = _away  # type: ignore[assignment]

    await service.create("team/a")
    urgent = await service.create("ours/a", priority=5)
    without = JobService(service.database, Away())
    created = await without.create("team/b")
    assert (await without.leased()).job.name == urgent.name
    assert {(await without.leased()).job.name for _ in range(2)} >= {created.name}


async def _away(*_: object) -> None:
    from modelzoo.errors import Unavailable

    raise Unavailable("DEPENDENCY_UNAVAILABLE", "Redis is away")


async def test_a_result_belongs_to_trained_and_to_nothing_else(service: JobService) -> None:
    await service.create()
    lease = await service.leased()
    for release in (Release(Outcome.TRAINED), Release(Outcome.FAILED, "X", "", RESULT)):
        with pytest.raises(InvalidArgument):
            await service.leases.release(lease.job.name, 1, Reports(), release)


async def test_there_is_nothing_to_renew_of_a_job_that_does_not_exist(service: JobService) -> None:
    with pytest.raises(NotFound):
        await service.leases.renew("job_0", 1, Reports())


async def test_what_is_wanted_reaches_the_trainer_with_its_next_renewal(service: JobService) -> None:
    job = await service.create()
    lease = await service.leased()
    assert (await service.renew(lease)).wanted is Wanted.RUN
    await service.jobs.pause(job.name, ADA)
    assert (await service.renew(lease)).wanted is Wanted.PAUSE
    await service.jobs.cancel(job.name, ADA)
    assert (await service.renew(lease)).wanted is Wanted.CANCEL
