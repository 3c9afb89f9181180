"""How good a detector is, in COCO's way (Lin et al. 2014): the area under precision over recall, label by label.

The computation is pycocotools' own; this is where that untyped library is called.
"""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelzoo.tasks.results import Box, Detection
from zoo_trainer.evaluation import BoxFigures, Measurement

__all__ = ["FOUND_MAX", "TrueBox", "measure_boxes"]

# Of one picture, those of the highest scores: more are not counted (COCO's rule).
FOUND_MAX = 100
_EVERY_AREA = [0.0, 1e10]  # pixels


@dataclass(frozen=True, slots=True)
class TrueBox:
    """Where something is; `label` is its number. A crowd is not to be found one by one: what is found in it counts
    neither for the detector nor against it."""

    label: int
    box: Box
    is_crowd: bool = False


def measure_boxes(
    labels: Sequence[str], truth: Sequence[Sequence[TrueBox]], found: Sequence[Sequence[Detection]]
) -> Measurement:
    """Of pictures: `found[i]` is what was found in that of `truth[i]`, the highest score first.

    `map_50` counts a box that overlaps the true one by half (intersection over union); `map` is the mean over 0.50,
    0.55 to 0.95. Both are means over the labels that pictures have, and 0 where they have none.
    """
    from pycocotools.cocoeval import COCOeval

    true = [
        {**_annotation(number, each.label, each.box), "iscrowd": int(each.is_crowd)}
        for number, boxes in enumerate(truth)
        for each in boxes
    ]
    said = [
        {**_annotation(number, each.label.index, each.box), "iscrowd": 0, "score": each.label.score}
        for number, detections in enumerate(found)
        for each in detections[:FOUND_MAX]
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it reports by printing
        evaluation: Any = COCOeval(_indexed(labels, len(truth), true), _indexed(labels, len(truth), said), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [_EVERY_AREA], ["all"]
        evaluation.params.maxDets = [FOUND_MAX]
        evaluation.evaluate()
        evaluation.accumulate()
    # By overlap, recall and label, -1 where there is no such label to find; the last two are of size 1.
    precision: Any = evaluation.eval["precision"][..., 0, 0]
    classes: list[BoxFigures] = []
    for number, label in enumerate(labels):
        boxes = sum(each["category_id"] == number and not each["iscrowd"] for each in true)
        own: Any = precision[:, :, number]
        figures = (float(own.mean()), float(own[0].mean())) if boxes else (None, None)
        classes.append(BoxFigures(label, *figures, boxes))
    metrics = {
        "map": _mean(each.average_precision for each in classes),
        "map_50": _mean(each.average_precision_50 for each in classes),
    }
    return Measurement(metrics, len(truth), boxes=tuple(classes))


def _annotation(picture: int, label: int, box: Box) -> dict[str, Any]:
    width, height = box.x_max - box.x_min, box.y_max - box.y_min
    return {
        "image_id": picture,
        "category_id": label,
        "bbox": [box.x_min, box.y_min, width, height],
        "area": width * height,
    }


def _indexed(labels: Sequence[str], pictures: int, annotations: Sequence[Mapping[str, Any]]) -> Any:
    from pycocotools.coco import COCO

    indexed: Any = COCO()
    indexed.dataset = {
        "images": [{"id": number} for number in range(pictures)],
        # From 1: to pycocotools, 0 is a box that nothing was matched with.
        "annotations": [{**each, "id": number} for number, each in enumerate(annotations, 1)],
        "categories": [{"id": number} for number in range(len(labels))],
    }
    indexed.createIndex()
    return indexed


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0
