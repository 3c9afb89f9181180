"""In which order rows are learned from. All of it follows from the seed and the epoch, and nothing from what was drawn
before: so a training goes on at any step as if it had never stopped, whatever its batches are cut into.

What a step learns from is drawn while the one before is computed, on a thread: to decode pictures or to cut texts into
tokens can take as long as a GPU's step. What is left of an epoch that a training goes on with is drawn when it is asked
for: the Trainer skips what was learned from by a loader of its own.
"""

import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import blake3
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from zoo_trainer.plan import Plan
from zoo_trainer.ranks import Ranks
from zoo_trainer.recipes.learner import HasSizes, Learner

__all__ = ["EpochLoader", "StandIn", "open_loader"]

# Steps whose rows are sorted by size together: many, so that little is padded; not all, so that batches stay mixed.
POOL_STEPS = 20


class Draw(NamedTuple):
    """A row in an epoch."""

    epoch: int
    row: int
    counts: bool = True


class StandIn(dict[str, Any]):
    """What a process without a share of a batch computes, so that all of them meet; it counts nothing."""


class _Example(NamedTuple):
    encoded: Any
    counts: bool


class _Batches(Sampler[list[Draw]]):
    def __init__(self, rows: int, plan: Plan, sizes: Sequence[int] | None, ranks: Ranks) -> None:
        self._rows = rows
        self._plan = plan
        self._sizes = sizes
        self._ranks = ranks
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._rows // self._plan.micro_batch)

    def __iter__(self) -> Iterator[list[Draw]]:
        generator = _generator(self._plan.seed, self._epoch, 0)
        order = _shuffled(self._rows, generator)
        if self._sizes is not None:
            order = _beside_their_like(order, self._sizes, self._plan.batch_size, generator)
        for batch in _cut(order, self._plan.micro_batch):
            share = self._ranks.share(batch)
            yield [Draw(self._epoch, row) for row in share] or [Draw(self._epoch, batch[0], counts=False)]


class _Examples(Dataset[Any]):
    def __init__(self, learner: Learner, seed: int) -> None:
        self._learner = learner
        self._seed = seed

    def __len__(self) -> int:
        return len(self._learner.rows)

    def __getitem__(self, draw: Draw) -> Any:
        generator = _generator(self._seed, draw.epoch, draw.row + 1)
        return _Example(self._learner.encode(self._learner.rows[draw.row], generator), draw.counts)

    def collate(self, examples: Sequence[_Example]) -> dict[str, Any]:
        batch = self._learner.collate([example.encoded for example in examples])
        return batch if examples[0].counts else StandIn(batch)


class EpochLoader(DataLoader[Any]):
    """Batches of one epoch after the other, as the Trainer wants them. What the learner encodes with, tokenizers among
    it, is in use on another thread from the first batch on, but while it is `resting` and once it is closed."""

    def __init__(self, examples: _Examples, batches: _Batches, ahead: int, generator: torch.Generator) -> None:
        cast(Any, super()).__init__(examples, batch_sampler=batches, collate_fn=examples.collate, generator=generator)
        self._ahead = ahead
        self._drawing = threading.Lock()
        self._is_closed = False

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride] - it is one
        batches = super().__iter__()
        executor = ThreadPoolExecutor(1, "draw")
        try:
            ahead = deque(executor.submit(self._draw, batches) for _ in range(self._ahead))
            while (batch := ahead.popleft().result()) is not None:
                ahead.append(executor.submit(self._draw, batches))
                yield batch
        finally:
            executor.shutdown(cancel_futures=True)

    @contextmanager
    def resting(self) -> Generator[None]:
        """Nothing is drawn while the block runs."""
        with self._drawing:
            yield

    def close(self) -> None:
        """Nothing is drawn any more."""
        with self._drawing:
            self._is_closed = True

    def _draw(self, batches: Iterator[Any]) -> Any:
        with self._drawing:
            return None if self._is_closed else next(batches, None)

    def set_epoch(self, epoch: int) -> None:
        cast(_Batches, cast(Any, self).batch_sampler).set_epoch(epoch)


def open_loader(learner: Learner, plan: Plan, ranks: Ranks) -> EpochLoader:
    """This rank's shares of the batches, which are the same however many ranks there are."""
    examples = _Examples(learner, plan.seed)
    sizes = learner.sizes if isinstance(learner, HasSizes) else None
    batches = _Batches(len(learner.rows), plan, sizes, ranks)
    # Its own: a loader draws a number whenever it begins, which nobody else's draws may depend on.
    return EpochLoader(examples, batches, plan.accumulation, torch.Generator().manual_seed(plan.seed))


def _beside_their_like(
    order: list[int], sizes: Sequence[int], batch_size: int, generator: torch.Generator
) -> list[int]:
    """The rows as steps of like size, the steps of each pool in an order at random. A step that is not full stays last:
    the others would be cut elsewhere."""
    found: list[int] = []
    for pool in _cut(order, POOL_STEPS * batch_size):
        rest = len(pool) % batch_size
        steps = _cut(sorted(pool[: len(pool) - rest], key=lambda row: sizes[row]), batch_size)
        for number in _shuffled(len(steps), generator):
            found += steps[number]
        found += pool[len(pool) - rest :]
    return found


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _shuffled(count: int, generator: torch.Generator) -> list[int]:
    return cast(list[int], cast(Any, torch.randperm(count, generator=generator)).tolist())


def _generator(seed: int, epoch: int, number: int) -> torch.Generator:
    # Of what a generator is seeded with, torch looks at 32 bits alone: those have to come from all three.
    digest = blake3.blake3(f"{seed}/{epoch}/{number}".encode()).digest(4)
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))
