"""Objects in pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from modelzoo.tasks.files import ModelFiles
from modelzoo.tasks.labels import Labels, check_finite
from modelzoo.tasks.pictures import check_picture_model, pixel_values, run_by_shape
from modelzoo.tasks.results import Box, Detected, Detection, LabelScore
from modelzoo.tasks.task import Task

__all__ = ["ObjectDetector", "Scene"]


@dataclass(frozen=True, slots=True)
class Scene:
    """A prepared picture: float32 [channels, height, width], and its own size in pixels, which boxes refer to."""

    pixels: Tensor
    width: int
    height: int


class ObjectDetector:
    """`prepare` may be called from several threads at once; `compute` belongs to one at a time."""

    task = Task.DETECT_OBJECTS

    def __init__(self, files: ModelFiles) -> None:
        """Raises MODEL_LOAD_FAILED."""
        self._model = files.model
        self._processor = getattr(files.processor, "image_processor", files.processor)
        self._names = Labels(files.model.config).names
        self.size_bytes = files.size_bytes
        check_picture_model(lambda image: self.compute([self.prepare(image)]))

    def prepare(self, image: Image) -> Scene:
        return Scene(pixel_values(self._processor, image), image.width, image.height)

    def cost(self, item: Scene) -> int:
        """What the item adds to a batch: values."""
        return item.pixels.numel()

    def compute(self, batch: Sequence[Scene]) -> list[Detected]:
        """Everything that the model proposes, however unlikely; `Detected.best` chooses."""
        # Not inference mode: transformers' detectors keep anchors, which training may need afterwards.
        with torch.no_grad():
            outputs = run_by_shape([scene.pixels for scene in batch], self._run)
        return [self._detected(*output, scene) for output, scene in zip(outputs, batch, strict=True)]

    def _run(self, pixels: Tensor) -> list[tuple[Tensor, Tensor]]:
        output = self._model(pixel_values=pixels.to(self._model.device, self._model.dtype))
        check_finite(output.logits)
        check_finite(output.pred_boxes)
        return list(zip(output.logits.float().cpu(), output.pred_boxes.float().cpu(), strict=True))

    def _detected(self, logits: Tensor, boxes: Tensor, scene: Scene) -> Detected:
        outputs = _Outputs(logits.unsqueeze(0), boxes.unsqueeze(0))
        found: Any = self._processor.post_process_object_detection(
            outputs, threshold=0.0, target_sizes=[(scene.height, scene.width)]
        )[0]
        scores: list[float] = found["scores"].tolist()
        labels: list[int] = found["labels"].tolist()
        corners: list[list[float]] = found["boxes"].tolist()
        detections = [
            Detection(LabelScore(self._names[label], score, label), _clipped(box, scene))
            for score, label, box in zip(scores, labels, corners, strict=True)
        ]
        detections.sort(key=lambda detection: -detection.label.score)
        return Detected(tuple(detections), scene.width, scene.height)


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What transformers' processors read of a detector's output."""

    logits: Tensor
    pred_boxes: Tensor


def _clipped(box: list[float], scene: Scene) -> Box:
    x_min, y_min, x_max, y_max = box
    return Box(
        min(max(x_min, 0.0), scene.width),
        min(max(y_min, 0.0), scene.height),
        min(max(x_max, 0.0), scene.width),
        min(max(y_max, 0.0), scene.height),
    )
