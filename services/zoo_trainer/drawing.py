"""In which order rows are learned from. All of it follows from the seed and the epoch, and nothing from what was drawn
before: so a training goes on at any step as if it had never stopped, whatever its batches are cut into."""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import blake3
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from zoo_trainer.plan import Plan
from zoo_trainer.recipes.learner import Learner

__all__ = ["EpochLoader", "open_loader"]


class Draw(NamedTuple):
    """A row in an epoch."""

    epoch: int
    row: int


class _Batches(Sampler[list[Draw]]):
    def __init__(self, rows: int, size: int, seed: int) -> None:
        self._rows = rows
        self._size = size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._rows // self._size)

    def __iter__(self) -> Iterator[list[Draw]]:
        generator = _generator(self._seed, self._epoch, 0)
        order = cast(list[int], cast(Any, torch.randperm(self._rows, generator=generator)).tolist())
        for start in range(0, self._rows, self._size):
            yield [Draw(self._epoch, row) for row in order[start : start + self._size]]


class _Examples(Dataset[Any]):
    def __init__(self, learner: Learner, seed: int) -> None:
        self._learner = learner
        self._seed = seed

    def __len__(self) -> int:
        return len(self._learner.rows)

    def __getitem__(self, draw: Draw) -> Any:
        generator = _generator(self._seed, draw.epoch, draw.row + 1)
        return self._learner.encode(self._learner.rows[draw.row], generator)


class EpochLoader(DataLoader[Any]):
    """Batches of one epoch after the other, as the Trainer wants them."""

    def set_epoch(self, epoch: int) -> None:
        cast(_Batches, cast(Any, self).batch_sampler).set_epoch(epoch)


def open_loader(learner: Learner, plan: Plan) -> EpochLoader:
    return EpochLoader(
        _Examples(learner, plan.seed),
        batch_sampler=_Batches(len(learner.rows), plan.micro_batch, plan.seed),
        collate_fn=learner.collate,
        # Its own: a loader draws a number whenever it begins, which nobody else's draws may depend on.
        generator=torch.Generator().manual_seed(plan.seed),
    )


def _generator(seed: int, epoch: int, number: int) -> torch.Generator:
    # Of what a generator is seeded with, torch looks at 32 bits alone: those have to come from all three.
    digest = blake3.blake3(f"{seed}/{epoch}/{number}".encode()).digest(4)
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))
