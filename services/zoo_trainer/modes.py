"""A model as it is when it is used, for the length of a block."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluating"]


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """All modules in evaluation mode and without gradients; afterwards each as it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
