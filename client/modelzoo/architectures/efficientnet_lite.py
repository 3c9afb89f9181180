"""EfficientNet-Lite: the networks of Tan & Le, "EfficientNet" (2019), made for devices that want plain operations.

Against EfficientNet: no squeeze-and-excitation, ReLU6 for swish, and the stem, the head and the depth of the first and
last stage do not grow with the variant. Padding is TensorFlow's SAME, which is uneven at stride 2, so that weights
trained there give the same figures here.
"""

import math
from typing import Any, Self, cast

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

__all__ = ["EfficientNetLiteConfig", "EfficientNetLiteForImageClassification", "EfficientNetLiteModel"]

# width, depth, picture size and dropout of lite0 to lite4, from the published variants.
VARIANTS = (
    (1.0, 1.0, 224, 0.2),
    (1.0, 1.1, 240, 0.2),
    (1.1, 1.2, 260, 0.3),
    (1.2, 1.4, 280, 0.3),
    (1.4, 1.8, 300, 0.3),
)
COEFFICIENT_MAX = 4.0


@strict
class EfficientNetLiteConfig(PreTrainedConfig):
    """The stages before scaling, entry by entry in five lists of one length, and how they scale.

    `stem_size` and `head_size` are the channels of the first and last convolution, never scaled. `drop_connect_rate` is
    the chance, rising with depth, that training passes over a block; the batch norms' momentum is PyTorch's (the share
    of the new batch).
    """

    model_type = "efficientnet_lite"

    num_channels: int = 3
    image_size: int = 224
    width_coefficient: float = 1.0
    depth_coefficient: float = 1.0
    depth_divisor: int = 8
    stem_size: int = 32
    head_size: int = 1280
    kernel_sizes: list[int] | tuple[int, ...] = (3, 3, 5, 3, 5, 5, 3)
    out_channels: list[int] | tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    strides: list[int] | tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)
    num_block_repeats: list[int] | tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    expand_ratios: list[int] | tuple[int, ...] = (1, 6, 6, 6, 6, 6, 6)
    dropout_rate: float = 0.2
    drop_connect_rate: float = 0.2
    batch_norm_eps: float = 1e-3
    batch_norm_momentum: float = 0.01

    @classmethod
    def lite(cls, number: int, **settings: Any) -> Self:
        """The configuration of lite0 to lite4."""
        width, depth, size, dropout = VARIANTS[number]
        return cls(width_coefficient=width, depth_coefficient=depth, image_size=size, dropout_rate=dropout, **settings)

    def validate_sizes(self) -> None:
        """Refuse what no network can be built from."""
        stages = (self.kernel_sizes, self.out_channels, self.strides, self.num_block_repeats, self.expand_ratios)
        if len({len(stage) for stage in stages}) != 1 or not self.out_channels:
            raise ValueError("the lists of the stages differ in length, or are empty")
        sizes = (self.num_channels, self.stem_size, self.head_size, self.depth_divisor)
        if min(*sizes, *(min(stage) for stage in stages)) < 1:
            raise ValueError("every size must be at least 1")
        for coefficient in (self.width_coefficient, self.depth_coefficient):
            if not 0 < coefficient <= COEFFICIENT_MAX:
                raise ValueError(f"coefficients are above 0 and at most {COEFFICIENT_MAX}, not {coefficient}")

    def scaled_channels(self, channels: int) -> int:
        """Channels times the width, to the nearest multiple of the divisor that keeps nine tenths of them."""
        wanted, divisor = channels * self.width_coefficient, self.depth_divisor
        rounded = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
        return rounded + divisor if rounded < 0.9 * wanted else rounded

    def scaled_repeats(self, stage: int) -> int:
        """Blocks of a stage; the first and the last stage are not scaled."""
        repeats = self.num_block_repeats[stage]
        is_fixed = stage in (0, len(self.num_block_repeats) - 1)
        return repeats if is_fixed else math.ceil(repeats * self.depth_coefficient)


