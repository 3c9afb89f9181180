"""What a recipe says that no service takes: the lease holds all the same, and the rest arrives."""

from pathlib import Path

import pytest

from support.training_service import running_training
from support.training_zoo import TrainingZoo
from zoo.training.v1 import event_pb2, job_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.credential import PrincipalFile
from zoo_trainer.renewing import Renewing

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAN, INFINITE = float("nan"), float("inf")


def metrics(step: int, loss: float, **values: float) -> event_pb2.Event:
    return event_pb2.Event(metrics=event_pb2.Metrics(progress=job_pb2.Progress(step=step, loss=loss), values=values))


ODD = (
    metrics(1, 0.5, eval_perplexity=INFINITE, eval_loss=1.0),
    metrics(2, NAN, eval_perplexity=INFINITE, eval_loss=NAN, gradient_norm=2.0),
    metrics(3, 0.4, **{"x" * 65: 1.0}),
    event_pb2.Event(log=event_pb2.Log(text="")),
    event_pb2.Event(checkpoint=job_pb2.Checkpoint(step=1, manifest_digest="none")),
    event_pb2.Event(log=event_pb2.Log(text="the loss became nan")),
)


async def test_values_that_are_no_numbers_are_left_out_and_the_loss_that_is_none_ends_the_job(
    zoo: TrainingZoo, tmp_path: Path
) -> None:
    async with running_training(zoo, f"sqlite:///{tmp_path}/training.db") as service:
        trainer = await service.trainer()
        job = await service.create()
        lease = await trainer.lease()
        assert lease is not None
        renewing = Renewing(trainer.stub, lease, PrincipalFile(tmp_path / "principal"), lambda _: None)
        for event in ODD:
            renewing.add(event)
        release = pb.ReleaseJobRequest(outcome=pb.OUTCOME_HOPELESS, reason="LOSS_NOT_FINITE", message="at step 4")
        await renewing.release(release)
        ended = await service.get(job.name)
        events = await service.events(job.name)
    assert (ended.state, ended.reason) == (job_pb2.JOB_STATE_FAILED, "LOSS_NOT_FINITE")
    values = [dict(event.metrics.values) for event in events if event.HasField("metrics")]
    assert values == [{"eval_loss": 1.0}, {"gradient_norm": 2.0}]
    said = [event.log.text for event in events if event.HasField("log")]
    left_out = "it is left out wherever it is no finite number."
    assert said[:2] == [f"eval_perplexity is inf at step 1: {left_out}", f"eval_loss is nan at step 2: {left_out}"]
    assert [text.startswith("An event that cannot be sent was left out") for text in said[2:]] == [True, True, False]
