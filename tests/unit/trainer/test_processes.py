"""The process `zoo-trainer` with a job of two processes: one is killed, the agent is told to end, another is killed;
nothing is left behind."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from support.servers import ServerProcess
from support.toy_training import ToyJob, toy_training
from support.trainer_process import children_of, trainer_process
from support.training import lease
from support.waiting import eventually
from zoo.training.v1 import trainer_service_pb2 as pb

PATIENCE_S = 180.0
SETTINGS = {"learning_rate": 0.003, "checkpoint_steps": 20, "batch_size": 4}


async def checkpoints(job: ToyJob, more_than: int) -> int:
    async def enough() -> bool:
        return len(job.checkpoints) > more_than

    await eventually(enough, within_s=PATIENCE_S)
    return len(job.checkpoints)


async def is_gone(pid: int) -> None:
    async def gone() -> bool:
        with suppress(FileNotFoundError, ProcessLookupError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return True

    await eventually(gone, within_s=PATIENCE_S)


async def both_of(trainer: ServerProcess) -> list[int]:
    """The processes of its job, as soon as both have begun."""

    async def begun() -> list[int]:
        first = children_of(trainer.pid)
        with suppress(FileNotFoundError):
            return [*first, *(second for pid in first for second in children_of(pid))]
        return []

    async def two() -> list[int] | None:
        pids = await begun()
        return pids if len(pids) == 2 else None

    return await eventually(two, within_s=PATIENCE_S)


async def test_a_process_that_dies_ends_the_attempt_and_all_end_with_the_agent(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    leased = lease("text-classification", SETTINGS, steps=100_000)
    leased.job.spec.processes = 2
    async with toy_training(tmp_path / "services") as service:
        leased.base.manifest_digest = await service.push(encoder, "zoo", "transformers")
        leased.dataset.manifest_digest = await service.push(topic_data, "zoo", "dataset")
        job = service.add(leased)
        with trainer_process(tmp_path / "node", service, ZOO_PROCESSES="2", ZOO_THREADS="2") as trainer:
            await checkpoints(job, 0)
            first, second = await both_of(trainer)
            os.kill(second, signal.SIGKILL)

            async def released() -> list[pb.ReleaseJobRequest]:
                return job.releases

            (release,) = await eventually(released, within_s=PATIENCE_S)
            assert (release.outcome, release.reason) == (pb.OUTCOME_FAILED, "PROCESS_LOST"), release
            assert "Process 2 of 2 was killed by SIGKILL" in release.message
            await is_gone(first)

            seen = len(job.checkpoints)  # there may be more of them than when it was killed
            service.lapse("job_1")
            await checkpoints(job, seen)
            assert f"from the checkpoint of step {job.checkpoints[seen - 1].step}" in job.logs
            first, second = await both_of(trainer)
            os.kill(trainer.pid, signal.SIGTERM)
            assert await asyncio.to_thread(trainer.wait) == 0
            assert job.releases[-1].outcome == pb.OUTCOME_YIELDED
            assert job.checkpoints[-1].step == job.steps[-1]  # up to the end, not of some steps ago
            await is_gone(first)
            await is_gone(second)

        service.lapse("job_1")
        with trainer_process(tmp_path / "node", service, "killed", ZOO_PROCESSES="2") as trainer:
            first, second = await both_of(trainer)
            trainer.kill()
            await is_gone(first)
            await is_gone(second)
    assert service.trainers[job.host].processes == 2
    steps = [checkpoint.step for checkpoint in job.checkpoints]
    assert steps == sorted(set(steps))
