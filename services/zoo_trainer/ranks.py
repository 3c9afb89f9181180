"""The processes that compute one training together, each its share of every batch: what they tell each other."""

from collections.abc import Sequence
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import distributed

from modelzoo.errors import InvalidArgument
from zoo_trainer.usage import Meter, Usage

__all__ = ["BACKEND", "GPU_BACKEND", "MEETING", "Ranks", "join"]

T = TypeVar("T")

# Between two meetings lie at most an evaluation or a checkpoint on its way; a process that dies is noticed without it.
MEETING = timedelta(hours=6)
BACKEND, GPU_BACKEND = "gloo", "cpu:gloo,cuda:nccl"


class Ranks:
    """One of `count` processes. Rank 0 reports, evaluates, keeps and publishes; the others compute alone.

    `total` and `agree` are called by all of them in the same order, and return when all have called.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count
        self.others = Usage()
        """What the others have used, as of the last `total`."""
        self._meter = Meter()

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def used(self) -> Usage:
        """By all of them."""
        return self._meter.read().beside(self.others)

    def share(self, batch: Sequence[T]) -> Sequence[T]:
        """What of a batch is this one's; together, they have all of it once."""
        return batch[self.rank :: self.count]

    def total(self, *numbers: float) -> list[float]:
        """The sum over all ranks of each."""
        if self.count == 1:
            return list(numbers)
        own = astuple(self._meter.read())
        sums = torch.tensor([*numbers, *own], dtype=torch.float64)
        cast(Any, distributed).all_reduce(sums)
        found = cast(list[float], cast(Any, sums).tolist())
        of_others = [total - mine for total, mine in zip(found[len(numbers) :], own, strict=True)]
        self.others = Usage(*of_others[:2], *map(round, of_others[2:]))
        return found[: len(numbers)]

    def agree(self, *numbers: int) -> list[int]:
        """What rank 0 says."""
        if self.count == 1:
            return list(numbers)
        said = torch.tensor(numbers, dtype=torch.int64)
        cast(Any, distributed).broadcast(said, 0)
        return cast(list[int], cast(Any, said).tolist())


def join(rank: int, count: int, rendezvous: Path) -> Ranks:
    """Meet the others of this node by a file that is not there before the first comes.

    PARAMETER_INVALID where there are GPUs, and not one for each.
    """
    if count == 1:
        return Ranks()
    has_gpus = torch.cuda.is_available()
    if has_gpus and torch.cuda.device_count() < count:
        raise InvalidArgument(
            "PARAMETER_INVALID",
            f"The job wants {count} processes with a GPU for each, and this trainer has {torch.cuda.device_count()}: "
            "ask for fewer, and start trainers with ZOO_PROCESSES at most the number of their GPUs.",
        )
    cast(Any, distributed).init_process_group(
        GPU_BACKEND if has_gpus else BACKEND,
        init_method=rendezvous.as_uri(),
        rank=rank,
        world_size=count,
        timeout=MEETING,
    )
    return Ranks(rank, count)
