"""Small networks for pictures of several layouts, and pictures that they learn to tell apart within a few steps."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoModelForImageClassification,
    PreTrainedConfig,
    ResNetConfig,
    ViTConfig,
    ViTImageProcessorPil,
)

from modelzoo import architectures
from modelzoo.architectures.alexnet import AlexNetConfig
from modelzoo.architectures.efficientnet_lite import EfficientNetLiteConfig

__all__ = ["LAYOUTS", "SHADES", "picture", "shades", "tiny_network"]

SHADES = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
OWN_LABELS = ("cat", "dog", "bird", "fish")
SIDE = 64


def _config(layout: str, labels: Sequence[str]) -> PreTrainedConfig:
    named: dict[str, Any] = {
        "id2label": dict(enumerate(labels)),
        "label2id": {name: number for number, name in enumerate(labels)},
    }
    match layout:
        case "alexnet":
            return AlexNetConfig(hidden_sizes=[8, 8, 8, 8, 8], classifier_size=16, **named)
        case "resnet":
            return ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 12, 16], depths=[1, 1, 1], layer_type="basic", **named
            )
        case "vit":
            sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 3}
            return ViTConfig(image_size=SIDE, patch_size=16, **sizes, **named)
        case _:
            stages = {"kernel_sizes": (3, 3), "out_channels": (8, 16), "strides": (2, 2), "num_block_repeats": (1, 2)}
            return EfficientNetLiteConfig(stem_size=8, head_size=24, expand_ratios=(1, 2), **stages, **named)


LAYOUTS = ("alexnet", "resnet", "vit", "efficientnet-lite")


def tiny_network(layout: str, directory: Path, labels: Sequence[str] = OWN_LABELS) -> Path:
    """A classifier of 64 x 64 pixels with seeded random weights, and its processor, in `directory`."""
    architectures.register()
    torch.manual_seed(3)
    AutoModelForImageClassification.from_config(_config(layout, labels)).save_pretrained(directory)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(directory)
    return directory


def picture(label: str, number: int) -> bytes:
    """A PNG file of the label's colour, no two of them the same."""
    red, green, blue = SHADES[label]
    shade = Image.new("RGB", (40 + number % 3, 36), (red + number % 40, green + number // 40, blue))
    out = io.BytesIO()
    shade.save(out, "PNG")
    return out.getvalue()


def shades(folder: Path, train: int, test: int, labels: Sequence[str] = tuple(SHADES)) -> Path:
    """So many pictures in folders by label, of each split, as even as can be."""
    for split, numbers in (("train", range(train)), ("test", range(train, train + test))):
        for number in numbers:
            label = labels[number % len(labels)]
            (folder / split / label).mkdir(parents=True, exist_ok=True)
            (folder / split / label / f"{number}.png").write_bytes(picture(label, number))
    return folder
