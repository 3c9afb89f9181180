"""What people decide about jobs, and what becomes of it in every state."""

import asyncio
import uuid
from contextlib import suppress
from itertools import product

import pytest

from modelzoo.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound, PermissionDenied, ResourceExhausted
from support.job_service import ADA, BASE, DATASET, JobService, Trainer, job_service, spec
from zoo_server.principal import Principal, Role
from zoo_training.job import FINAL, JobState, Wanted, new_job_name
from zoo_training.jobs import JobEdit, NewJob
from zoo_training.leases import Lease
from zoo_training.outcomes import Outcome
from zoo_training.policy import Policy
from zoo_training.requests import Request

STRANGER = Principal("user:eve", {"other": Role.ADMIN})
VIEWER = Principal("user:bob", {"TEAM": Role.VIEWER})


async def test_a_request_makes_one_job_however_often_it_is_sent(service: JobService) -> None:
    jobs = await asyncio.gather(*(service.create(request_id="same") for _ in range(10)))
    assert len({job.name for job in jobs}) == 1
    request = Request("user:ada", "CreateJob", "same", {"output": "team/topics"})
    assert await service.jobs.made_by(request) == jobs[0]
    with pytest.raises(AlreadyExists):
        await service.create("team/other", request_id="same")
    assert await service.lease() is not None
    assert await service.lease() is None


async def test_names_are_uuids_that_sort_by_time() -> None:
    names = [new_job_name() for _ in range(3)]
    assert {uuid.UUID(name.removeprefix("job_")).version for name in names} == {7}
    assert [name[:12] for name in names] == sorted(name[:12] for name in names)


async def test_a_job_is_read_as_it_was_asked_for(service: JobService) -> None:
    new = NewJob(spec(parameters={"learning_rate": 2e-5}), BASE, DATASET, 3, {"team": "search"}, "job_0", "sweep_0")
    made = await service.jobs.create(new, Request("user:ada", "CreateJob", "", {}))
    job = await service.jobs.get(made.name, VIEWER)
    assert job == made
    assert (job.spec, job.base, job.priority, job.labels) == (new.spec, BASE, 3, {"team": "search"})
    assert (job.creator, job.retry_of, job.sweep, job.state) == ("user:ada", "job_0", "sweep_0", JobState.QUEUED)


async def test_a_job_is_hidden_from_strangers_and_viewers_decide_nothing(service: JobService) -> None:
    job = await service.create()
    with pytest.raises(NotFound):
        await service.jobs.get("job_0", ADA)
    with pytest.raises(NotFound):
        await service.jobs.get(job.name, STRANGER)
    for decide in (service.jobs.cancel, service.jobs.pause, service.jobs.resume):
        with pytest.raises(NotFound):
            await decide(job.name, STRANGER)
        with pytest.raises(PermissionDenied):
            await decide(job.name, VIEWER)
    with pytest.raises(PermissionDenied):
        await service.jobs.update(job.name, JobEdit(priority=1), "", VIEWER)


async def test_priority_and_labels_change_with_the_etag_that_was_read(service: JobService) -> None:
    job = await service.create()
    changed = await service.jobs.update(job.name, JobEdit(7, {"a": "b"}), job.etag, ADA)
    assert (changed.priority, changed.labels) == (7, {"a": "b"})
    with pytest.raises(Aborted) as refused:
        await service.jobs.update(job.name, JobEdit(8), job.etag, ADA)
    assert refused.value.metadata == {"etag": changed.etag}
    assert await service.jobs.update(job.name, JobEdit(7), "", ADA) == changed


async def test_a_higher_priority_is_started_first_also_when_it_is_given_later(service: JobService) -> None:
    low, middle, high = [await service.create(priority=priority) for priority in (-10, 0, 0)]
    await service.jobs.update(high.name, JobEdit(1), "", ADA)
    assert [(await service.leased()).job.name for _ in range(3)] == [high.name, middle.name, low.name]


async def test_the_priority_of_what_is_final_cannot_change_and_its_labels_can(service: JobService) -> None:
    job = await service.create()
    await service.jobs.cancel(job.name, ADA)
    with pytest.raises(FailedPrecondition) as refused:
        await service.jobs.update(job.name, JobEdit(priority=1), "", ADA)
    assert refused.value.reason == "JOB_FINAL"
    assert (await service.jobs.update(job.name, JobEdit(labels={"kept": "no"}), "", ADA)).labels == {"kept": "no"}


async def bring(service: JobService, state: JobState) -> tuple[str, Lease | None]:
    """A job in that state."""
    job = await service.create()
    lease = None
    if state is JobState.PAUSED:
        await service.jobs.pause(job.name, ADA)
    elif state is JobState.CANCELLED:
        await service.jobs.cancel(job.name, ADA)
    elif state is not JobState.QUEUED:
        lease = await service.leased()
        if state is JobState.SUCCEEDED:
            await service.release(lease, Outcome.TRAINED)
            await service.reconciler.publish()
        elif state is JobState.FAILED:
            await service.release(lease, Outcome.HOPELESS, reason="X")
    assert (await service.get(job.name)).state is state
    return job.name, lease


@pytest.mark.parametrize("state", JobState)
async def test_j11_pausing_and_resuming_in_every_state(service: JobService, state: JobState) -> None:
    name, lease = await bring(service, state)
    if state in FINAL:
        for decide in (service.jobs.pause, service.jobs.resume):
            with pytest.raises(FailedPrecondition) as refused:
                await decide(name, ADA)
            assert refused.value.reason == "JOB_FINAL"
        return
    paused = await service.jobs.pause(name, ADA)
    assert await service.jobs.pause(name, ADA) == paused
    if lease is not None:
        assert paused.state is JobState.RUNNING
        assert (await service.release(lease, Outcome.STOPPED)).state is JobState.PAUSED
    assert (await service.get(name)).state is JobState.PAUSED
    assert await service.lease() is None
    resumed = await service.jobs.resume(name, ADA)
    assert await service.jobs.resume(name, ADA) == resumed
    assert (await service.leased()).epoch == paused.attempts + 1


