"""torchvision's AlexNet and ResNets without torchvision: state dicts of known values, and what the networks compute.

The values are those of tests/golden/README.md. The forward passes are written from the papers and from torchvision's
names of entries, straight over the state dict, so that they share nothing with what they check.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

__all__ = [
    "golden_logits",
    "golden_state",
    "known_input",
    "known_state",
    "relative_error",
    "resnet_logits",
    "resnet_shapes",
]

GOLDEN = Path(__file__).parents[1] / "golden" / "torchvision.json"
State = dict[str, torch.Tensor]


def known_value(name: str, shape: Sequence[int]) -> torch.Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    drawn = torch.from_numpy(generator.standard_normal(int(np.prod(shape))).astype(np.float32).reshape(shape))
    if name == "input":
        return drawn
    if name.endswith("running_var"):
        return 1 + 0.1 * drawn.abs()
    if name.endswith("running_mean"):
        return 0.1 * drawn
    if len(shape) > 1:
        return drawn * float(np.sqrt(2 / np.prod(shape[1:])))
    return 0.01 * drawn if name.endswith("bias") else 1 + 0.1 * drawn


def known_state(shapes: Mapping[str, Sequence[int]]) -> State:
    return {name: known_value(name, shape) for name, shape in shapes.items()}


def known_input(size: int = 224) -> torch.Tensor:
    return known_value("input", (2, 3, size, size))


def golden_state(arch: str) -> State:
    return known_state(json.loads(GOLDEN.read_text())[arch]["state"])


def golden_logits(arch: str) -> torch.Tensor:
    return torch.tensor(json.loads(GOLDEN.read_text())[arch]["logits"])


def relative_error(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, by the largest logit."""
    return float((logits - expected).abs().max() / expected.abs().max())


def resnet_shapes(block: str, depths: Sequence[int], *, width: int = 64, classes: int = 1000) -> dict[str, list[int]]:
    """The entries of a ResNet of this block, whose first stage has `width` channels inside."""
    shapes: dict[str, list[int]] = {}

    def norm(name: str, channels: int) -> None:
        shapes.update({f"{name}.{kind}": [channels] for kind in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = []

    shapes["conv1.weight"] = [width, 3, 7, 7]
    norm("bn1", width)
    before = width
    for stage, depth in enumerate(depths):
        inner = width * 2**stage
        outer = inner * (4 if block == "bottleneck" else 1)
        for index in range(depth):
            name = f"layer{stage + 1}.{index}"
            if block == "bottleneck":
                convolutions = [[inner, before, 1, 1], [inner, inner, 3, 3], [outer, inner, 1, 1]]
            else:
                convolutions = [[inner, before, 3, 3], [inner, inner, 3, 3]]
            for number, shape in enumerate(convolutions, 1):
                shapes[f"{name}.conv{number}.weight"] = shape
                norm(f"{name}.bn{number}", shape[0])
            if index == 0 and (before != outer or stage > 0):
                shapes[f"{name}.downsample.0.weight"] = [outer, before, 1, 1]
                norm(f"{name}.downsample.1", outer)
            before = outer
    shapes["fc.weight"], shapes["fc.bias"] = [classes, before], [classes]
    return shapes


@torch.no_grad()
def resnet_logits(state: State, pictures: torch.Tensor) -> torch.Tensor:
    """Logits in eval mode; the stride of a stage is in its first 3 x 3 convolution."""

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"])

    def block(name: str, x: torch.Tensor, stride: int) -> torch.Tensor:
        change, number = x, 1
        while (weight := state.get(f"{name}.conv{number}.weight")) is not None:
            kernel = weight.shape[-1]
            change = F.conv2d(change, weight, stride=stride if kernel == 3 else 1, padding=kernel // 2)
            stride = 1 if kernel == 3 else stride
            change = norm(f"{name}.bn{number}", change)
            number += 1
            if f"{name}.conv{number}.weight" in state:
                change = F.relu(change)
        return F.relu(change + shortcut(name, x))

    def shortcut(name: str, x: torch.Tensor) -> torch.Tensor:
        weight = state.get(f"{name}.downsample.0.weight")
        if weight is None:
            return x
        return norm(f"{name}.downsample.1", F.conv2d(x, weight, stride=1 if name.startswith("layer1.") else 2))

    x = F.relu(norm("bn1", F.conv2d(pictures, state["conv1.weight"], stride=2, padding=3)))
    x = F.max_pool2d(x, 3, 2, 1)
    stage = 1
    while f"layer{stage}.0.conv1.weight" in state:
        index = 0
        while f"layer{stage}.{index}.conv1.weight" in state:
            x = block(f"layer{stage}.{index}", x, 2 if stage > 1 and index == 0 else 1)
            index += 1
        stage += 1
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])
