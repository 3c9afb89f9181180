"""Scenes of handwritten digits as a dataset, each digit with its box."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from zoo_starters.card import put_card
from zoo_starters.digits import ORIGIN
from zoo_starters.picture_rows import jpeg, write_rows
from zoo_starters.scenes import CLASSES, Split, compose_scene
from zoo_starters.starter import Starter

__all__ = ["DIGIT_SCENES", "few_scenes"]

TRAINING_SCENES, HELD_OUT_SCENES = 12_000, 300
FEW = 64


def few_scenes(packages: Path, folder: Path, held_out: int | None) -> None:
    """A few of the dataset's scenes to train on, and so many of its held-out ones, or all (None)."""
    _write(folder, FEW, HELD_OUT_SCENES if held_out is None else held_out)


def _make(packages: Path, folder: Path) -> None:
    _write(folder, TRAINING_SCENES, HELD_OUT_SCENES)
    put_card("digit-scenes", folder)


def _write(folder: Path, training: int, held_out: int) -> None:
    write_rows(folder / "train.parquet", _rows(Split.TRAINING, training))
    write_rows(folder / "test.parquet", _rows(Split.HELD_OUT, held_out))


def _rows(split: Split, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        scene = compose_scene(split, number)
        corners = cast(list[list[float]], cast(Any, scene.boxes).tolist())
        labels = cast(list[int], cast(Any, scene.labels).tolist())
        objects = [
            {"label": CLASSES[label], "box": [x0, y0, x1 - x0, y1 - y0]}
            for (x0, y0, x1, y1), label in zip(corners, labels, strict=True)
        ]
        yield {"image": jpeg(scene.pixels), "objects": objects}


DIGIT_SCENES = Starter(
    name="zoo/digit-scenes",
    task="",
    origin=f"made of {ORIGIN}",
    carriers=(),
    recipe=1,
    make=_make,
    format="dataset",
)
