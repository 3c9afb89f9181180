"""A job on a Ray cluster of two workers, with the real training service: paused, and one of them killed, at work."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.job_log import check_job_log
from support.ray_server import ray_cluster
from support.servers import free_ports, new_folder
from support.tiny_models import tiny_sentence_encoder
from support.trainer_process import trainer_process
from support.training import lease, topics, write_rows
from support.training_service import TrainingService, running_training
from support.training_zoo import training_zoo
from support.waiting import eventually
from zoo.catalog.v1 import catalog_service_pb2 as catalog_pb
from zoo.training.v1 import event_pb2, job_pb2, trainer_service_pb2
from zoo.training.v1 import training_service_pb2 as pb
from zoo_artifact.rules import SERVICE as ARTIFACT
from zoo_server.principal import Signer
from zoo_trainer.child_process import ChildProcess
from zoo_trainer.ray_cluster import ray_command
from zoo_trainer.settings import Settings
from zoo_trainer.stopping import Order
from zoo_trainer.task import Place, Task, write_task
from zoo_training.policy import Policy

PATIENCE_S = 300.0
STEPS, CHECKPOINT_STEPS = 300, 10  # so many that it is still at work when an order comes, some seconds later
QUICKLY = Policy(backoff_first=timedelta(milliseconds=10))


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[TrainingService]:
    """With a trainer that has a cluster, and something to train."""
    async with AsyncExitStack() as stack:
        address = stack.enter_context(ray_cluster(stack.enter_context(new_folder("ray-"))))
        zoo = await stack.enter_async_context(training_zoo(tmp_path))
        running = await stack.enter_async_context(running_training(zoo, policy=QUICKLY))
        base = tiny_sentence_encoder(tmp_path / "encoder")
        data = write_rows(tmp_path / "data", train=topics(96), test=topics(120)[96:])
        await zoo.publish_folder("zoo/encoder", base)
        await zoo.publish_folder("zoo/words", data, "dataset")
        services = SimpleNamespace(address=running.address, artifact=zoo.addresses[ARTIFACT])
        identity = Signer.load(tmp_path / "secrets" / "trainer.json")
        settings = {"ZOO_RAY_ADDRESS": address, "ZOO_PROCESSES": "2"}
        stack.enter_context(trainer_process(tmp_path / "node", services, identity=identity, **settings))
        yield running


def ray_workers() -> list[int]:
    """Process ids of Ray's training processes."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and b"RayTrainWorker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return sorted(found)


@pytest.mark.timeout(900)  # two starts of Ray's processes, which a busy machine makes long
async def test_a_job_on_ray_goes_on_from_its_checkpoint_after_a_pause_and_after_a_worker_was_killed(
    service: TrainingService, tmp_path: Path
) -> None:
    async def offered() -> bool:
        found = (await service.ann.ListRecipes(pb.ListRecipesRequest())).recipes
        return any("ray" in recipe.executors for recipe in found)

    await eventually(offered, within_s=PATIENCE_S)
    spec = job_pb2.JobSpec(
        base="zoo/encoder", dataset="zoo/words", output="team/out", recipe="text-classification", executor="ray",
        processes=2, budget=job_pb2.Budget(steps=STEPS),
    )  # fmt: skip
    spec.parameters.update({"learning_rate": 0.005, "checkpoint_steps": CHECKPOINT_STEPS})
    name = (await service.create(spec)).name

    async def kept_after(step: int) -> int:
        await service.upkeep.reconciler.offer_all()
        kept = (await service.get(name)).checkpoint.step
        return kept if kept > step else 0

    async def paused() -> int:
        job = await service.get(name)
        return job.checkpoint.step if job.state == job_pb2.JOB_STATE_PAUSED else 0

    await eventually(lambda: kept_after(0), within_s=PATIENCE_S)
    await service.ann.PauseJob(pb.PauseJobRequest(name=name))
    step = await eventually(paused, within_s=PATIENCE_S)
    assert step < STEPS

    async def gone() -> bool:
        return not ray_workers()

    await eventually(gone, within_s=PATIENCE_S)
    await service.ann.ResumeJob(pb.ResumeJobRequest(name=name))
    await eventually(lambda: kept_after(step), within_s=PATIENCE_S)
    workers = ray_workers()
    assert len(workers) == 2
    os.kill(workers[-1], signal.SIGKILL)

    async def done() -> job_pb2.Job | None:
        await service.upkeep.reconciler.offer_all()
        await service.publish()
        job = await service.get(name)
        return job if job.HasField("end_time") else None

    job = await eventually(done, within_s=PATIENCE_S)
    logs = "\n".join(event.log.text for event in await service.events(name))
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, (job.reason, job.message, logs)
    assert job.attempts == 3
    assert f"Training from the checkpoint of step {step}:" in logs
    ended = [event.state for event in await service.events(name) if event.state.reason == "PROCESS_LOST"]
    assert "on the Ray cluster is gone" in ended[0].message
    await check_job_log(service.database, {name: [job.result]})
    accuracy = next(each for each in job.measured if each.metric == "accuracy")
    assert accuracy.after > 0.8 > 0.6 > accuracy.majority
    version = (await service.zoo.admin.GetVersion(catalog_pb.GetVersionRequest(reference=job.result))).version
    assert version.facts.task == "text-classification"
    assert not ray_workers()
    assert not [path for path in (tmp_path / "node" / "work").iterdir() if path.name.startswith("rank-")]


async def driver(folder: Path, address: str) -> ChildProcess:
    """That of a job which lies in the folder, for the cluster at the address."""
    write_task(Task(lease("text-classification"), Place("", "", "", "", 1, 0), folder))
    settings = Settings(
        trust=folder, identity=folder, training="", artifact="", cache_dir=folder, work_dir=folder, ray_address=address
    )
    return await ChildProcess.start(ray_command(settings), folder, threads=1)


async def end_of(child: ChildProcess) -> trainer_service_pb2.ReleaseJobRequest:
    said = [message async for message in child.messages() if not isinstance(message, event_pb2.Event)]
    await child.wait()
    assert len(said) == 1, child.said()
    return said[0]


async def test_where_there_is_no_cluster_the_attempt_says_what_to_look_for(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    end = await end_of(await driver(tmp_path, address))
    assert (end.outcome, end.reason) == (trainer_service_pb2.OUTCOME_FAILED, "RAY_UNAVAILABLE")
    assert address in end.message
    assert "See that the cluster is there" in end.message
    assert "ConnectionRefusedError" in end.message


@pytest.mark.parametrize(("order", "outcome"), [(Order.CANCEL, "OUTCOME_STOPPED"), (Order.YIELD, "OUTCOME_YIELDED")])
async def test_orders_are_heard_while_a_cluster_does_not_answer(order: Order, outcome: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        child = await driver(tmp_path, "{}:{}".format(*silent.getsockname()))
        await asyncio.to_thread(lambda: silent.accept()[0].close())
        child.tell(order)
        end = await end_of(child)
    assert trainer_service_pb2.Outcome.Name(end.outcome) == outcome
