"""Checkpoints that are pushed while training goes on."""

import errno
import json
import random
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelzoo.attempts import Attempts
from modelzoo.errors import Unavailable
from support.training import AtOnce, Attempt, FolderPushes, attempt, lease
from zoo.training.v1 import event_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer import loop
from zoo_trainer.keeping import Pushed
from zoo_trainer.stopping import Order

STEPS = 12
PATIENCE_S = 60.0


def one_thread() -> Executor:
    return ThreadPoolExecutor(1)


def classify(
    folder: Path,
    base: Path,
    data: Path,
    settings: dict[str, Any],
    *,
    steps: int = STEPS,
    beside: Callable[[], Executor] = one_thread,
    **more: Any,
) -> Attempt:
    leased = lease("text-classification", {"learning_rate": 0.003, **settings}, steps=steps)
    return attempt(folder, base, data, leased, beside=beside, **more)


class Heard(list[event_pb2.Event]):
    """Says when the last step was done."""

    def __init__(self, last: int = STEPS) -> None:
        super().__init__()
        self._last = last
        self.all_done = threading.Event()

    def append(self, event: event_pb2.Event, /) -> None:
        super().append(event)
        if event.metrics.progress.step == self._last:
            self.all_done.set()


class Slow(FolderPushes):
    """A store that takes a checkpoint when training is over, and no sooner."""

    def __init__(self, folder: Path, base: Path, training: Heard) -> None:
        super().__init__(folder, base)
        self._training = training

    def push(self, folder: Path, format: str) -> Pushed:
        if not self._training.all_done.wait(PATIENCE_S):
            raise TimeoutError
        return super().push(folder, format)


class Slower(FolderPushes):
    """Takes longer than a step."""

    def push(self, folder: Path, format: str) -> Pushed:
        threading.Event().wait(0.1)
        return super().push(folder, format)


class Full(FolderPushes):
    def push(self, folder: Path, format: str) -> Pushed:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_no_step_waits_for_a_checkpoint_that_is_on_its_way(encoder: Path, topic_data: Path, tmp_path: Path) -> None:
    heard = Heard()
    pushes = Slow(tmp_path / "pushed", encoder, heard)
    done = classify(tmp_path, encoder, topic_data, {"checkpoint_steps": 7}, events=heard, pushes=pushes)
    assert done.release.outcome == pb.OUTCOME_TRAINED, done.release
    assert [checkpoint.step for checkpoint in done.checkpoints] == [7]
    assert heard.index(next(each for each in heard if each.HasField("checkpoint"))) > heard.index(
        next(each for each in heard if each.metrics.progress.step == STEPS)
    )


def test_by_the_clock_none_is_begun_while_another_is_on_its_way(
    encoder: Path, topic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_S", 0.0)
    heard = Heard()
    done = classify(tmp_path, encoder, topic_data, {}, events=heard, pushes=Slow(tmp_path / "pushed", encoder, heard))
    assert done.release.outcome == pb.OUTCOME_TRAINED, done.release
    assert [checkpoint.step for checkpoint in done.checkpoints] == [1]


def test_each_is_of_its_step_and_changes_nothing_of_the_training(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    """As it would where a folder went, or a standing moved on, before it was pushed."""
    settings = {"checkpoint_steps": 1}
    waited = classify(tmp_path / "waited", encoder, topic_data, settings, beside=AtOnce)
    slower = Slower(tmp_path / "pushed", encoder)
    beside = classify(tmp_path / "beside", encoder, topic_data, settings, pushes=slower)
    assert beside.weights() == waited.weights()
    assert [checkpoint.step for checkpoint in beside.checkpoints] == list(range(1, STEPS))
    for checkpoint in beside.checkpoints:
        record = json.loads((beside.pushes.path(checkpoint.manifest_digest) / "checkpoint.json").read_bytes())
        assert record["step"] == checkpoint.step


@pytest.mark.parametrize("order", [Order.PAUSE, Order.YIELD])
def test_the_one_before_an_ordered_end_is_kept_before_the_end_is_told(
    order: Order, encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    """The checkpoint of the order, for which there is no later step to tell of it."""
    stopped = classify(tmp_path, encoder, topic_data, {"checkpoint_steps": 5}, order=(1, order))
    assert stopped.release.outcome in (pb.OUTCOME_STOPPED, pb.OUTCOME_YIELDED)
    kept = stopped.checkpoints[-1].step
    resumed = classify(tmp_path, encoder, topic_data, {"checkpoint_steps": 5}, checkpoint=stopped.checkpoint)
    undisturbed = classify(tmp_path, encoder, topic_data, {"checkpoint_steps": 5})
    assert f"from the checkpoint of step {kept}" in resumed.logs
    assert kept >= 5
    assert resumed.weights() == undisturbed.weights()


def test_one_that_cannot_be_kept_ends_the_training_long_before_its_last_step(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    heard = Heard(last=5000)
    full = Full(tmp_path / "pushed")
    ended = classify(tmp_path, encoder, topic_data, {"checkpoint_steps": 3}, steps=5000, events=heard, pushes=full)
    assert (ended.release.outcome, ended.release.reason) == (pb.OUTCOME_FAILED, "DISK_FULL")
    assert not heard.all_done.is_set()


def test_of_the_last_one_a_failed_training_says_whether_it_is_kept(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    settings = {"learning_rate": 1000, "weight_decay": 1, "gradient_norm": 0, "checkpoint_steps": 1, "warmup": 0}
    ended = classify(tmp_path, encoder, topic_data, settings, steps=200)
    assert ended.release.reason == "LOSS_NOT_FINITE"
    assert f"of step {ended.checkpoints[-1].step}, is kept" in ended.release.message


class WhenWaitedFor(Executor):
    """Does nothing of what is submitted before somebody waits for it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        class Later(Future[Any]):
            def result(self, timeout: float | None = None) -> Any:
                return fn(*args, **kwargs)

        return Later()


def test_what_training_failed_of_is_told_although_its_last_checkpoint_failed_too(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    """Or a training that cannot succeed would be tried again for a disk that was full."""
    settings = {"learning_rate": 1000, "weight_decay": 1, "gradient_norm": 0, "warmup": 0}
    each = classify(tmp_path, encoder, topic_data, {**settings, "checkpoint_steps": 1}, steps=200, beside=AtOnce)
    last = {**settings, "checkpoint_steps": each.checkpoints[-1].step}
    full = Full(tmp_path / "pushed")
    ended = classify(tmp_path, encoder, topic_data, last, steps=200, pushes=full, beside=WhenWaitedFor)
    assert (ended.release.outcome, ended.release.reason) == (pb.OUTCOME_HOPELESS, "LOSS_NOT_FINITE")
    assert "There was no checkpoint yet" in ended.release.message
    assert "The last checkpoint could not be kept: [Errno 28]" in ended.logs


def test_a_network_that_fails_changes_nothing_of_what_a_training_draws() -> None:
    """Or a training whose checkpoint was sent twice would differ from one whose was not."""
    before = random.getstate()
    Attempts(threading.Event()).pause_s(Unavailable("UNAVAILABLE", "away"))
    assert random.getstate() == before
