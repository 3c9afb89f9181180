"""torchvision's ResNets (He et al. 2015, downsampling in the 3 x 3 convolution): of basic or of bottleneck blocks.

Depths, widths and the number of classes are read off the state dict; a name's number counts the layers with weights
on the longest path, so that `resnet34` is told from `resnet50` without a list of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from modelzoo.convert.torchvision_layout import Entry, Layout, Shapes, indices
from modelzoo.errors import InvalidArgument

__all__ = ["EXPANSION", "PUBLISHED", "holds_resnet", "resnet_layout"]

LABELS, STEM_SIZE = 1000, 64
KERNELS = {"basic": (3, 3), "bottleneck": (1, 3, 1)}
EXPANSION = {"basic": 1, "bottleneck": 4}
# He et al.'s own: block and depths by the number of layers. Where a file has other depths than its name says, these
# tell which entries it lacks.
PUBLISHED = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
_BLOCK = r"layer(\d+)\.(\d+)\.conv1\.weight"


@dataclass(frozen=True, slots=True)
class _Form:
    """Which blocks, and how many in each stage."""

    block: str
    depths: tuple[int, ...]

    @property
    def layers(self) -> int:
        return sum(self.depths) * len(KERNELS[self.block]) + 2

    def __str__(self) -> str:
        return f"a resnet{self.layers} ({self.block} blocks: {', '.join(map(str, self.depths))})"


def holds_resnet(shapes: Shapes) -> bool:
    return any(re.match(_BLOCK, name) for name in shapes)


def resnet_layout(shapes: Shapes, layers: int | None) -> Layout:
    """The ResNet of the state dict; `layers`, where given, is the number of layers that its name claims.

    Raises CHECKPOINT_UNSUPPORTED for grouped and for widened blocks, STATE_DICT_MISMATCH where the number disagrees and
    is of no published network, whose entries could be compared.
    """
    _refuse_other_blocks(shapes)
    found = _form_of(shapes)
    form = found
    if layers is not None and layers != found.layers:
        if layers not in PUBLISHED and found.depths:
            message = f"This is no state dict of resnet{layers}: its entries are those of {found}."
            raise InvalidArgument("STATE_DICT_MISMATCH", message)
        form = _Form(*PUBLISHED[layers]) if layers in PUBLISHED else found
    widths = _widths(shapes, form)
    stem, labels = _rows(shapes, "conv1.weight", STEM_SIZE), _rows(shapes, "fc.weight", LABELS)
    return Layout(
        described=f"{found} of {labels} classes",
        model_type="resnet",
        architecture="ResNetForImageClassification",
        settings={
            "embedding_size": stem,
            "hidden_sizes": widths,
            "depths": list(form.depths),
            "layer_type": form.block,
        },
        entries=_entries(form, stem, widths, labels),
        label_count=labels,
    )


def _form_of(shapes: Shapes) -> _Form:
    stages = indices(shapes, r"layer(\d+)\.")
    depths = tuple(len(indices(shapes, rf"layer{stage}\.(\d+)\.")) for stage in stages)
    is_bottleneck = any(re.match(r"layer\d+\.\d+\.conv3\.weight", name) for name in shapes)
    return _Form("bottleneck" if is_bottleneck else "basic", depths)


def _refuse_other_blocks(shapes: Shapes) -> None:
    first, second, third = (shapes.get(f"layer1.0.conv{number}.weight", ()) for number in (1, 2, 3))
    if len(first) != 4 or len(second) != 4:
        return
    if second[0] == first[0] and second[1] < second[0] and second[0] % second[1] == 0:
        what = f"convolutions in {second[0] // second[1]} groups (a ResNeXt)"
    elif len(third) == 4 and third[1] == first[0] and third[0] != 4 * first[0]:
        what = f"blocks {first[0]} wide inside for {third[0]} outside (a wide ResNet)"
    else:
        return
    message = f"This state dict has {what}, which transformers' ResNet cannot express; plain ResNets can be converted."
    raise InvalidArgument("CHECKPOINT_UNSUPPORTED", message)


def _widths(shapes: Shapes, form: _Form) -> list[int]:
    """The channels that each stage gives, from the last convolution of the first of its blocks that has one."""
    last = len(KERNELS[form.block])
    widths: list[int] = []
    for stage, depth in enumerate(form.depths):
        otherwise = widths[-1] * 2 if widths else STEM_SIZE * EXPANSION[form.block]
        names = [f"layer{stage + 1}.{block}.conv{last}.weight" for block in range(depth)]
        widths.append(next((_rows(shapes, name, otherwise) for name in names if name in shapes), otherwise))
    return widths


def _entries(form: _Form, stem: int, widths: Sequence[int], labels: int) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}

    def add(convolution: str, norm: str, new: str, shape: tuple[int, ...]) -> None:
        entries[f"{convolution}.weight"] = Entry(f"{new}.convolution.weight", shape)
        for kind in ("weight", "bias", "running_mean", "running_var"):
            entries[f"{norm}.{kind}"] = Entry(f"{new}.normalization.{kind}", shape[:1])
        entries[f"{norm}.num_batches_tracked"] = Entry(f"{new}.normalization.num_batches_tracked", ())

    add("conv1", "bn1", "resnet.embedder.embedder", (stem, 3, 7, 7))
    before = stem
    for stage, (depth, width) in enumerate(zip(form.depths, widths, strict=True)):
        for block in range(depth):
            old, new = f"layer{stage + 1}.{block}", f"resnet.encoder.stages.{stage}.layers.{block}"
            channels = before
            for number, kernel in enumerate(KERNELS[form.block]):
                is_last = number == len(KERNELS[form.block]) - 1
                after = width if is_last else width // EXPANSION[form.block]
                name = f"{new}.layer.{number}"
                add(f"{old}.conv{number + 1}", f"{old}.bn{number + 1}", name, (after, channels, kernel, kernel))
                channels = after
            # The first block of every stage but the first halves the picture, so that its input has to be fitted.
            if block == 0 and (stage > 0 or before != width):
                add(f"{old}.downsample.0", f"{old}.downsample.1", f"{new}.shortcut", (width, before, 1, 1))
            before = width
    entries["fc.weight"] = Entry("classifier.1.weight", (labels, before))
    entries["fc.bias"] = Entry("classifier.1.bias", (labels,))
    return entries


def _rows(shapes: Shapes, name: str, otherwise: int) -> int:
    shape = shapes.get(name, ())
    return shape[0] if shape else otherwise
