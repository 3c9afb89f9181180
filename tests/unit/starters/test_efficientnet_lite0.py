"""EfficientNet-Lite0 as converted, against the network written out below over the package's own state dict."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from modelzoo.loading import load_directory, load_processor_directory
from zoo_starters.command import WORK
from zoo_starters.efficientnet_lite0 import CARRIER, CHECKPOINT, EFFICIENTNET_LITE0
from zoo_starters.samples import photograph
from zoo_starters.wheels import extract

PACKAGES = WORK / "packages"
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
BUILDINGS = {"palace", "bell cote", "monastery", "dome", "castle", "church", "stupa", "mosque"}
# Of each block the stride; its kernel and widths are in its weights.
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)


def written_out(weights: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """Logits (N, 1000) of pixels (N, 3, 224, 224)."""

    def convolved(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = weights[f"{name}.weight"]
        missing = max(-(-x.shape[-1] // stride) * stride - stride + kernel.shape[-1] - x.shape[-1], 0)
        before, after = missing // 2, missing - missing // 2
        return F.conv2d(F.pad(x, (before, after, before, after)), kernel, stride=stride, groups=groups)

    def normalised(x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            weights[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-3) * weight + bias

    x = F.relu6(normalised(convolved(pixels, "_conv_stem", stride=2), "_bn0"))
    for number, stride in enumerate(STRIDES):
        block, y = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in weights:
            y = F.relu6(normalised(convolved(y, f"{block}._expand_conv"), f"{block}._bn0"))
        y = F.relu6(normalised(convolved(y, f"{block}._depthwise_conv", stride, groups=y.shape[1]), f"{block}._bn1"))
        y = normalised(convolved(y, f"{block}._project_conv"), f"{block}._bn2")
        x = x + y if x.shape == y.shape else y
    x = F.relu6(normalised(convolved(x, "_conv_head"), "_bn1"))
    return F.linear(x.mean((2, 3)), weights["_fc.weight"], weights["_fc.bias"])


def prepared(path: Path) -> Tensor:
    """Pixels (3, 224, 224): the central 224 of 256 on the shorter side, bicubic; less 127, by 128."""
    picture = Image.open(path)
    small = picture.resize((256 * picture.width // picture.height, 256), Image.Resampling.BICUBIC)
    left, top = (small.width - 224) // 2, (small.height - 224) // 2
    crop = small.crop((left, top, left + 224, top + 224))
    return torch.from_numpy((np.asarray(crop, np.float32) - 127) / 128).permute(2, 0, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("efficientnet")
    EFFICIENTNET_LITE0.make(PACKAGES, made)
    return made


@pytest.fixture(scope="module")
def pixels(folder: Path) -> Tensor:
    processor = load_processor_directory(folder)
    pictures = [Image.open(photograph(name)) for name in PHOTOGRAPHS]
    return processor(images=pictures, return_tensors="pt")["pixel_values"]


@pytest.fixture(scope="module")
def logits(folder: Path, pixels: Tensor) -> Tensor:
    model: Any = load_directory(folder)
    with torch.inference_mode():
        return model(pixel_values=pixels).logits


def test_pictures_are_prepared_as_the_network_was_trained(pixels: Tensor) -> None:
    expected = torch.stack([prepared(photograph(name)) for name in PHOTOGRAPHS])
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=0)


def test_logits_are_those_of_the_network_written_out(logits: Tensor, pixels: Tensor, tmp_path: Path) -> None:
    extract(CARRIER.fetch(PACKAGES), tmp_path, {CHECKPOINT: "original.pth"})
    weights = torch.load(tmp_path / "original.pth", weights_only=True)
    expected = written_out(weights, pixels)
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=0)
    assert logits.topk(5).indices.tolist() == expected.topk(5).indices.tolist()


def test_the_photograph_of_a_palace_shows_a_building_and_that_of_a_flower_a_daisy(folder: Path, logits: Tensor) -> None:
    labels: dict[int, str] = load_directory(folder).config.id2label
    china, flower = ([labels[index] for index in row] for row in logits.topk(5).indices.tolist())
    assert BUILDINGS.intersection(china)
    assert china[0] == "palace"
    assert flower[0] == "daisy"


def test_the_licence_and_a_card_go_with_it(folder: Path) -> None:
    assert "Apache" in (folder / "LICENSE").read_text()
    assert "license: apache-2.0" in (folder / "README.md").read_text()
