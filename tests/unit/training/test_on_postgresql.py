"""The training service on PostgreSQL: a whole job, through the death of one service, to its version."""

import pytest

from support.training_service import running_training, spec
from support.training_zoo import TrainingZoo
from zoo.training.v1 import event_pb2, job_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_job_outlives_its_service_and_becomes_one_version(zoo: TrainingZoo, postgresql_url: str) -> None:
    wanted = spec("team/on-postgresql", promotion=job_pb2.Promotion(alias="prod"))
    async with running_training(zoo, postgresql_url) as service:
        trainer = await service.trainer()
        job = await service.create(wanted, request_id="r")
        lease = await trainer.lease()
        assert lease is not None
        await trainer.renew(lease, event_pb2.Event(log=event_pb2.Log(text="begun")))
    async with running_training(zoo, postgresql_url) as service:
        assert (await service.create(wanted, request_id="r")).name == job.name
        trainer = await service.trainer()
        assert await trainer.lease() is None
        await trainer.renew(lease, event_pb2.Event(log=event_pb2.Log(text="going on")), first=2)
        await trainer.finish(lease, 0.9)
        await service.publish()
        done = await service.get(job.name)
        assert (done.state, done.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1)
        assert (await zoo.catalog.version("team/on-postgresql@prod")).reference == done.result
        logs = [event.log.text for event in await service.events(job.name) if event.HasField("log")]
        assert logs == ["begun", "going on"]
