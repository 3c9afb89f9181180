"""PostgreSQL and Redis are killed under jobs that wait and that run: what was promised holds when they are back."""

from datetime import timedelta

import pytest

from modelzoo.errors import Unavailable
from support.job_service import LONG_AGO, POLICY, job_service
from support.postgresql import postgresql_server
from support.servers import redis_server
from zoo_store.queue import open_queue
from zoo_training.events import Log, Severity
from zoo_training.job import JobState
from zoo_training.outcomes import Outcome


async def test_jobs_outlive_a_database_and_a_queue_that_were_away_for_longer_than_a_lease() -> None:
    with postgresql_server() as sql, redis_server() as redis:
        async with open_queue(redis.url()) as queue, job_service(sql.url("training"), queue) as service:
            first, second = [await service.create(), await service.create()]
            lease = await service.leased()
            await service.renew(lease, Log(Severity.INFO, "before"))
            sql.kill()
            redis.kill()
            with pytest.raises(Unavailable):
                await service.renew(lease, Log(Severity.INFO, "after"), first=2)
            with pytest.raises(Unavailable):
                await service.create()
            sql.start()
            # As if an hour had passed: nobody could renew, and nobody loses a lease for it.
            await service.set_times(first.name, lease_expires=LONG_AGO)
            await service.let_no_round_come_for(POLICY.lease + timedelta(hours=1))
            redis.start()
            await service.reconciler.round()
            await service.renew(lease, Log(Severity.INFO, "after"), first=2)
            assert (await service.leased()).job.name == second.name
            await service.release(lease, Outcome.TRAINED)
            await service.reconciler.publish()
            done = await service.get(first.name)
            assert (done.state, done.attempts) == (JobState.SUCCEEDED, 1)
            said = [event.body.text async for event in service.events(first.name) if isinstance(event.body, Log)]
            assert said == ["before", "after"]
