"""What is hidden of an example in training, so that a model learns to do without it (SpecAugment, Park et al. 2019,
arXiv:1904.08779)."""

from typing import Any, cast

import torch

__all__ = ["spans"]


def spans(length: int, share: float, span: int, generator: torch.Generator) -> torch.Tensor:
    """Which of `length` places are hidden, bool [length]: pieces of `span` that cover about that share; they may
    overlap. All draws are the generator's."""
    hidden = torch.zeros(length, dtype=torch.bool)
    span = min(span, length)
    if not share or not span:
        return hidden
    drawn = cast(Any, torch)
    # The rest of the division is a piece as often as it is large.
    count = int(share * length / span + drawn.rand((), generator=generator).item())
    for start in drawn.randint(0, length - span + 1, (count,), generator=generator).tolist():
        hidden[start : start + span] = True
    return hidden
