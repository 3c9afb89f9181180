"""Pictures of single handwritten digits as a dataset, and what untrained classifiers of them share."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo import architectures
from zoo_starters.card import put_card
from zoo_starters.digits import CLASSES, ORIGIN, Digits, compose, held_out_digits, training_digits
from zoo_starters.picture_rows import jpeg, write_rows
from zoo_starters.starter import STAND_IN_ITEMS, Starter
from zoo_starters.training import deterministic

if TYPE_CHECKING:
    import torch

__all__ = ["DIGIT_PICTURES", "few_pictures", "label_names", "save_untrained_classifier"]

SEED = 11
# What the networks see; what is measured on is larger, so that their processors have work to do.
SIDE, MEASURED_SIDE = 64, 160
PER_TRAINING_DIGIT, PER_HELD_OUT_DIGIT = 20, 3
FEW = 64
MEAN = STD = 0.5


def label_names() -> dict[str, Any]:
    """What a configuration says of the classes."""
    return {"id2label": dict(enumerate(CLASSES)), "label2id": {name: number for number, name in enumerate(CLASSES)}}


def save_untrained_classifier(folder: Path, config: Any, seed: int, card: str) -> None:
    """Leave a classifier with this configuration, as it is before it has learned anything, and its image processor."""
    from transformers import AutoModelForImageClassification, ViTImageProcessorPil

    architectures.register()
    with deterministic(seed):
        cast(Any, AutoModelForImageClassification).from_config(config).save_pretrained(folder)
    processor = ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[MEAN] * 3, image_std=[STD] * 3, do_convert_rgb=True
    )
    cast(Any, processor).save_pretrained(folder)
    put_card(card, folder)


def few_pictures(packages: Path, folder: Path) -> None:
    """A few of the dataset's kind, enough for a stand-in."""
    _write(folder, Digits(*(part[:FEW] for part in _parts(training_digits()))), 1, STAND_IN_ITEMS // PER_HELD_OUT_DIGIT)


def _make(packages: Path, folder: Path) -> None:
    _write(folder, training_digits(), PER_TRAINING_DIGIT, len(held_out_digits().labels))
    put_card("digit-pictures", folder)


def _write(folder: Path, training: Digits, each: int, measured: int) -> None:
    import torch

    held_out = Digits(*(part[:measured] for part in _parts(held_out_digits())))
    generator = torch.Generator().manual_seed(SEED)
    rows = (row for _ in range(each) for row in _rows(training, SIDE, generator))
    write_rows(folder / "train.parquet", rows)
    rows = (row for _ in range(PER_HELD_OUT_DIGIT) for row in _rows(held_out, MEASURED_SIDE, generator))
    write_rows(folder / "test.parquet", rows)


def _parts(digits: Digits) -> "tuple[torch.Tensor, torch.Tensor]":
    return digits.ink, digits.labels


def _rows(digits: Digits, side: int, generator: "torch.Generator") -> Iterable[dict[str, Any]]:
    """A picture of each, none like the other."""
    pictures = (compose(digits.ink, side, generator) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    labels = cast(list[int], cast(Any, digits.labels).tolist())
    for pixels, label in zip(pictures, labels, strict=True):
        yield {"image": jpeg(pixels), "label": CLASSES[label]}


DIGIT_PICTURES = Starter(
    name="zoo/digit-pictures",
    task="",
    origin=f"made of {ORIGIN}",
    carriers=(),
    recipe=1,
    make=_make,
    format="dataset",
)
