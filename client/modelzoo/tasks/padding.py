"""Lists of tokens into one rectangle."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["padded"]


def padded(batch: Sequence[Sequence[int]], pad_token: int) -> tuple[Tensor, Tensor]:
    """int64 tokens and their mask, both [rows, longest], filled up on the right."""
    lengths = torch.tensor([len(tokens) for tokens in batch])
    longest = int(lengths.max())
    mask = (torch.arange(longest) < lengths.unsqueeze(1)).long()
    rows = [[*tokens, *[pad_token] * (longest - len(tokens))] for tokens in batch]
    return torch.tensor(rows), mask
