"""# Pictures to labels

Teaches a classifier of pictures (AlexNet, ResNet, EfficientNet, ViT, ConvNeXt, ... whatever has a network for it) the
labels of a dataset. Where the base has outputs for these labels already, they are trained on; otherwise the layer of
outputs is drawn anew, and all below it stays what the base has learned. Pictures are prepared as the base's own
processor says.

`freeze = body` trains the layer of outputs alone (a linear probe): it is fast, stores a few kilobytes, wants a learning
rate around 0.003, and is often enough. `frozen_layers` leaves that many of the lowest stages, layers or blocks as they
are, and all before them. `freeze = none` trains everything. What rests is computed as when the model is used: running
averages of its batch norms stay, too.

Each time a picture is learned from, it is cropped, mirrored and coloured a little differently (`augmentation`). In a
mirror, letters and digits mean something else: `flips = auto` leaves that out where all labels are single characters;
say `off` where left and right matter otherwise.

The dataset is pictures in folders by label, or rows with a column of pictures (`image`, `img` or `picture`: the name of
a file beside the rows, or bytes in Parquet) and one of labels (`label`, `category` or `class`).
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

from pydantic import Field

from modelzoo.errors import FailedPrecondition, InvalidArgument
from zoo_trainer.recipes.augmentation import Flips, Strength, augmentation_of
from zoo_trainer.recipes.class_labels import LABELS, Classes, find_classes, own_labels
from zoo_trainer.recipes.columns import column_of
from zoo_trainer.recipes.layers import averages_at_rest, rest_all_but, rest_lowest
from zoo_trainer.recipes.learner import Learner, Start
from zoo_trainer.recipes.pictures import PICTURES, check_picture, picture_of
from zoo_trainer.recipes.recipe import Recipe
from zoo_trainer.recipes.settings import TrainingSettings
from zoo_trainer.rows import Row, Rows
from zoo_trainer.stopping import Orders

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import nn

    from zoo_trainer.evaluation import Measurement

__all__ = ["RECIPE", "ImageClassificationSettings"]

# Of pictures that the base is tried on: one wide, one high.
TRIED_SIZES = ((96, 64), (64, 96))


class Freeze(StrEnum):
    """How much of the base stays as it is."""

    NONE = "none"
    BODY = "body"


class ImageClassificationSettings(TrainingSettings):
    learning_rate: Annotated[float, Field(gt=0, le=1_000)] = 1e-4
    """Highest step size of AdamW. Where only the layer of outputs is trained, 0.003 is usual."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 32
    """Examples of one optimizer step."""
    freeze: Freeze = Freeze.NONE
    """What of the base stays as it is: nothing, or all but the layer of outputs (a linear probe)."""
    frozen_layers: Annotated[int, Field(ge=0, le=1000)] = 0
    """How many of the lowest stages, layers or blocks stay as they are, and all before them."""
    augmentation: Strength = Strength.LIGHT
    """How differently a picture is cropped and coloured each time it is learned from."""
    flips: Flips = Flips.AUTO
    """Whether augmentation exchanges left and right; auto: unless all labels are single characters."""
    class_weights: bool = False
    """Weigh each label by how rare it is, so that rare ones are not passed over."""
    new_head: bool = False
    """Draw the layer of outputs anew even where the base has one for these labels."""


class _Example(NamedTuple):
    pixels: "torch.Tensor"
    label: int


