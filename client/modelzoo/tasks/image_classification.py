"""Pictures to labels."""

from collections.abc import Sequence

import torch
from PIL.Image import Image
from torch import Tensor

from modelzoo.tasks.files import ModelFiles
from modelzoo.tasks.labels import Labels
from modelzoo.tasks.pictures import check_picture_model, pixel_values, run_by_shape
from modelzoo.tasks.task import Task

__all__ = ["ImageClassifier"]


class ImageClassifier:
    """`prepare` may be called from several threads at once; `compute` belongs to one at a time."""

    task = Task.CLASSIFY_IMAGE

    def __init__(self, files: ModelFiles) -> None:
        """Raises MODEL_UNSUPPORTED, MODEL_LOAD_FAILED."""
        self._model = files.model
        self._processor = files.processor
        self.labels = Labels(files.model.config)
        self.size_bytes = files.size_bytes
        check_picture_model(lambda image: self.compute([self.prepare(image)]))

    def prepare(self, image: Image) -> Tensor:
        """float32 [channels, height, width], resized and normalised as the model's own processor says."""
        return pixel_values(self._processor, image)

    def cost(self, item: Tensor) -> int:
        """What the item adds to a batch: values."""
        return item.numel()

    def compute(self, batch: Sequence[Tensor]) -> list[list[float]]:
        """Of each picture the probability of each label; `labels.rank` names them."""
        with torch.inference_mode():
            return run_by_shape(batch, self._run)

    def _run(self, pixels: Tensor) -> list[list[float]]:
        return self.labels.probabilities(self._model(pixel_values=pixels.to(self._model.dtype)).logits)
