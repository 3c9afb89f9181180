"""An image classifier as torchvision's are called: pictures in, logits out."""

from typing import Any, cast

import torch
from torch import nn

__all__ = ["ImageClassifier"]


class ImageClassifier(nn.Module):
    """`classifier(pictures)` gives logits (N, classes) of pictures (N, 3, H, W), floats already normalised.

    `config.id2label` names the classes; `model` is the model of transformers inside, which owns the weights.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)

    @property
    def config(self) -> Any:
        return self.model.config

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.model(pixel_values=pictures).logits)
