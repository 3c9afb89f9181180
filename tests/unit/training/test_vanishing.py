"""Base and dataset that vanish while their job waits: what is pinned stays, and a version is published all the same."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.training_service import TrainingService, running_training, spec
from support.training_zoo import CONFIG, ROWS, TrainingZoo
from zoo.catalog.v1 import catalog_service_pb2 as catalog_pb
from zoo.training.v1 import job_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def service(zoo: TrainingZoo, tmp_path: Path) -> AsyncIterator[TrainingService]:
    async with running_training(zoo, f"sqlite:///{tmp_path}/training.db") as service:
        yield service


async def test_deleted_while_queued_they_are_trained_with_and_named_all_the_same(
    service: TrainingService, zoo: TrainingZoo
) -> None:
    trainer = await service.trainer()
    await zoo.model("team/base")
    await zoo.publish("team/base", {"config.json": CONFIG, "weights.bin": b"others"})
    await zoo.publish_dataset("team/rows", {"train.jsonl": ROWS + b'{"text": "more", "label": "l1"}\n'})
    wanted = spec("team/vanishing")
    wanted.base, wanted.dataset = "team/base", "team/rows"
    job = await service.create(wanted)
    for model in ("team/base", "team/rows"):
        await zoo.admin.DeleteVersion(catalog_pb.DeleteVersionRequest(model=model, version=1))
        await zoo.admin.PurgeVersion(catalog_pb.PurgeVersionRequest(model=model, version=1))
    lease = await trainer.lease()
    assert lease is not None
    for source in (lease.base, lease.dataset):
        assert await trainer.as_job(lease.principal).get(source.manifest_digest, "team")
    await trainer.finish(lease, 0.9)
    await service.publish()
    done = await service.get(job.name)
    assert (done.state, done.result) == (job_pb2.JOB_STATE_SUCCEEDED, "team/vanishing@1")
