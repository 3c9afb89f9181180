"""What makes trainings and measurements here come out the same each time."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

__all__ = ["THREADS", "deterministic"]

# Sums are taken in another order with another number of threads, and weights would differ.
THREADS = 2


@contextmanager
def deterministic(seed: int) -> Generator[None]:
    """So many threads, deterministic kernels, everything seeded. Leaves torch as it was."""
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with cast(Any, torch.random).fork_rng(devices=[]):
        cast(Any, torch).manual_seed(seed)
        torch.set_num_threads(THREADS)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])
