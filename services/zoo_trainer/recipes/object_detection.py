"""# Objects in pictures

Trains a detector of the DETR family (DETR, Deformable DETR, YOLOS, RT-DETR, D-FINE, ...) to find the dataset's objects,
by the base's own loss: every true box is matched with one of the model's proposals, and label, place and overlap of the
pair are learned. Where the base knows all of the dataset's labels, its head for them is trained on; otherwise a new one
for exactly these is drawn at random, and what finds boxes is kept.

`freeze` says what stays as it is: `none` trains all layers; `backbone` leaves what turns pixels into features (of
YOLOS, which has nothing else, all but the heads); `body` trains the heads alone, that is what makes labels and boxes of
features.

The dataset is in COCO's form, or has a column `image` and a column `objects`, each of them with `label` and `box` (x,
y, width and height in pixels). Boxes are cut off at the picture's edges; crowds are neither learned nor measured.
Pictures get into the model as the base's own image processor makes them.
"""

import inspect
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

from pydantic import Field

from modelzoo.datasets.boxes import OBJECTS
from modelzoo.errors import FailedPrecondition, InvalidArgument, ZooError
from zoo_trainer.failures import is_out_of_memory
from zoo_trainer.recipes.boxes import labels_of, true_boxes
from zoo_trainer.recipes.learner import Learner, Start
from zoo_trainer.recipes.pictures import picture_of
from zoo_trainer.recipes.recipe import Recipe
from zoo_trainer.recipes.settings import TrainingSettings
from zoo_trainer.rows import Row, Rows
from zoo_trainer.stopping import Orders

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import nn

    from zoo_trainer.average_precision import TrueBox
    from zoo_trainer.evaluation import Measurement

__all__ = ["RECIPE", "ObjectDetectionSettings"]

IMAGE = "image"
LABELS_MAX = 10_000
# Modules that make labels, boxes or their scores of features, as transformers' detectors call them.
_HEAD = re.compile(r"class|bbox|score|lqe")


class Freeze(StrEnum):
    """How much of the base stays as it is."""

    NONE = "none"
    BACKBONE = "backbone"
    BODY = "body"


class ObjectDetectionSettings(TrainingSettings):
    epochs: Annotated[float, Field(gt=0, le=100_000)] = 30.0
    """Times through the training split, where the job's budget says nothing."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 8
    """Pictures of one optimizer step."""
    learning_rate: Annotated[float, Field(gt=0, le=1_000)] = 1e-4
    """Highest step size of AdamW. For `freeze = body`, ten times as much is usual."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4
    """How much of a weight is taken off at each step, times the learning rate; biases and normalisations are spared."""
    gradient_norm: Annotated[float, Field(ge=0, le=1_000_000)] = 0.1
    """Longer gradients are shortened to it, as detectors of this family are trained. 0: they are not."""
    freeze: Freeze = Freeze.NONE
    """What stays as it is: nothing, the backbone, or all but the heads (body)."""
    flip: bool = False
    """Show every other picture as in a mirror, its boxes with it. Helps with photographs, of which a mirrored one might
    be another; spoils digits, letters, signs and whatever else has a left and a right."""
    new_head: bool = False
    """Draw a new head for labels even where the base has one for all of them."""


class _Example(NamedTuple):
    picture: "Image"
    boxes: "list[TrueBox]"


