"""Where all that a training draws at random begins."""

import contextlib
import os
import random
from typing import Any, cast

import numpy as np
import torch

__all__ = ["seed_all"]


def seed_all(seed: int, *apart: int) -> None:
    """Seed Python's, NumPy's and torch's generators; numbers in `apart` make other draws of the same seed."""
    for number in apart:
        seed = (seed * 1_000_003 + number + 1) % 2**62
    random.seed(seed)
    np.random.seed(seed % 2**32)
    cast(Any, torch).manual_seed(seed)
    # As long as no GPU was asked anything: what they multiply would come out another way each time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with contextlib.suppress(RuntimeError):
        torch.use_deterministic_algorithms(True, warn_only=True)
    # That would fill all new memory, too, so that reading it too early is the same each time: nothing here does.
    cast(Any, torch.utils.deterministic).fill_uninitialized_memory = False
