"""A sweep on two agents, processes with children of their own, one of which is killed at work."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from support.job_service import LONG_AGO
from support.trainer_process import trainer_process
from support.training_service import TrainingService, running_training
from support.training_zoo import BASE, DATA, TrainingZoo
from support.waiting import eventually
from zoo.training.v1 import job_pb2, sweep_pb2
from zoo.training.v1 import training_service_pb2 as pb
from zoo_artifact.rules import SERVICE as ARTIFACT
from zoo_server.credentials import make_credentials
from zoo_server.principal import Signer
from zoo_training.policy import Policy
from zoo_training.schema import jobs, trainers

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

PATIENCE_S = 500.0
TRIALS = 8
TOY = str(Path(__file__).parents[2] / "support" / "toy_trainer.py")
# The killed agent's job is lapsed by an UPDATE, not by waiting.
POLICY = Policy(round=timedelta(0))


@dataclass(frozen=True, slots=True)
class Services:
    address: str
    artifact: str


async def test_a_sweep_of_eight_trials_outlives_an_agent_and_promotes_the_best(
    zoo: TrainingZoo, tmp_path: Path
) -> None:
    identity = Signer.load(make_credentials(zoo.folder / "secrets").identities["trainer"])
    async with running_training(zoo, f"sqlite:///{tmp_path}/training.db", POLICY) as service:
        at = Services(service.address, zoo.addresses[ARTIFACT])
        # The first one's child trains one job, and hangs in the next.
        hung = tmp_path / "hung"
        with trainer_process(tmp_path / "node", at, "first", identity, (TOY, str(hung))) as first:
            await eventually(lambda: registered(service), within_s=PATIENCE_S)
            name = (await service.ann.CreateSweep(pb.CreateSweepRequest(sweep=sweep()))).sweep.name
            lost = await eventually(lambda: written(hung), within_s=PATIENCE_S)
            with trainer_process(tmp_path / "node", at, "second", identity, (TOY,)):
                await eventually(lambda: both_at_work(service), within_s=PATIENCE_S)
                first.kill()
                await lapse(service, lost)

                async def done() -> sweep_pb2.Sweep | None:
                    await service.publish()
                    answer = (await service.ann.GetSweep(pb.GetSweepRequest(name=name))).sweep
                    return answer if answer.HasField("end_time") else None

                ended = await eventually(done, within_s=PATIENCE_S)
        trials = [await service.get(job) for job in ended.jobs]
        assert len(trials) == TRIALS
        assert {trial.state for trial in trials} == {job_pb2.JOB_STATE_SUCCEEDED}
        assert len({trial.result for trial in trials}) == TRIALS
        assert {trial.name: trial.attempts for trial in trials if trial.attempts > 1} == {lost: 2}
        accuracy = {trial.name: measured(trial) for trial in trials}
        assert accuracy[ended.best] == max(accuracy.values())
        best = next(trial for trial in trials if trial.name == ended.best)
        assert (await zoo.catalog.version("team/swept-by-agents@prod")).reference == best.result


def sweep() -> sweep_pb2.Sweep:
    rates = [10.0**-exponent for exponent in range(2, 2 + TRIALS)]
    wanted = job_pb2.JobSpec(
        base=BASE,
        dataset=DATA,
        output="team/swept-by-agents",
        recipe="text-classification",
        promotion=job_pb2.Promotion(alias="prod", rule=job_pb2.PROMOTION_RULE_ALWAYS),
    )
    choices = {"learning_rate": sweep_pb2.Choices(values=[{"number_value": rate} for rate in rates])}
    return sweep_pb2.Sweep(spec=wanted, choices=choices)


def measured(job: job_pb2.Job) -> float:
    return next(each.after for each in job.measured if each.metric == "accuracy")


async def registered(service: TrainingService) -> bool:
    """An agent has brought its recipes."""
    async with service.database.read() as connection:
        return await connection.scalar(select(trainers.c.name)) is not None


async def written(file: Path) -> str | None:
    return file.read_text() if file.exists() else None


async def both_at_work(service: TrainingService) -> bool:
    """Each of two agents holds a job."""
    holders = select(jobs.c.trainer).where(jobs.c.state == "RUNNING", jobs.c.lease_expires.is_not(None)).distinct()
    async with service.database.read() as connection:
        return len(list(await connection.scalars(holders))) == 2


async def lapse(service: TrainingService, job: str) -> None:
    """The dead agent's lease is over, and so is the wait for the next attempt."""
    async with service.database.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.name == job).values(lease_expires=LONG_AGO))
    await service.upkeep.reconciler.round()
    async with service.database.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.name == job).values(run_after=LONG_AGO))
    await service.upkeep.reconciler.round()
