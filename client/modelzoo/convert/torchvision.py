"""torchvision's state dicts into directories in transformers' form: renamed entries, unchanged values.

AlexNet becomes our own architecture, ResNets become transformers'. What network it is, the entries say.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo import imagenet
from modelzoo.convert.alexnet_layout import alexnet_layout
from modelzoo.convert.resnet_layout import holds_resnet, resnet_layout
from modelzoo.convert.state_dict import open_state_dict, read_to_safetensors
from modelzoo.convert.torchvision_layout import Layout, Shapes, check_entries
from modelzoo.errors import InvalidArgument

if TYPE_CHECKING:
    import torch

__all__ = ["convert"]

ALEXNET_PREFIX = "features."
IMAGENET_CLASSES = 1000

# What torchvision/transforms/_presets.py does with a picture for the weights called IMAGENET1K_V1.
PREPROCESSOR: Mapping[str, Any] = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 2,  # Pillow's bilinear
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def convert(arch: str, checkpoint: Path, folder: Path) -> None:
    """Write config, weights and preprocessing of `checkpoint`, a state dict of `arch`, into `folder`, which is there.

    `arch` is alexnet, or resnet with its number of layers, of basic or bottleneck blocks and any depths and widths;
    plain `resnet` takes whichever the file holds. Networks of 1,000 classes get ImageNet's labels.
    Raises STATE_DICT_MISMATCH where entries are missing, too many or of another shape, or of another network than
    `arch`; CHECKPOINT_UNSUPPORTED for other layouts, and what `read_to_safetensors` does.
    """
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        original = Path(temporary) / "original.safetensors"
        read_to_safetensors(checkpoint, original)
        tensors = open_state_dict(original)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        layout = _layout_of(arch, shapes)
        check_entries(arch, layout, shapes)
        _refuse_whole_numbers(tensors)
        _save(layout, tensors, folder)


def _layout_of(arch: str, shapes: Shapes) -> Layout:
    number = re.fullmatch(r"resnet(\d{0,6})", arch)
    if arch != "alexnet" and number is None:
        raise _unsupported(
            f"{arch[:80]!a} is not an architecture that is converted here: alexnet, resnet18, resnet50, ..."
        )
    is_alexnet, is_resnet = any(name.startswith(ALEXNET_PREFIX) for name in shapes), holds_resnet(shapes)
    if not is_alexnet and not is_resnet:
        first = ", ".join(ascii(name[:80]) for name in list(shapes)[:3])
        raise _unsupported(
            f"The entries ({first}, ...) are neither those of an AlexNet nor of a ResNet of torchvision's"
        )
    if number is None:
        wanted = alexnet_layout(shapes)
        return wanted if is_alexnet else replace(wanted, described=resnet_layout(shapes, None).described)
    wanted = resnet_layout(shapes, int(number[1]) if number[1] else None)
    return wanted if is_resnet else replace(wanted, described=alexnet_layout(shapes).described)


def _refuse_whole_numbers(tensors: "dict[str, torch.Tensor]") -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() and not name.endswith("num_batches_tracked"):
            raise _unsupported(f"The entry {name!a} is of {tensor.dtype}, so the weights are quantised, or no weights")


def _save(layout: Layout, tensors: "dict[str, torch.Tensor]", folder: Path) -> None:
    import torch
    from safetensors import torch as files
    from transformers import AutoConfig

    from modelzoo import architectures

    architectures.register()
    # Copies, as one file cannot hold two names of the same memory.
    renamed = {
        entry.name: tensors[name].clone() if name in tensors else torch.tensor(0)
        for name, entry in layout.entries.items()
    }
    labels = imagenet.class_labels() if layout.label_count == IMAGENET_CLASSES else _numbered(layout.label_count)
    config = cast(Any, AutoConfig).for_model(
        layout.model_type,
        **layout.settings,
        architectures=[layout.architecture],
        dtype=str(next(iter(renamed.values())).dtype).removeprefix("torch."),
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
    )
    config.save_pretrained(folder)
    cast(Any, files).save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n", encoding="utf-8")


def _numbered(count: int) -> dict[int, str]:
    """Labels as transformers makes them where nobody named the classes."""
    return {number: f"LABEL_{number}" for number in range(count)}


def _unsupported(why: str) -> InvalidArgument:
    return InvalidArgument("CHECKPOINT_UNSUPPORTED", f"{why}.")
