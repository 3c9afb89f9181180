"""AlexNet in the single-tower form of Krizhevsky, "One weird trick for parallelizing convolutional neural networks"
(2014), as torchvision has it: five convolutions, three of them pooled, and a classifier of three layers.

Pictures need at least 63 x 63 pixels, below which the last pooling has nothing left; above that any size will do.
"""

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig
from transformers import initialization as init
from transformers.modeling_outputs import (
    BaseModelOutputWithPoolingAndNoAttention,
    ImageClassifierOutputWithNoAttention,
)

from modelzoo.architectures.picture import PictureModel, can_return_tuple, classified, features, label_count

__all__ = ["AlexNetConfig", "AlexNetForImageClassification", "AlexNetModel"]

# (kernel, stride, padding) of each convolution, and which are followed by a 3 x 3 pooling of stride 2.
CONVOLUTIONS = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
POOLED = (0, 1, 4)
POOLED_SIZE = 6


@strict
class AlexNetConfig(PreTrainedConfig):
    """`hidden_sizes` are the channels of the five convolutions, `classifier_size` the width of the hidden layers."""

    model_type = "alexnet"

    num_channels: int = 3
    hidden_sizes: list[int] | tuple[int, ...] = (64, 192, 384, 256, 256)
    classifier_size: int = 4096
    dropout_rate: float = 0.5

    def validate_sizes(self) -> None:
        """Refuse what no network can be built from."""
        if len(self.hidden_sizes) != len(CONVOLUTIONS):
            raise ValueError(f"hidden_sizes has {len(self.hidden_sizes)} entries, not {len(CONVOLUTIONS)}")
        if min(self.num_channels, self.classifier_size, *self.hidden_sizes) < 1:
            raise ValueError("every size must be at least 1")


class AlexNetPreTrainedModel(PictureModel):
    config_class = AlexNetConfig
    config: AlexNetConfig
    base_model_prefix = "alexnet"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # He et al. (2015) for rectified units; the scale that transformers draws from would leave the signal to fade.
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)


class AlexNetModel(AlexNetPreTrainedModel):
    """The convolutions: `last_hidden_state` (N, C, h, w), `pooler_output` (N, C, 6, 6)."""

    def __init__(self, config: AlexNetConfig) -> None:
        super().__init__(config)
        widths = [config.num_channels, *config.hidden_sizes]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride, padding)
            for before, after, (kernel, stride, padding) in zip(widths[:-1], widths[1:], CONVOLUTIONS, strict=True)
        )
        self.pooler = nn.AdaptiveAvgPool2d(POOLED_SIZE)
        self.post_init()

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, output_hidden_states: bool | None = None, **_: Any
    ) -> BaseModelOutputWithPoolingAndNoAttention:
        """Features of (N, channels, H, W) float pictures; `hidden_states` begin with the pictures themselves."""
        maps = [pixel_values]
        for number, convolution in enumerate(self.convolutions):
            last = F.relu(convolution(maps[-1]))
            maps.append(F.max_pool2d(last, kernel_size=3, stride=2) if number in POOLED else last)
        return features(self, maps, maps[-1], self.pooler(maps[-1]), output_hidden_states)


class AlexNetForImageClassification(AlexNetPreTrainedModel):
    """AlexNet with its classifier of `num_labels` classes."""

    def __init__(self, config: AlexNetConfig) -> None:
        super().__init__(config)
        self.alexnet = AlexNetModel(config)
        width = config.classifier_size
        # Places 1, 4 and 6 hold weights, as in torchvision.
        self.classifier = nn.Sequential(
            nn.Dropout(config.dropout_rate),
            nn.Linear(config.hidden_sizes[-1] * POOLED_SIZE**2, width),
            nn.ReLU(),
            nn.Dropout(config.dropout_rate),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, label_count(config)),
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        **_: Any,
    ) -> ImageClassifierOutputWithNoAttention:
        """Logits (N, num_labels) of (N, channels, H, W) floats; with `labels` (N) of class numbers, the loss."""
        outputs = self.alexnet(pixel_values, output_hidden_states=output_hidden_states)
        logits = self.classifier(outputs.pooler_output.flatten(1))
        return classified(self, logits, labels, outputs.hidden_states)
