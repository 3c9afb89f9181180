"""Pictures of single handwritten digits as a dataset, and what untrained classifiers of them share."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo import architectures
from zoo_starters.card import put_card
from zoo_starters.digits import CLASSES, ORIGIN, Digits, compose, held_out_digits, training_digits
from zoo_starters.picture_rows import jpeg, write_rows
from zoo_starters.starter import Starter
from zoo_starters.training import deterministic

if TYPE_CHECKING:
    import torch

__all__ = ["DIGIT_PICTURES", "few_pictures", "label_names", "save_untrained_classifier"]

TRAINING_SEED, HELD_OUT_SEED = 11, 12
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


def few_pictures(packages: Path, folder: Path, held_out: int | None) -> None:
    """A few of the dataset's pictures to train on, and so many of its held-out ones, or all (None)."""
    digits = training_digits()
    _write_training(folder, Digits(digits.ink[:FEW], digits.labels[:FEW]), 1)
    _write_held_out(folder, held_out)


def _make(packages: Path, folder: Path) -> None:
    _write_training(folder, training_digits(), PER_TRAINING_DIGIT)
    _write_held_out(folder, None)
    put_card("digit-pictures", folder)


def _write_training(folder: Path, digits: Digits, each: int) -> None:
    import torch

    generator = torch.Generator().manual_seed(TRAINING_SEED)
    write_rows(folder / "train.parquet", (row for _ in range(each) for row in _rows(digits, SIDE, generator)))


def _write_held_out(folder: Path, most: int | None) -> None:
    import torch

    digits, generator = held_out_digits(), torch.Generator().manual_seed(HELD_OUT_SEED)
    rows = (row for _ in range(PER_HELD_OUT_DIGIT) for row in _rows(digits, MEASURED_SIDE, generator))
    write_rows(folder / "test.parquet", islice(rows, most))


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
