"""The order in which rows are learned from: each once in an epoch, the same steps however they are cut."""

import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from zoo.training.v1 import job_pb2
from zoo_trainer.drawing import EpochLoader, open_loader
from zoo_trainer.evaluation import Measurement
from zoo_trainer.plan import make_plan
from zoo_trainer.ranks import Ranks
from zoo_trainer.recipes.settings import TrainingSettings

BATCH = 8
ROWS = 45 * BATCH + 3


class Rows:
    """A learner of numbers, whose sizes they are."""

    is_adapter = False

    def __init__(self, sizes: Sequence[int] | None) -> None:
        self.model = nn.Linear(1, 1)
        self.rows: Sequence[Any] = [n * 7919 % ROWS for n in range(ROWS)]
        if sizes is not None:
            self.sizes = sizes

    def encode(self, row: Any, generator: torch.Generator) -> Any:
        return row

    def collate(self, examples: Sequence[Any]) -> dict[str, Any]:
        return {"rows": list(examples)}

    def items(self, batch: Any) -> int:
        return len(batch["rows"])

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor: ...

    def measure(self, rows: Any, batch_size: int, orders: Any) -> Measurement: ...

    def save(self, folder: Any) -> None: ...


def steps(learner: Rows, micro_batch: int = 0, epoch: int = 0, seed: int = 5) -> list[list[int]]:
    settings = TrainingSettings(batch_size=BATCH, micro_batch_size=micro_batch)
    loader = open_loader(learner, make_plan(settings, job_pb2.Budget(epochs=2), ROWS, seed), Ranks())
    loader.set_epoch(epoch)
    drawn = [row for batch in loader for row in batch["rows"]]
    return [drawn[start : start + BATCH] for start in range(0, ROWS, BATCH)]


class Drawing(Rows):
    def encode(self, row: Any, generator: torch.Generator) -> Any:
        return torch.rand((), generator=generator, dtype=torch.float64).item()


def draws(seed: int, epoch: int) -> list[float]:
    """What the rows draw."""
    return sorted(each for step in steps(Drawing(None), epoch=epoch, seed=seed) for each in step)


def spread(found: list[list[int]]) -> float:
    return sum(max(step) - min(step) for step in found) / len(found)


@pytest.mark.parametrize("is_sorted", [False, True])
def test_an_epoch_has_each_row_once_in_an_order_of_its_own_however_steps_are_cut(is_sorted: bool) -> None:
    rows = Rows(None)
    learner = Rows(list(rows.rows)) if is_sorted else rows
    found = steps(learner)
    assert sorted(row for step in found for row in step) == list(range(ROWS))
    assert steps(learner, micro_batch=2) == found
    assert steps(learner, epoch=1) != found
    assert steps(learner, seed=6) != found


def test_what_a_row_draws_is_another_in_each_epoch_and_for_each_seed() -> None:
    drawn = {tuple(draws(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}
    assert len(drawn) == 4
    assert draws(1, 0) == draws(1, 0)
    assert len(set(draws(1, 0))) == ROWS


def test_rows_of_like_size_are_learned_from_together_and_steps_stay_mixed() -> None:
    mixed = steps(Rows(None))
    alike = steps(Rows(list(Rows(None).rows)))
    assert spread(alike) < spread(mixed) / 5
    middles = [sum(step) / len(step) for step in alike]
    assert sum(one > other for one, other in pairwise(middles)) > len(middles) / 4


def opened(learner: Rows) -> EpochLoader:
    return open_loader(
        learner, make_plan(TrainingSettings(batch_size=BATCH), job_pb2.Budget(epochs=1), ROWS, 5), Ranks()
    )


class Watched(Rows):
    """Says when more than the first batch was drawn."""

    def __init__(self) -> None:
        super().__init__(None)
        self.count = 0
        self.more = threading.Event()

    def encode(self, row: Any, generator: torch.Generator) -> Any:
        self.count += 1
        if self.count > BATCH:
            self.more.set()
        return row


def test_a_batch_is_drawn_while_the_one_before_is_computed() -> None:
    learner = Watched()
    batches = iter(opened(learner))
    next(batches)
    assert learner.more.wait(30)


class Held(Rows):
    """Once more than the first batch is asked for, waits until it may go on."""

    def __init__(self) -> None:
        super().__init__(None)
        self.count = 0
        self.is_at_work = threading.Event()
        self.may_go_on = threading.Event()

    def encode(self, row: Any, generator: torch.Generator) -> Any:
        self.count += 1
        if self.count > BATCH:
            self.is_at_work.set()
            assert self.may_go_on.wait(30)
        return row


def test_a_loader_does_not_rest_before_what_it_draws_is_drawn() -> None:
    """Or the same tokenizer would be used twice at once, which it refuses."""
    learner, rests = Held(), threading.Event()
    loader = opened(learner)
    batches = iter(loader)
    next(batches)
    assert learner.is_at_work.wait(30)

    def rest() -> None:
        with loader.resting():
            rests.set()

    resting = threading.Thread(target=rest)
    resting.start()
    assert not rests.wait(0.2)
    learner.may_go_on.set()
    assert rests.wait(30)
    resting.join()


def test_what_a_whole_step_learns_from_is_drawn_ahead() -> None:
    """The Trainer takes all parts of a step before it computes any."""
    learner = Held()
    settings = TrainingSettings(batch_size=BATCH, micro_batch_size=2)
    batches = iter(open_loader(learner, make_plan(settings, job_pb2.Budget(epochs=1), ROWS, 5), Ranks()))
    first = [next(batches) for _ in range(BATCH // 2)]
    assert sum(len(batch["rows"]) for batch in first) == BATCH
    assert learner.is_at_work.wait(30)
    learner.may_go_on.set()


def test_nothing_is_drawn_once_it_is_closed() -> None:
    learner = Watched()
    loader = opened(learner)
    batches = iter(loader)
    next(batches)
    loader.close()
    drawn = learner.count
    assert len(list(batches)) <= 1  # one may have been drawn ahead
    assert learner.count == drawn


class Torn(Rows):
    def encode(self, row: Any, generator: torch.Generator) -> Any:
        if row == self.rows[-1]:
            raise ValueError("this row cannot be read")
        return row


def test_a_row_that_cannot_be_read_is_the_readers_to_hear_of() -> None:
    with pytest.raises(ValueError, match="this row"):
        list(opened(Torn(None)))
