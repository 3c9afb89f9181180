"""The agent, with children that follow a script, against a service that keeps the contract."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelzoo.cache import NodeCache
from support.toy_training import ToyJob, ToyTraining, toy_training
from support.training import lease, write_rows
from support.waiting import eventually
from zoo.training.v1 import job_pb2, recipe_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo.training.v1 import trainer_service_pb2_grpc as rpc
from zoo_server.peers import open_peer
from zoo_server.principal import create_signer
from zoo_trainer.agent import Agent
from zoo_trainer.attempt import ChildLimits
from zoo_trainer.fetching import PulledSources
from zoo_trainer.workspace import Workspace

SCRIPTED = (sys.executable, str(Path(__file__).parents[2] / "support" / "scripted_child.py"))
DIGEST = "e" * 64


@dataclass
class Running:
    """An agent at work, and the service that it works for."""

    service: ToyTraining
    agent: Agent
    folder: Path

    async def job(self, *script: Mapping[str, Any], name: str = "job_1") -> ToyJob:
        """Queue a job whose child does this."""
        leased = lease("text-classification", name=name)
        folder = write_rows(self.folder / name, train=script)
        digest = await self.service.push(folder, "zoo", "dataset")
        leased.base.manifest_digest = leased.dataset.manifest_digest = digest
        return self.service.add(leased)

    async def release(self, job: ToyJob) -> pb.ReleaseJobRequest:
        async def released() -> list[pb.ReleaseJobRequest]:
            return job.releases

        return (await eventually(released))[-1]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with (
        toy_training(tmp_path / "services") as service,
        open_peer(service.address, create_signer("x")) as channel,
    ):
        workspace = Workspace(tmp_path / "work", "trainer-1")
        sources = PulledSources(service.artifact, NodeCache(tmp_path / "cache", 2**30))
        limits = ChildLimits(service.artifact, threads=1, memory_bytes=0, heartbeat_s=0.2, command=SCRIPTED)
        registration = pb.RegisterTrainerRequest(
            trainer="trainer-1", resource_class="cpu", recipes=[recipe_pb2.Recipe(name="text-classification")]
        )
        agent = Agent(rpc.TrainerServiceStub(channel), sources, limits, workspace, registration, drain_s=4.0)
        working = asyncio.create_task(agent.run())
        yield Running(service, agent, tmp_path)
        await agent.drain()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        workspace.close()


async def said(job: ToyJob, text: str) -> None:
    async def found() -> bool:
        return text in job.logs

    await eventually(found)


async def is_gone(pid: int) -> None:
    async def gone() -> bool:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            # A zombie that nobody reaps is as dead as can be.
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return True

    await eventually(gone)


def spoken(job: ToyJob) -> list[str]:
    return [event.log.text for event in job.events if event.log.text.startswith("line")]


async def test_events_arrive_once_and_in_order_though_answers_get_lost(running: Running) -> None:
    lines = [f"line {number}" for number in range(50)]
    job = await running.job(*({"say": line} for line in lines), {"checkpoint": 3}, {"train": DIGEST})
    running.service.lose_answers = 3
    release = await running.release(job)
    assert release.outcome == pb.OUTCOME_TRAINED
    assert release.result.manifest_digest == DIGEST
    assert spoken(job) == lines
    assert [checkpoint.step for checkpoint in job.checkpoints] == [3]
    assert running.service.trainers["trainer-1"].recipes


async def test_a_service_that_is_away_for_a_while_costs_nothing(running: Running) -> None:
    job = await running.job({"say": "line 1"}, {"obey": True})
    await said(job, "line 1")
    running.service.away = True

    async def refused() -> bool:
        return running.service.refused >= 3

    await eventually(refused)
    running.service.away = False
    job.wanted = job_pb2.WANTED_PAUSE
    assert (await running.release(job)).outcome == pb.OUTCOME_STOPPED
    assert spoken(job) == ["line 1"]
    assert job.epoch == 1


async def test_whoever_loses_the_lease_loses_the_child_and_all_that_it_started(running: Running) -> None:
    job = await running.job({"spawn": 60}, {"say": "line 1"}, {"hang": True})
    await said(job, "line 1")
    started = next(int(event.log.text) for event in job.events if event.log.text.isdigit())
    job.held = False
    await is_gone(started)
    assert not job.releases
    other = await running.job({"train": DIGEST}, name="job_2")
    assert (await running.release(other)).outcome == pb.OUTCOME_TRAINED


@pytest.mark.parametrize(
    ("wanted", "said"), [(job_pb2.WANTED_PAUSE, "obeys pause"), (job_pb2.WANTED_CANCEL, "obeys cancel")]
)
async def test_what_is_wanted_reaches_the_child(running: Running, wanted: job_pb2.Wanted, said: str) -> None:
    job = await running.job({"obey": True})
    job.wanted = wanted
    assert (await running.release(job)).outcome == pb.OUTCOME_STOPPED
    assert job.logs.endswith(said) or "obeys" not in job.logs  # the order may come before the child


@pytest.mark.parametrize(
    ("end", "words"),
    [({"exit": 137}, "exited with status 137"), ({"kill": signal.SIGKILL}, "SIGKILL, as the system does where memory")],
)
async def test_a_crashed_child_is_an_attempt_with_a_reason(running: Running, end: dict[str, int], words: str) -> None:
    job = await running.job({"print": "the last words"}, end)
    release = await running.release(job)
    assert (release.outcome, release.reason) == (pb.OUTCOME_FAILED, "TRAINER_CRASHED")
    assert words in release.message
    assert "the last words" in job.logs
    other = await running.job({"train": DIGEST}, name="job_2")
    assert (await running.release(other)).outcome == pb.OUTCOME_TRAINED


async def test_draining_yields_the_job(running: Running) -> None:
    job = await running.job({"say": "line 1"}, {"obey": True})
    await said(job, "line 1")
    await running.agent.drain()
    assert job.releases[-1].outcome == pb.OUTCOME_YIELDED
    assert "obeys yield" in job.logs


async def test_a_child_that_does_not_end_in_time_is_killed_and_the_job_yielded(running: Running) -> None:
    job = await running.job({"say": "line 1"}, {"hang": True})
    await said(job, "line 1")
    await running.agent.drain()
    assert job.releases[-1].outcome == pb.OUTCOME_YIELDED


async def test_a_base_that_is_not_there_ends_the_job(running: Running) -> None:
    leased = lease("text-classification")
    job = running.service.add(leased)
    release = await running.release(job)
    assert (release.outcome, release.reason) == (pb.OUTCOME_HOPELESS, "MANIFEST_NOT_FOUND")


async def test_folders_of_dead_agents_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    living = Workspace(tmp_path, "living")
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead" / ".lock").touch()
    Workspace(tmp_path, "new").close()
    assert {path.name for path in tmp_path.iterdir()} == {"living"}
    living.close()
