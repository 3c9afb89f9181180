"""How far a training goes and in which portions, before it begins."""

import math
from dataclasses import dataclass, replace

from modelzoo.errors import InvalidArgument
from zoo.training.v1 import job_pb2 as pb
from zoo_trainer.recipes.settings import TrainingSettings

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A step is one change of the weights by `batch_size` examples, computed `micro_batch` at a time, by all processes
    of the training together."""

    steps: int
    steps_per_epoch: int
    batch_size: int
    micro_batch: int
    evaluation_steps: int
    checkpoint_steps: int
    patience: int
    wall_s: float
    seed: int

    @property
    def accumulation(self) -> int:
        return self.batch_size // self.micro_batch

    def with_micro_batch(self, most: int) -> "Plan":
        """The same training, at most so many examples at once."""
        return replace(self, micro_batch=_divisor(self.batch_size, most))


def make_plan(
    settings: TrainingSettings, budget: pb.Budget, rows: int, seed: int, processes: int = 1, least_at_once: int = 1
) -> Plan:
    """What ends first of the budget ends the training; where it says neither steps nor epochs, the recipe's epochs.

    PARAMETER_INVALID where the steps add up to none, and where a batch has fewer examples for each of several processes
    than the recipe computes at once at least.
    """
    if processes > 1 and settings.batch_size < processes * least_at_once:
        raise InvalidArgument(
            "PARAMETER_INVALID",
            f"{processes} processes have not enough to share in batches of {settings.batch_size}: choose a batch_size "
            f"of at least {processes * least_at_once}, or fewer processes.",
        )
    per_epoch = math.ceil(rows / settings.batch_size)
    ends = [budget.steps] if budget.steps else []
    if budget.epochs or not ends:
        ends.append(max(1, math.ceil((budget.epochs or settings.epochs) * per_epoch)))
    wall_s = budget.wall_time.ToTimedelta().total_seconds() if budget.HasField("wall_time") else math.inf
    if wall_s <= 0:
        raise InvalidArgument("PARAMETER_INVALID", "The budget's wall_time leaves no time to train: raise it.")
    return Plan(
        steps=min(ends),
        steps_per_epoch=per_epoch,
        batch_size=settings.batch_size,
        micro_batch=_divisor(settings.batch_size, settings.micro_batch_size * processes or settings.batch_size),
        evaluation_steps=settings.evaluation_steps or per_epoch,
        checkpoint_steps=settings.checkpoint_steps,
        patience=budget.patience,
        wall_s=wall_s,
        seed=seed,
    )


def _divisor(number: int, most: int) -> int:
    """The largest divisor that is at most `most`, so that portions add up."""
    return next(size for size in range(max(1, min(most, number)), 0, -1) if number % size == 0)
