"""Trainers of two releases at once: a job is trained by one that describes its recipe as the job was checked by it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from support.training_service import TrainingService, running_training, spec
from support.training_zoo import CLASSIFICATION, TrainingZoo
from zoo.training.v1 import job_pb2
from zoo.training.v1 import training_service_pb2 as pb
from zoo_training.recipe import Parameter, ParameterKind
from zoo_training.recipes import GONE_AFTER
from zoo_training.schema import trainers

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOMENTUM = Parameter("momentum", ParameterKind.NUMBER, "Of a later release.", 0.9, 0.0, 1.0)
NEWER = replace(CLASSIFICATION, parameters=(*CLASSIFICATION.parameters, MOMENTUM))
STRICTER = replace(CLASSIFICATION, parameters=tuple(p for p in CLASSIFICATION.parameters if p.name != "warmup"))


@pytest_asyncio.fixture(loop_scope="module")
async def service(zoo: TrainingZoo, tmp_path: Path) -> AsyncIterator[TrainingService]:
    async with running_training(zoo, f"sqlite:///{tmp_path}/training.db") as service:
        yield service


async def gone(service: TrainingService, name: str) -> None:
    """As where nobody has heard of the trainer for a while."""
    async with service.database.write() as connection:
        seen = await connection.scalar(select(trainers.c.seen_time).where(trainers.c.name == name))
        await connection.execute(update(trainers).where(trainers.c.name == name).values(seen_time=seen - GONE_AFTER))


async def test_whoever_describes_it_otherwise_does_not_get_the_job(service: TrainingService) -> None:
    old = await service.trainer()
    before = await service.create(spec("team/before"))
    new = await service.trainer((NEWER,))
    assert await new.lease() is None
    wanted = spec("team/after")
    wanted.parameters.update({"momentum": 0.5})
    after = await service.create(wanted)
    assert after.spec.parameters["momentum"] == 0.5
    for trainer, job in ((old, before), (new, after)):
        lease = await trainer.lease()
        assert lease is not None
        assert lease.job.name == job.name
        assert await trainer.lease() is None


async def test_what_its_trainers_left_behind_goes_on_with_the_new_ones(service: TrainingService) -> None:
    old = await service.trainer()
    job = await service.create()
    new = await service.trainer((NEWER,))
    await service.upkeep.redescribing.look()
    assert await new.lease() is None
    await gone(service, old.name)
    for _ in range(2):
        await service.upkeep.redescribing.look()
    said = [event.state.message for event in await service.events(job.name) if "replaced" in event.state.message]
    assert len(said) == 1
    assert (await new.work(0.9)).job.name == job.name
    await service.publish()
    assert (await service.get(job.name)).state == job_pb2.JOB_STATE_SUCCEEDED


async def test_what_the_new_ones_would_refuse_fails_and_says_why(service: TrainingService) -> None:
    old = await service.trainer()
    job = await service.create()
    await service.trainer((STRICTER,))
    await gone(service, old.name)
    await service.upkeep.redescribing.look()
    failed = await service.get(job.name)
    assert (failed.state, failed.reason) == (job_pb2.JOB_STATE_FAILED, "PARAMETER_UNKNOWN")
    assert "no parameter 'warmup'" in failed.message


async def test_what_has_no_trainer_at_all_waits(service: TrainingService) -> None:
    old = await service.trainer()
    job = await service.create()
    await gone(service, old.name)
    await service.upkeep.redescribing.look()
    assert (await service.get(job.name)).state == job_pb2.JOB_STATE_QUEUED
    back = await service.trainer()
    lease = await back.lease()
    assert lease is not None
    await service.ann.CancelJob(pb.CancelJobRequest(name=job.name))
