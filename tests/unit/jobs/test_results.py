"""Results: what was trained becomes a version once, and only by the epoch that trained it."""

import pytest

from modelzoo.errors import Aborted
from support.job_service import JobService
from zoo_training.job import JobState
from zoo_training.outcomes import Outcome


async def test_only_the_epoch_that_trained_a_job_publishes_it_and_repeating_changes_nothing(
    service: JobService,
) -> None:
    job = await service.create()
    await service.lapse((await service.leased()).job.name)
    await service.let_backoff_pass(job.name)
    lease = await service.leased()
    with pytest.raises(Aborted):
        await service.results.succeed(job.name, lease.epoch, "team/topics@1")  # nothing is trained yet
    await service.release(lease, Outcome.TRAINED)
    with pytest.raises(Aborted):
        await service.results.succeed(job.name, lease.epoch - 1, "team/topics@1")
    await service.reconciler.publish()
    done = await service.get(job.name)
    again = await service.results.succeed(job.name, lease.epoch, done.result)
    assert (again.state, again.last_sequence) == (JobState.SUCCEEDED, done.last_sequence)
    with pytest.raises(Aborted):
        await service.results.succeed(job.name, lease.epoch, "team/topics@2")