class EfficientNetLiteConvolution(nn.Module):
    """A convolution with SAME padding, its batch norm and, where it has one, ReLU6."""

    def __init__(
        self,
        config: EfficientNetLiteConfig,
        before: int,
        after: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, kernel, stride, groups=groups, bias=False)
        self.normalization = nn.BatchNorm2d(after, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum)
        self.activation = nn.ReLU6() if activation else nn.Identity()
        self._kernel, self._stride = kernel, stride

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        height, width = (self._missing(size) for size in features.shape[-2:])
        padded = F.pad(features, (width // 2, width - width // 2, height // 2, height - height // 2))
        return self.activation(self.normalization(self.convolution(padded)))

    def _missing(self, size: int) -> int:
        """What must be added to `size` so that every `stride`-th pixel has a whole window."""
        steps = math.ceil(size / self._stride)
        return max((steps - 1) * self._stride + self._kernel - size, 0)


class EfficientNetLiteBlock(nn.Module):
    """An inverted residual: 1 x 1 up (unless the ratio is 1), depthwise, 1 x 1 down; added where shapes agree."""

    def __init__(
        self,
        config: EfficientNetLiteConfig,
        before: int,
        after: int,
        kernel: int,
        *,
        stride: int,
        ratio: int,
        drop_rate: float,
    ) -> None:
        super().__init__()
        inner = before * ratio
        self.expansion = EfficientNetLiteConvolution(config, before, inner, 1) if ratio > 1 else nn.Identity()
        self.depthwise = EfficientNetLiteConvolution(config, inner, inner, kernel, stride=stride, groups=inner)
        self.projection = EfficientNetLiteConvolution(config, inner, after, 1, activation=False)
        self._is_residual = stride == 1 and before == after
        self._drop_rate = drop_rate

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        change = self.projection(self.depthwise(self.expansion(features)))
        if not self._is_residual:
            return change
        return features + (self._dropped(change) if self.training and self._drop_rate else change)

    def _dropped(self, change: torch.Tensor) -> torch.Tensor:
        """Zero for some examples, scaled for the rest (stochastic depth, Huang et al. 2016)."""
        kept = 1 - self._drop_rate
        mask = torch.rand(len(change), 1, 1, 1, device=change.device, dtype=change.dtype) < kept
        return change * mask / kept


class EfficientNetLitePreTrainedModel(PictureModel):
    config_class = EfficientNetLiteConfig
    config: EfficientNetLiteConfig
    base_model_prefix = "efficientnet_lite"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        cast(Any, super())._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class EfficientNetLiteModel(EfficientNetLitePreTrainedModel):
    """The convolutions: `last_hidden_state` (N, head_size, h, w), `pooler_output` (N, head_size)."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.stem = EfficientNetLiteConvolution(config, config.num_channels, config.stem_size, 3, stride=2)
        self.blocks = nn.ModuleList(_blocks(config))
        last = config.scaled_channels(config.out_channels[-1])
        self.head = EfficientNetLiteConvolution(config, last, config.head_size, 1)
        self.post_init()

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, output_hidden_states: bool | None = None, **_: Any
    ) -> BaseModelOutputWithPoolingAndNoAttention:
        """Features of (N, channels, H, W) float pictures; `hidden_states` begin with the stem's."""
        maps = [self.stem(pixel_values)]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        last = self.head(maps[-1])
        return features(self, maps, last, last.mean((2, 3)), output_hidden_states)


class EfficientNetLiteForImageClassification(EfficientNetLitePreTrainedModel):
    """EfficientNet-Lite with one linear layer of `num_labels` classes on its pooled features."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.efficientnet_lite = EfficientNetLiteModel(config)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.classifier = nn.Linear(config.head_size, label_count(config))
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
        outputs = self.efficientnet_lite(pixel_values, output_hidden_states=output_hidden_states)
        logits = self.classifier(self.dropout(outputs.pooler_output))
        return classified(self, logits, labels, outputs.hidden_states)


def _blocks(config: EfficientNetLiteConfig) -> list[EfficientNetLiteBlock]:
    stages = range(len(config.out_channels))
    count = sum(config.scaled_repeats(stage) for stage in stages)
    blocks: list[EfficientNetLiteBlock] = []
    before = config.stem_size
    for stage in stages:
        after = config.scaled_channels(config.out_channels[stage])
        for repeat in range(config.scaled_repeats(stage)):
            block = EfficientNetLiteBlock(
                config,
                before,
                after,
                config.kernel_sizes[stage],
                stride=config.strides[stage] if repeat == 0 else 1,
                ratio=config.expand_ratios[stage],
                drop_rate=config.drop_connect_rate * len(blocks) / count,
            )
            blocks.append(block)
            before = after
    return blocks
