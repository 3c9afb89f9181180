"""How good a detector is, in COCO's way: the mean over classes of the area under precision over recall.

The computation is pycocotools' own (Lin et al. 2014); this is where that untyped library is called.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo_starters.scenes import CLASSES, Scene

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Found", "MeanAveragePrecision", "coco_annotations", "mean_average_precision"]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in one picture: `boxes` (n, 4) as x0, y0, x1, y1 in pixels, `labels` (n,), `scores` (n,)."""

    boxes: "NDArray[np.float32]"
    labels: "NDArray[np.int64]"
    scores: "NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class MeanAveragePrecision:
    """`at_50` counts a box that overlaps the true one by half (IoU); `overall` is the mean over 0.50, 0.55 to 0.95."""

    overall: float
    at_50: float


def coco_annotations(scene: Scene) -> list[dict[str, Any]]:
    """What is in the scene, as COCO's format has it."""
    return [
        {"bbox": _corner_and_size(box), "area": float((box[2] - box[0]) * (box[3] - box[1])), "category_id": label}
        | {"iscrowd": 0}
        for box, label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True)
    ]


def mean_average_precision(scenes: Sequence[Scene], found: Sequence[Found]) -> MeanAveragePrecision:
    """`found[i]` is what was found in `scenes[i]`; of each, the hundred of the highest scores count."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    true = [
        {**annotation, "image_id": number}
        for number, scene in enumerate(scenes)
        for annotation in coco_annotations(scene)
    ]
    results = [
        {"image_id": number, "category_id": label, "bbox": _corner_and_size(box), "score": score}
        for number, each in enumerate(found)
        for box, label, score in zip(each.boxes.tolist(), each.labels.tolist(), each.scores.tolist(), strict=True)
    ]
    if not results:  # pycocotools cannot take none
        return MeanAveragePrecision(0.0, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # it reports by printing
        truth: Any = COCO()
        truth.dataset = {
            "images": [{"id": number} for number in range(len(scenes))],
            "annotations": [{**annotation, "id": number} for number, annotation in enumerate(true, start=1)],
            "categories": [{"id": number} for number in range(len(CLASSES))],
        }
        truth.createIndex()
        evaluation: Any = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return MeanAveragePrecision(overall=float(evaluation.stats[0]), at_50=float(evaluation.stats[1]))


def _corner_and_size(box: Sequence[float]) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]
