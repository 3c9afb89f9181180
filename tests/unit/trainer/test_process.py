"""The process `zoo-trainer` with real children: killed, frozen, told to end; its weights are those of a quiet run."""

import asyncio
import hashlib
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from modelzoo.pull import get_manifest
from support.servers import ServerProcess
from support.toy_training import ToyJob, toy_training
from support.trainer_process import children_of, trainer_process
from support.training import attempt, lease
from support.waiting import eventually
from zoo.training.v1 import trainer_service_pb2 as pb

PATIENCE_S = 400.0
SETTINGS = {"learning_rate": 0.003, "checkpoint_steps": 20, "batch_size": 4}
STEPS = 400

pytestmark = pytest.mark.timeout(600)


async def checkpoints(job: ToyJob, more_than: int) -> None:
    async def enough() -> bool:
        return len(job.checkpoints) > more_than

    await eventually(enough, within_s=PATIENCE_S)


async def released(job: ToyJob, count: int) -> pb.ReleaseJobRequest:
    async def done() -> bool:
        return len(job.releases) >= count

    await eventually(done, within_s=PATIENCE_S)
    return job.releases[-1]


def maps_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


async def is_gone(pid: int) -> None:
    async def gone() -> bool:
        with suppress(FileNotFoundError, ProcessLookupError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return True

    await eventually(gone, within_s=PATIENCE_S)


def freeze(trainer: ServerProcess) -> int:
    """Agent and child stand still; the child's process id."""
    (child,) = children_of(trainer.pid)
    for pid in (trainer.pid, child):
        os.kill(pid, signal.SIGSTOP)
    return child


def thaw(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


async def test_a_job_outlives_its_trainers_and_comes_to_the_same_weights(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    leased = lease("text-classification", SETTINGS, steps=STEPS)
    async with toy_training(tmp_path / "services") as service:
        leased.base.manifest_digest = await service.push(encoder, "zoo", "transformers")
        leased.dataset.manifest_digest = await service.push(topic_data, "zoo", "dataset")
        job = service.add(leased)

        with trainer_process(tmp_path / "node", service, "first") as first:
            await checkpoints(job, 1)
            (child,) = children_of(first.pid)
            assert maps_torch(child)
            assert not maps_torch(first.pid)
            first.kill()
            await is_gone(child)
        assert not job.releases
        seen = len(job.checkpoints)
        service.lapse("job_1")

        with trainer_process(tmp_path / "node", service, "second") as second:
            await checkpoints(job, seen)
            frozen = freeze(second)
            seen = len(job.checkpoints)
            service.lapse("job_1")

            with trainer_process(tmp_path / "node", service, "third") as third:
                await checkpoints(job, seen)
                os.kill(third.pid, signal.SIGTERM)
                assert await asyncio.to_thread(third.wait) == 0
            assert job.releases[-1].outcome == pb.OUTCOME_YIELDED
            assert job.checkpoints[-1].step < STEPS
            of_the_frozen = of_epoch(job, 2)

            # It wakes up to a lease that is lost: what it was at is nobody's, and it goes on as one that has no job.
            thaw(second.pid, frozen)
            await is_gone(frozen)
            service.lapse("job_1")
            release = await released(job, 2)
            assert of_epoch(job, 2) == of_the_frozen
        assert (release.outcome, release.epoch) == (pb.OUTCOME_TRAINED, 4), job.logs
        with service.reading() as channel:
            manifest = await asyncio.to_thread(get_manifest, channel, "team", release.result.manifest_digest)
    steps = [checkpoint.step for checkpoint in job.checkpoints]
    assert steps == sorted(set(steps))  # nothing that was kept was trained again
    quiet = attempt(tmp_path, encoder, topic_data, leased)
    assert list(release.result.measured) == list(quiet.release.result.measured)
    weights = manifest.file("model.safetensors")
    assert weights is not None
    assert weights.sha256 == hashlib.sha256((quiet.result / "model.safetensors").read_bytes()).hexdigest()


def of_epoch(job: ToyJob, epoch: int) -> int:
    """How many events of it were taken."""
    return sum(event.epoch == epoch for event in job.events)
