"""The training loop that all trained starters share: AdamW, warmup, cosine, a number of steps, one seed."""

import math
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from zoo_starters.step_bar import step_bar

if TYPE_CHECKING:
    import torch

__all__ = ["Plan", "Trained", "deterministic", "fit"]

# Sums are taken in another order with another number of threads, and weights would differ.
THREADS = 2
BETAS = (0.9, 0.98)
GRADIENT_NORM_MAX = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`peak_rate` is reached after `warmup` (a share of the steps), then falls to nothing along half a cosine.

    Weight decay spares vectors: biases and the weights of normalisations.
    """

    seed: int
    steps: int
    batch_size: int
    peak_rate: float
    weight_decay: float = 0.05
    warmup: float = 0.1

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0, as a share of the peak."""
        rising = max(1, round(self.steps * self.warmup))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, self.steps - rising)))


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training took; `seconds` on the wall, `cpu_seconds` of this process on all cores, `loss` at the end."""

    plan: Plan
    parameters: int
    seconds: float
    cpu_seconds: float
    threads: int
    loss: float


@contextmanager
def deterministic(seed: int, threads: int = THREADS) -> "Generator[torch.Generator]":
    """So many threads, deterministic kernels, everything seeded; a generator for data. Leaves torch as it was."""
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with cast(Any, torch.random).fork_rng(devices=[]):
        cast(Any, torch).manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield torch.Generator().manual_seed(seed)
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])


def fit(model: "torch.nn.Module", plan: Plan, next_loss: "Callable[[], torch.Tensor]", label: str) -> Trained:
    """Train `model` in place for `plan.steps` batches and leave it in evaluation mode; to be used in `deterministic`.

    `next_loss` takes the next batch and gives its mean loss, a scalar with a gradient. A bar on stderr shows loss and
    time left.
    """
    import torch

    started, cpu_started = time.monotonic(), _cpu_seconds()
    matrices = [each for each in model.parameters() if each.ndim > 1]
    vectors = [each for each in model.parameters() if each.ndim <= 1]
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=plan.peak_rate, betas=BETAS, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, plan.rate)
    model.train()
    loss = 0.0
    with step_bar(label, plan.steps) as tell:
        for _ in range(plan.steps):
            value = cast(Any, next_loss())  # torch's own annotations of these calls are incomplete
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM_MAX)
            cast(Any, optimizer).step()
            schedule.step()
            optimizer.zero_grad()
            loss = value.item()
            tell(loss)
    model.eval()
    parameters = sum(each.numel() for each in model.parameters())
    seconds, cpu_seconds = time.monotonic() - started, _cpu_seconds() - cpu_started
    return Trained(plan, parameters, seconds, cpu_seconds, torch.get_num_threads(), loss)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system