class _ImageClassifier:
    is_adapter = False

    def __init__(self, start: Start[ImageClassificationSettings]) -> None:
        import torch

        from modelzoo.loading import label_tensors, read_json

        settings = start.settings
        self._start = start
        self.rows: Sequence[Any] = start.train
        self._column = column_of(start.train[0], PICTURES)
        config: Any = read_json(start.base / "config.json") or {}
        self._classes = find_classes(
            start,
            column_of(start.train[0], LABELS),
            [] if settings.new_head else own_labels(config),
            lambda row: check_picture(row, self._column, start.train.root),
        )
        self.model, new, self._processor = _open(start.base, self._classes)
        if not self._classes.are_own:
            start.notes.append(f"A new layer of outputs for {len(self._classes.names)} labels was drawn.")
        self._dtype: torch.dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
        self._try()
        if settings.freeze is Freeze.BODY:
            rest_all_but(self.model, new | label_tensors(type(self.model), self.model.config))
        if settings.frozen_layers:
            rest_lowest(self.model, settings.frozen_layers, self._try)
        if settings.gradient_checkpointing and not cast(Any, self.model).supports_gradient_checkpointing:
            raise InvalidArgument(
                "PARAMETER_INVALID", "gradient_checkpointing: networks of the base's kind cannot; leave it out."
            )
        self._augmentation = augmentation_of(settings.augmentation, settings.flips, list(self._classes.names))
        self._weights = self._classes.weights() if settings.class_weights else None

    def encode(self, row: Row, generator: "torch.Generator") -> _Example:
        picture = self._picture(row)
        if self._augmentation is not None:
            picture = self._augmentation.apply(picture, generator)
        return _Example(self._pixels(picture), self._classes.number(row))

    def collate(self, examples: Sequence[_Example]) -> "dict[str, torch.Tensor]":
        import torch

        return {
            "pixel_values": torch.stack([each.pixels for each in examples]),
            "labels": torch.tensor([each.label for each in examples]),
        }

    def items(self, batch: "Mapping[str, torch.Tensor]") -> int:
        return len(batch["labels"])

    def loss(self, model: "nn.Module", batch: "Mapping[str, torch.Tensor]") -> "torch.Tensor":
        from torch.nn import functional

        with averages_at_rest(self.model) if len(batch["labels"]) == 1 else nullcontext():
            logits = model(pixel_values=batch["pixel_values"]).logits
        weights = None if self._weights is None else self._weights.to(logits.device)
        return functional.cross_entropy(logits.float(), batch["labels"], weight=weights, reduction="sum")

    def measure(self, rows: Rows, batch_size: int, orders: Orders) -> "Measurement":
        import torch

        from zoo_trainer.evaluation import measure_classes
        from zoo_trainer.modes import evaluating

        truth: list[int] = []
        said: list[int] = []
        device = next(self.model.parameters()).device
        with evaluating(self.model):
            for start in range(0, len(rows), batch_size):
                orders.check()
                batch = list(rows[start : start + batch_size])
                pixels = torch.stack([self._pixels(self._picture(row)) for row in batch])
                logits = self.model(pixel_values=pixels.to(device)).logits
                said += cast(list[int], cast(Any, torch.argmax(logits, dim=1)).tolist())
                truth += [self._classes.number(row) for row in batch]
        return measure_classes(self._classes.names, truth, said)

    def save(self, folder: Path) -> None:
        from zoo_trainer.result import save_transformers

        save_transformers(self.model, folder, self._start.base, self._dtype)

    def _picture(self, row: Row) -> "Image":
        return picture_of(row, self._column, self._start.train.root)

    def _pixels(self, picture: "Image") -> "torch.Tensor":
        from modelzoo.tasks.pictures import pixel_values

        return pixel_values(self._processor, picture)

    def _try(self) -> None:
        """BASE_UNSUITABLE unless plain pictures of two shapes become one batch and a number for each label."""
        import torch
        from PIL import Image

        from zoo_trainer.modes import evaluating

        try:
            plain = [self._pixels(Image.new("RGB", size, (128, 128, 128))) for size in TRIED_SIZES]
            with evaluating(self.model):
                logits = self.model(pixel_values=torch.stack(plain)).logits
        # Foreign files make the libraries raise every kind.
        except Exception as error:
            raise _unsuitable(f"it fails over plain pictures of different shapes: {str(error)[:500]}") from error
        if logits.shape != (len(TRIED_SIZES), len(self._classes.names)):
            raise _unsuitable(f"its outputs for two pictures have the shape {tuple(logits.shape)}")


def _open(base: Path, classes: Classes) -> "tuple[nn.Module, frozenset[str], Any]":
    """The network with outputs for the classes, the names of its new tensors, and what prepares pictures for it."""
    import torch
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

    from modelzoo.loading import load_directory_for, load_processor_directory

    try:
        model, new = load_directory_for(
            base,
            MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
            torch.float32,
            classes.config(),
            fresh_labels=not classes.are_own,
        )
        return model, new, load_processor_directory(base)
    except FailedPrecondition as error:
        raise _unsuitable(error.message) from error


def _unsuitable(why: str) -> FailedPrecondition:
    return FailedPrecondition("BASE_UNSUITABLE", f"No classifier of pictures can be made of the base: {why}")


def _start(start: Start[ImageClassificationSettings]) -> Learner:
    return _ImageClassifier(start)


RECIPE = Recipe(
    name="image-classification",
    settings=ImageClassificationSettings,
    start=_start,
    base_tasks=("image-classification", "feature-extraction"),
    task="image-classification",
    columns=("|".join(PICTURES), "|".join(LABELS)),
    metric="accuracy",
)
