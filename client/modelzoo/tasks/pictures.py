"""What tasks on pictures share: a picture into a tensor, pictures of one shape together."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from PIL import Image
from torch import Tensor

from modelzoo.errors import FailedPrecondition, InvalidArgument

__all__ = ["check_picture_model", "pixel_values", "run_by_shape"]

R = TypeVar("R")
TRIED_SIZE = (96, 64)


def pixel_values(processor: Any, image: Image.Image) -> Tensor:
    """float32 [channels, height, width] of one RGB picture. Raises IMAGE_INVALID where the processor cannot."""
    image_processor = getattr(processor, "image_processor", processor)
    try:
        return cast(Tensor, image_processor(images=image, return_tensors="pt")["pixel_values"][0])
    except ValueError as error:
        width, height = image.size
        raise InvalidArgument(
            "IMAGE_INVALID",
            f"this model's processor cannot take a picture of {width} x {height} pixels: {str(error)[:300]}",
            field="image",
        ) from error


def run_by_shape(batch: Sequence[Tensor], run: Callable[[Tensor], Sequence[R]]) -> list[R]:
    """One result for each tensor, in order; those of one shape are computed together, as one more dimension."""
    by_shape: dict[torch.Size, list[int]] = {}
    for index, item in enumerate(batch):
        by_shape.setdefault(item.shape, []).append(index)
    results: dict[int, R] = {}
    for indices in by_shape.values():
        computed = run(torch.stack([batch[index] for index in indices]))
        results.update(zip(indices, computed, strict=True))
    return [results[index] for index in range(len(batch))]


def check_picture_model(run: Callable[[Image.Image], object]) -> None:
    """Try the model on a grey picture; MODEL_LOAD_FAILED where it cannot."""
    try:
        run(Image.new("RGB", TRIED_SIZE, (128, 128, 128)))
    # Foreign files make the libraries raise every kind.
    except Exception as error:
        raise FailedPrecondition(
            "MODEL_LOAD_FAILED", f"The model fails over a plain picture: {str(error)[:500]}"
        ) from error
