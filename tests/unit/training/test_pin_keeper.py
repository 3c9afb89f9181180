"""The keeper of pins, against an artifact service that forgets: what jobs need comes back, and nothing else stays."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from sqlalchemy import delete, update

from support.training_service import TrainingService, running_training
from support.training_zoo import BASE, TrainingZoo
from zoo.artifact.v1 import upkeep_service_pb2 as upkeep_pb
from zoo.artifact.v1 import upkeep_service_pb2_grpc as upkeep_rpc
from zoo.training.v1 import event_pb2, job_pb2
from zoo.training.v1 import training_service_pb2 as pb
from zoo_training.pin_keeper import PinKeeper
from zoo_training.pins import Pin, PinRole, Pins
from zoo_training.schema import pins

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(zoo: TrainingZoo) -> AsyncIterator[TrainingService]:
    async with running_training(zoo) as running:
        yield running


@pytest.fixture
def keeper(service: TrainingService) -> PinKeeper:
    """As after a restart."""
    return PinKeeper(service.database, service.zoo.artifacts, Pins(service.database, service.zoo.artifacts), 3600)


async def checkpointed(service: TrainingService) -> job_pb2.Job:
    """A job that runs, with a checkpoint."""
    job = await service.create()
    trainer = await service.trainer()
    lease = await trainer.lease()
    assert lease is not None
    digest = await trainer.as_job(lease.principal).push({"a": job.name.encode()})
    await trainer.renew(lease, event_pb2.Event(checkpoint=job_pb2.Checkpoint(step=1, manifest_digest=digest)))
    return job


async def end(service: TrainingService, job: job_pb2.Job) -> None:
    """Its lease lapses after it was cancelled."""
    await service.ann.CancelJob(pb.CancelJobRequest(name=job.name))
    async with service.database.write() as connection:
        await connection.exec_driver_sql("UPDATE jobs SET lease_expires = 1 WHERE state = 'RUNNING'")
    await service.upkeep.reconciler.end_lapsed()


def of(service: TrainingService, job: job_pb2.Job) -> set[str]:
    """What is pinned for the job."""
    prefix = f"training:{job.name}/"
    return {holder.removeprefix(prefix) for _, _, holder in service.zoo.pins() if holder.startswith(prefix)}


ALL = {"base", "dataset", "checkpoint"}


async def test_everything_is_pinned_again_in_a_new_index_and_confirmed(
    service: TrainingService, keeper: PinKeeper
) -> None:
    await service.trainer()
    job = await checkpointed(service)
    await keeper.look()
    service.zoo.forget_pins()
    await keeper.look()
    # Nothing says yet that the index is another one.
    assert of(service, job) == set()
    upkeep = upkeep_rpc.UpkeepServiceStub(service.zoo.channel)
    rebuild = upkeep.RebuildIndex(upkeep_pb.RebuildIndexRequest(), metadata=service.zoo.metadata())
    assert [answer.done async for answer in rebuild][-1]
    await keeper.look()
    assert of(service, job) == ALL
    sweeping = await upkeep.GetSweeping(upkeep_pb.GetSweepingRequest(), metadata=service.zoo.metadata())
    assert list(sweeping.sweeping.awaited_holders) == ["service:catalog"]
    await end(service, job)
    await keeper.look()
    assert of(service, job) == set()


async def test_what_its_row_says_is_pinned_though_nobody_came_to_write_it_down(
    service: TrainingService, keeper: PinKeeper
) -> None:
    await service.trainer()
    job = await checkpointed(service)
    async with service.database.write() as connection:
        await connection.execute(delete(pins).where(pins.c.job == job.name))
    digest = (await service.get(job.name)).checkpoint.manifest_digest
    await service.zoo.artifacts.unpin("team", digest, f"training:{job.name}/checkpoint")
    assert of(service, job) == {"base", "dataset"}
    await keeper.look()
    assert of(service, job) == ALL
    await end(service, job)


async def test_pins_of_jobs_that_were_never_queued_are_let_go_of(service: TrainingService, keeper: PinKeeper) -> None:
    base = await service.zoo.catalog.version(BASE)
    unborn = Pin("job_unborn", PinRole.BASE, base.namespace, base.manifest_digest)
    await Pins(service.database, service.zoo.artifacts).hold([unborn])
    await keeper.look()
    assert of(service, job_pb2.Job(name="job_unborn")) == {"base"}
    async with service.database.write() as connection:
        await connection.execute(update(pins).where(pins.c.job == "job_unborn").values(create_time=LONG_AGO))
    await keeper.look()
    assert of(service, job_pb2.Job(name="job_unborn")) == set()
