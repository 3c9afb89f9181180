"""A training that was killed, paused or short of memory comes to the weights of one that was not, to the last bit."""

import dataclasses
import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from support.training import Attempt, FolderPushes, Killed, attempt, lease
from zoo.training.v1 import event_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.recipes import Start, find_recipe
from zoo_trainer.stopping import Order

SETTINGS = {"learning_rate": 0.003, "checkpoint_steps": 3}
STEPS = 12

watched: list[str] | None = None


def watch(event: str, arguments: object) -> None:
    if watched is not None and event == "pickle.find_class":
        watched.append(str(arguments))


sys.addaudithook(watch)


def classify(folder: Path, base: Path, data: Path, settings: Mapping[str, Any] = SETTINGS, **more: Any) -> Attempt:
    leased = lease("text-classification", settings, steps=STEPS)
    return attempt(folder, base, data, leased, **more)


@pytest.fixture(scope="module")
def undisturbed(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    from support.training import topics, write_rows

    folder = tmp_path_factory.mktemp("undisturbed")
    torch.set_num_threads(1)
    data = write_rows(folder / "data", train=topics(96), test=topics(120)[96:])
    return classify(folder, encoder, data)


@pytest.mark.parametrize("seed", range(2))
def test_kills_at_random_steps_change_no_weight(
    encoder: Path, topic_data: Path, tmp_path: Path, undisturbed: Attempt, seed: int
) -> None:
    drawn = random.Random(seed)
    pushes, checkpoint = FolderPushes(tmp_path / "pushed", encoder), None
    kills = 0
    while True:
        events: list[event_pb2.Event] = []
        # Three looks at each step: some kills come before the first checkpoint.
        kill_at = drawn.randrange(2, 20) if kills < 5 else 0
        try:
            last = classify(
                tmp_path, encoder, topic_data, checkpoint=checkpoint, pushes=pushes, events=events, kill_at=kill_at
            )
            break
        except Killed:
            kills += 1
        kept = [event.checkpoint for event in events if event.HasField("checkpoint")]
        checkpoint = pushes.path(kept[-1].manifest_digest) if kept else checkpoint
    assert kills
    assert last.weights() == undisturbed.weights()
    assert last.release.result.measured == undisturbed.release.result.measured


def test_killed_before_the_first_checkpoint_it_begins_again(
    encoder: Path, topic_data: Path, tmp_path: Path, undisturbed: Attempt
) -> None:
    events: list[event_pb2.Event] = []
    with pytest.raises(Killed):
        classify(tmp_path, encoder, topic_data, kill_at=6, events=events)
    assert not any(event.HasField("checkpoint") for event in events)
    assert classify(tmp_path, encoder, topic_data).weights() == undisturbed.weights()


def test_a_pause_makes_a_checkpoint_from_which_it_goes_on(
    encoder: Path, topic_data: Path, tmp_path: Path, undisturbed: Attempt
) -> None:
    paused = classify(tmp_path, encoder, topic_data, order=(1, Order.PAUSE))
    assert paused.release.outcome == pb.OUTCOME_STOPPED
    assert [checkpoint.step for checkpoint in paused.checkpoints] == [3, 4]
    resumed = classify(tmp_path, encoder, topic_data, checkpoint=paused.checkpoint)
    assert "from the checkpoint of step 4" in resumed.logs
    assert resumed.weights() == undisturbed.weights()


def test_an_order_to_yield_keeps_the_work_and_one_to_cancel_does_not(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    yielded = classify(tmp_path, encoder, topic_data, order=(1, Order.YIELD))
    assert (yielded.release.outcome, yielded.checkpoints[-1].step) == (pb.OUTCOME_YIELDED, 4)
    cancelled = classify(tmp_path, encoder, topic_data, order=(1, Order.CANCEL))
    assert (cancelled.release.outcome, cancelled.checkpoints[-1].step) == (pb.OUTCOME_STOPPED, 3)
    never = classify(tmp_path, encoder, topic_data, order=(0, Order.PAUSE))
    assert (never.release.outcome, never.checkpoints) == (pb.OUTCOME_STOPPED, [])


def test_nothing_is_pickled(
    encoder: Path, topic_data: Path, tmp_path: Path, undisturbed: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    global watched

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("torch's own saving pickles")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(torch, "save", refuse)
    watched = []
    try:
        first = classify(tmp_path, encoder, topic_data)
        second = classify(tmp_path, encoder, topic_data, checkpoint=first.checkpoint)
    finally:
        found, watched = watched, None
    assert found == []
    assert second.weights() == undisturbed.weights()
    assert first.checkpoint is not None
    kinds = {file.suffix for file in [*first.checkpoint.iterdir(), *first.result.iterdir()]}
    assert kinds <= {".json", ".safetensors", ".md"}


class Forgetful:
    """A learner for which there is memory for four rows at once."""

    def __init__(self, start: Start[Any]) -> None:
        self._inner = find_recipe("text-classification").start(start)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def loss(self, model: Any, batch: Any) -> Any:
        if len(batch["labels"]) > 4:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 68719476736 bytes.")
        return self._inner.loss(model, batch)


def test_where_memory_ends_fewer_rows_at_once_come_to_the_same_steps(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    forgetful = dataclasses.replace(find_recipe("text-classification"), start=Forgetful)
    short = classify(tmp_path, encoder, topic_data, recipe=forgetful)
    assert "Memory ended with 16 examples at once: from now on 8 at once, 2 times" in short.logs
    assert "from now on 4 at once, 4 times for each step" in short.logs
    portioned = classify(tmp_path, encoder, topic_data, {**SETTINGS, "micro_batch_size": 4})
    assert short.weights() == portioned.weights()
    resumed = classify(tmp_path, encoder, topic_data, checkpoint=short.checkpoint)
    assert resumed.weights() == short.weights()


def test_where_not_one_row_fits_the_attempt_ends_with_out_of_memory(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    class Never(Forgetful):
        def loss(self, model: Any, batch: Any) -> Any:
            raise MemoryError

    hopeless = dataclasses.replace(find_recipe("text-classification"), start=Never)
    ended = classify(tmp_path, encoder, topic_data, recipe=hopeless).release
    assert (ended.outcome, ended.reason) == (pb.OUTCOME_FAILED, "OUT_OF_MEMORY")


@pytest.mark.parametrize(
    ("change", "words"),
    [({"version": 2}, "of version 2"), ({"extra": 1}, "has other fields"), ({"of": {"job": "job_2"}}, "job")],
)
def test_a_checkpoint_that_is_not_this_trainings_is_passed_over(
    encoder: Path, topic_data: Path, tmp_path: Path, undisturbed: Attempt, change: dict[str, Any], words: str
) -> None:
    import shutil

    assert undisturbed.checkpoint is not None
    other = Path(shutil.copytree(undisturbed.checkpoint, tmp_path / "other"))
    record = json.loads((other / "checkpoint.json").read_text())
    (other / "checkpoint.json").write_text(json.dumps({**record, **change}))
    again = classify(tmp_path, encoder, topic_data, checkpoint=other, order=(1, Order.CANCEL))
    assert words in again.logs
    assert "begins again at step 0" in again.logs
    assert again.checkpoints[0].step == 3
