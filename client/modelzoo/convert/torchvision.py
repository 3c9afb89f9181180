"""torchvision's state dicts into directories in transformers' form: renamed entries, unchanged values.

AlexNet becomes our own architecture, ResNets become transformers'. What network it is, the entries say.
"""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo.convert.alexnet_layout import alexnet_layout
from modelzoo.convert.labels import LabelsOrigin, check_label_count, id2label, labels_origin
from modelzoo.convert.resnet_layout import PUBLISHED, holds_resnet, resnet_layout
from modelzoo.convert.state_dict import read_state_dict
from modelzoo.convert.torchvision_layout import Layout, Shapes, check_entries
from modelzoo.errors import InvalidArgument

if TYPE_CHECKING:
    import torch

__all__ = ["check_arch", "convert"]

ALEXNET_PREFIX = "features."
_ARCH = re.compile(r"alexnet|resnet\d{0,6}", re.ASCII)

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


def check_arch(arch: str) -> None:
    """Raise CHECKPOINT_UNSUPPORTED for an architecture that is not converted here."""
    if not _ARCH.fullmatch(arch):
        known = ", ".join(["alexnet", *(f"resnet{layers}" for layers in PUBLISHED)])
        raise _unsupported(f"{arch[:80]!a} is not converted here; {known} are, and ResNets of other depths")


def convert(arch: str, checkpoint: Path, folder: Path, labels: Sequence[str] | None = None) -> LabelsOrigin:
    """Write config, weights and preprocessing of `checkpoint`, a state dict of `arch`, into `folder`, which is there.

    `arch` is alexnet, or resnet with its number of layers, of basic or bottleneck blocks and any depths and widths;
    plain `resnet` takes whichever the file holds. `labels` names the classes in the order of the outputs; without them
    networks of 1,000 classes get ImageNet's, others numbers. Answers whose names they got.
    Raises FIELD_INVALID unless there are as many labels as classes; STATE_DICT_MISMATCH where entries are missing, too
    many or of another shape, or of another network than `arch`; CHECKPOINT_UNSUPPORTED for other layouts, and what
    `read_state_dict` does.
    """
    check_arch(arch)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        tensors = read_state_dict(checkpoint, Path(temporary))
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        layout = _layout_of(arch, shapes)
        check_entries(arch, layout, shapes)
        check_label_count(labels, layout.label_count)
        _refuse_whole_numbers(tensors)
        _save(layout, tensors, id2label(labels, layout.label_count), folder)
    return labels_origin(labels, layout.label_count)


def _layout_of(arch: str, shapes: Shapes) -> Layout:
    is_alexnet, is_resnet = any(name.startswith(ALEXNET_PREFIX) for name in shapes), holds_resnet(shapes)
    if not is_alexnet and not is_resnet:
        first = ", ".join(ascii(name[:80]) for name in list(shapes)[:3])
        raise _unsupported(
            f"The entries ({first}, ...) are neither those of an AlexNet nor of a ResNet of torchvision's"
        )
    if arch == "alexnet":
        wanted = alexnet_layout(shapes)
        return wanted if is_alexnet else replace(wanted, described=resnet_layout(shapes, None).described)
    layers = arch.removeprefix("resnet")
    wanted = resnet_layout(shapes, int(layers) if layers else None)
    return wanted if is_resnet else replace(wanted, described=alexnet_layout(shapes).described)


def _refuse_whole_numbers(tensors: "dict[str, torch.Tensor]") -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() and not name.endswith("num_batches_tracked"):
            raise _unsupported(f"The entry {name!a} is of {tensor.dtype}, so the weights are quantised, or no weights")


def _save(layout: Layout, tensors: "dict[str, torch.Tensor]", labels: Mapping[int, str], folder: Path) -> None:
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
    config = cast(Any, AutoConfig).for_model(
        layout.model_type,
        **layout.settings,
        architectures=[layout.architecture],
        dtype=str(next(iter(renamed.values())).dtype).removeprefix("torch."),
        id2label=dict(labels),
        label2id={label: number for number, label in labels.items()},
    )
    config.save_pretrained(folder)
    cast(Any, files).save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n", encoding="utf-8")


def _unsupported(why: str) -> InvalidArgument:
    return InvalidArgument("CHECKPOINT_UNSUPPORTED", f"{why}.")