@pytest.mark.parametrize("state", JobState)
async def test_j13_cancelling_in_every_state_ends_in_one_final_event(service: JobService, state: JobState) -> None:
    name, lease = await bring(service, state)
    if state in (JobState.SUCCEEDED, JobState.FAILED):
        with pytest.raises(FailedPrecondition):
            await service.jobs.cancel(name, ADA)
    else:
        cancelled = await service.jobs.cancel(name, ADA)
        assert await service.jobs.cancel(name, ADA) == cancelled
        assert cancelled.wanted is Wanted.CANCEL
        if lease is not None:
            assert cancelled.state is JobState.RUNNING
            await service.release(lease, Outcome.STOPPED)
        assert (await service.get(name)).state is JobState.CANCELLED
    assert await service.lease() is None


@pytest.mark.parametrize(("outcome", "first"), [*product(Outcome, ("cancel", "finish"))])
async def test_j13_of_a_cancel_and_a_finish_the_first_to_commit_decides(
    service: JobService, outcome: Outcome, first: str
) -> None:
    name, lease = await bring(service, JobState.RUNNING)
    assert lease is not None

    async def finish() -> None:
        if outcome is Outcome.LAPSED:
            await service.lapse(name)
        else:
            await service.release(lease, outcome, reason="X")

    if first == "cancel":
        await service.jobs.cancel(name, ADA)
        await finish()
    else:
        await finish()
        # What has ended, or has its result, cannot be cancelled any more.
        with suppress(FailedPrecondition):
            await service.jobs.cancel(name, ADA)
    await service.reconciler.publish()
    ended = {Outcome.TRAINED: JobState.SUCCEEDED, Outcome.HOPELESS: JobState.FAILED}
    expected = JobState.CANCELLED if first == "cancel" else ended.get(outcome, JobState.CANCELLED)
    assert (await service.get(name)).state is expected
    assert len(service.catalog.versions) == (expected is JobState.SUCCEEDED)


async def test_a_job_that_is_being_cancelled_cannot_be_called_back(service: JobService) -> None:
    name, _ = await bring(service, JobState.RUNNING)
    await service.jobs.cancel(name, ADA)
    for decide in (service.jobs.pause, service.jobs.resume):
        with pytest.raises(FailedPrecondition):
            await decide(name, ADA)


async def test_a_pause_that_comes_too_late_does_not_hold_up_the_result(service: JobService) -> None:
    name, lease = await bring(service, JobState.RUNNING)
    assert lease is not None
    await service.jobs.pause(name, ADA)
    await service.release(lease, Outcome.TRAINED)
    await service.reconciler.publish()
    assert (await service.get(name)).state is JobState.SUCCEEDED


async def test_a_pause_that_is_taken_back_before_the_trainer_stops_goes_on_at_once(service: JobService) -> None:
    name, lease = await bring(service, JobState.RUNNING)
    assert lease is not None
    await service.jobs.pause(name, ADA)
    await service.jobs.resume(name, ADA)
    await service.release(lease, Outcome.STOPPED)
    assert (await service.leased()).job.name == name


async def test_a_lapsed_lease_of_a_paused_job_leaves_it_paused(service: JobService) -> None:
    name, lease = await bring(service, JobState.RUNNING)
    assert lease is not None
    await service.renew(lease)
    await service.jobs.pause(name, ADA)
    await service.lapse(name)
    assert (await service.get(name)).state is JobState.PAUSED


async def test_a_namespace_queues_as_many_as_it_may_and_others_are_not_touched(sqlite_url: str) -> None:
    async with job_service(sqlite_url, migrated=True, policy=Policy(queued_most=2)) as service:
        first, second = [await service.create("team/a") for _ in range(2)]
        await service.jobs.pause(second.name, ADA)
        with pytest.raises(ResourceExhausted) as refused:
            await service.create("TEAM/b")
        assert refused.value.metadata == {"jobs": "2", "jobs_most": "2"}
        await service.create("ours/a")
        await service.jobs.cancel(first.name, ADA)
        await service.create("team/b")


async def test_a_namespace_runs_as_many_as_it_may_and_the_next_when_one_is_done(sqlite_url: str) -> None:
    async with job_service(sqlite_url, migrated=True, policy=Policy(running_most=2)) as service:
        names = [(await service.create("team/a")).name for _ in range(4)]
        held = [await service.leased() for _ in range(2)]
        assert await service.lease() is None
        await service.queue.put("cpu", {"team": 0.0})
        assert await service.lease() is None
        other = await service.create("ours/a")
        assert (await service.leased()).job.name == other.name
        await service.release(held[0], Outcome.HOPELESS)
        assert (await service.leased()).job.name == names[2]
        assert await service.lease() is None


async def test_room_in_one_class_is_room_in_the_others(sqlite_url: str) -> None:
    async with job_service(sqlite_url, migrated=True, policy=Policy(running_most=1)) as service:
        await service.create("team/a")
        held = await service.leased()
        waiting = await service.create("team/a", resource_class="gpu")
        gpu = Trainer(resource_class="gpu")
        assert await service.lease(gpu) is None
        await service.release(held, Outcome.HOPELESS)
        assert (await service.leased(gpu)).job.name == waiting.name