class _Detector:
    is_adapter = False

    def __init__(self, start: Start[ObjectDetectionSettings]) -> None:
        import torch
        from transformers import MODEL_FOR_OBJECT_DETECTION_MAPPING

        from modelzoo.loading import load_directory_for, load_processor_directory, read_json
        from modelzoo.tasks.files import ModelFiles
        from modelzoo.tasks.object_detection import ObjectDetector

        self._start = start
        self.rows: Sequence[Any] = start.train
        config: Any = read_json(start.base / "config.json") or {}
        own = [str(config.get("id2label", {}).get(str(n))) for n in range(len(config.get("id2label", {})))]
        self._labels, fresh = self._order(own, start.settings.new_head)
        # Bases may have several outputs of one name (the "N/A" of COCO's gaps): the first is meant.
        self._numbers = {label: number for number, label in reversed(list(enumerate(self._labels)))}
        changes: dict[str, Any] = {"id2label": dict(enumerate(self._labels)), "label2id": self._numbers}
        try:
            self.model, _ = load_directory_for(
                start.base,
                MODEL_FOR_OBJECT_DETECTION_MAPPING,
                torch.float32,
                changes if fresh else None,
                fresh_labels=fresh,
            )
            processor: Any = load_processor_directory(start.base)
            # As it is served, it is measured.
            self._finder = ObjectDetector(ModelFiles(start.base, "", self.model, processor))
        except FailedPrecondition as error:
            raise _unsuitable_base(error.message) from error
        self._processor = getattr(processor, "image_processor", processor)
        self._inputs = inspect.signature(self.model.forward).parameters.keys()
        self._dtype: torch.dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
        if fresh:
            start.notes.append(f"A new head for {len(self._labels)} labels was drawn.")
        self._try_loss()
        self._freeze(start.settings.freeze)
        if start.settings.gradient_checkpointing and not cast(Any, self.model).supports_gradient_checkpointing:
            raise InvalidArgument(
                "PARAMETER_INVALID", "This base cannot compute activations again: leave gradient_checkpointing out."
            )

    def encode(self, row: Row, generator: "torch.Generator") -> _Example:
        import torch

        example = self._example(row, self._start.train.root)
        if self._start.settings.flip and torch.rand((), generator=generator).item() < 0.5:
            return _mirrored(example)
        return example

    def collate(self, examples: Sequence[_Example]) -> dict[str, Any]:
        """Several pictures are processed together: their boxes follow from how they are padded."""
        annotations = [
            {"image_id": number, "annotations": [_annotation(box) for box in example.boxes]}
            for number, example in enumerate(examples)
        ]
        pictures = [example.picture for example in examples]
        made = self._processor(images=pictures, annotations=annotations, return_tensors="pt")
        masks = {"pixel_mask": made["pixel_mask"]} if "pixel_mask" in made and "pixel_mask" in self._inputs else {}
        labels = [{name: each[name] for name in ("class_labels", "boxes")} for each in made["labels"]]
        return {"pixel_values": made["pixel_values"], **masks, "labels": labels}

    def items(self, batch: Mapping[str, Any]) -> int:
        """Boxes, over which these losses are averaged; pictures without any count as one together."""
        return max(1, sum(len(each["class_labels"]) for each in batch["labels"]))

    def loss(self, model: "nn.Module", batch: Mapping[str, Any]) -> "torch.Tensor":
        return model(**batch).loss * self.items(batch)

    def measure(self, rows: Rows, batch_size: int, orders: Orders) -> "Measurement":
        from modelzoo.tasks.results import Detection
        from zoo_trainer.average_precision import FOUND_MAX, measure_boxes
        from zoo_trainer.modes import evaluating

        truth: list[list[TrueBox]] = []
        found: list[Sequence[Detection]] = []
        with evaluating(self.model):
            for start in range(0, len(rows), batch_size):
                orders.check()
                examples = [self._example(row, rows.root) for row in rows[start : start + batch_size]]
                detected = self._finder.compute([self._finder.prepare(each.picture) for each in examples])
                truth += [each.boxes for each in examples]
                found += [each.detections[:FOUND_MAX] for each in detected]
        return measure_boxes(self._labels, truth, found)

    def save(self, folder: Path) -> None:
        from zoo_trainer.result import save_transformers

        save_transformers(self.model, folder, self._start.base, self._dtype)

    def _order(self, own: list[str], new_head: bool) -> tuple[list[str], bool]:
        """The labels, and whether they need a new head: as the base has them, or in alphabetical order."""
        train, *measured = (
            Counter(label for row in rows for label in labels_of(row))
            for rows in (self._start.train, *self._start.measured)
        )
        if not train:
            raise _unsuitable("nothing is marked in the pictures to train on")
        if not measured[0]:
            raise _unsuitable("nothing is marked in the pictures to measure on: add a test split that has objects")
        if len(train) > LABELS_MAX:
            raise _unsuitable(f"it has {len(train):,} different labels, more than {LABELS_MAX:,}")
        if unseen := sorted({label for each in measured for label in each} - train.keys()):
            self._start.notes.append(
                f"{len(unseen)} labels stand in held-out pictures alone and cannot be learned: {', '.join(unseen[:5])}."
            )
        found = {*train, *unseen}
        return (own, False) if found <= set(own) and not new_head else (sorted(found), True)

    def _example(self, row: Row, root: Path) -> _Example:
        picture = picture_of(row, IMAGE, root)
        return _Example(picture, true_boxes(row, picture.size, self._numbers))

    def _try_loss(self) -> None:
        """BASE_UNSUITABLE where one example cannot be learned from, whatever becomes of it in the model."""
        from zoo_trainer.modes import evaluating

        batch = self.collate([self._example(self._start.train[0], self._start.train.root)])
        try:
            with evaluating(self.model):
                self.loss(self.model, batch)
        # Not all of transformers' detectors can be trained, and each says so in its own way.
        except Exception as error:
            if is_out_of_memory(error) or isinstance(error, ZooError):
                raise
            raise _unsuitable_base(f"{type(error).__name__}: {str(error)[:300]}") from error

    def _freeze(self, freeze: Freeze) -> None:
        body: Any = cast(Any, self.model).base_model
        if freeze is Freeze.BACKBONE:
            getattr(body, "backbone", body).requires_grad_(False)
        elif freeze is Freeze.BODY:
            for name, parameter in self.model.named_parameters():
                if not _HEAD.search(name):
                    parameter.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            raise InvalidArgument("PARAMETER_INVALID", f"freeze = {freeze} leaves nothing to train of this base.")


def _mirrored(example: _Example) -> _Example:
    from dataclasses import replace

    from PIL.Image import Transpose

    width = float(example.picture.width)
    boxes = [
        replace(each, box=replace(each.box, x_min=width - each.box.x_max, x_max=width - each.box.x_min))
        for each in example.boxes
    ]
    return _Example(example.picture.transpose(Transpose.FLIP_LEFT_RIGHT), boxes)


def _annotation(each: "TrueBox") -> dict[str, Any]:
    """As image processors take it; those leave crowds out."""
    box = each.box
    width, height = box.x_max - box.x_min, box.y_max - box.y_min
    return {
        "bbox": [box.x_min, box.y_min, width, height],
        "category_id": each.label,
        "area": width * height,
        "iscrowd": int(each.is_crowd),
    }


def _unsuitable(why: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"No detector can learn from this dataset: {why}.")


def _unsuitable_base(why: str) -> FailedPrecondition:
    return FailedPrecondition("BASE_UNSUITABLE", f"No detector can be trained from it: {why}")


def _start(start: Start[ObjectDetectionSettings]) -> Learner:
    return _Detector(start)


RECIPE = Recipe(
    name="object-detection",
    settings=ObjectDetectionSettings,
    start=_start,
    base_tasks=("object-detection",),
    task="object-detection",
    columns=(IMAGE, OBJECTS),
    metric="map",
    # transformers' loss of DETR, YOLOS and others divides by the boxes of all processes, and by their number once more.
    single_process="Its losses are weighed by the boxes of a whole batch, of which each process sees its own share.",
)
