"""Trains and measures detectors of digits in scenes, whatever their architecture."""

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo.tasks.results import Box, Detection, LabelScore
from zoo_starters.scenes import CLASSES, Scene, Split, compose_scene
from zoo_starters.starter import Measured
from zoo_starters.training import Plan, Trained, deterministic, fit
from zoo_trainer.average_precision import TrueBox, measure_boxes

if TYPE_CHECKING:
    import torch

    from modelzoo.tasks.files import ModelFiles

__all__ = ["label_names", "measure_detector", "train_detector"]

# Every picture is stretched to this square, as RT-DETR and its kin do with theirs.
SIDE = 128
# A second thread makes a step of so small a network no faster, for twice the processor time.
THREADS = 1
MEASURED_SCENES = 300
MEASURED_BATCH = 50


def label_names() -> dict[str, Any]:
    """What a configuration says of the classes."""
    return {"id2label": dict(enumerate(CLASSES)), "label2id": {name: number for number, name in enumerate(CLASSES)}}


def train_detector(folder: Path, config: Any, plan: Plan, label: str) -> Trained:
    """Leave a detector with this configuration and its image processor in `folder`."""
    from transformers import RTDetrImageProcessorPil

    processor = cast(Any, RTDetrImageProcessorPil)(size={"height": SIDE, "width": SIDE}, do_convert_rgb=True)
    with deterministic(plan.seed, THREADS), ThreadPoolExecutor(max_workers=1) as ahead:
        model = _fresh(config)
        batches = _batches(processor, plan.batch_size, ahead)

        def next_loss() -> "torch.Tensor":
            return model(**next(batches)).loss

        trained = fit(model, plan, next_loss, label)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return trained


def measure_detector(folder: Path, seed: int, most: int | None) -> tuple[Measured, ...]:
    """Mean average precision on scenes of held-out digits, at most so many; `seed` made the untrained network."""
    from dataclasses import replace

    from modelzoo.tasks.files import read_files

    files = read_files(folder)
    scenes = [compose_scene(Split.HELD_OUT, number) for number in range(MEASURED_SCENES)[:most]]
    with deterministic(seed, THREADS):
        trained = _precision(scenes, _detect(files, scenes))
        fresh = replace(files, model=_fresh(files.model.config).eval())
        untrained = _precision(scenes, _detect(fresh, scenes))
    baseline = _precision(scenes, _commonest_everywhere(scenes))
    rows = (("map", "IoU 0.50 to 0.95"), ("map_50", "IoU 0.50"))
    return tuple(
        Measured(
            metric=f"mean average precision ({overlap})",
            on="scenes of held-out digits",
            items=len(scenes),
            trained=trained[metric],
            baseline=baseline[metric],
            baseline_name="the commonest digit everywhere",
            untrained=untrained[metric],
        )
        for metric, overlap in rows
    )


def _precision(scenes: Sequence[Scene], found: Sequence[Sequence[Detection]]) -> Mapping[str, float]:
    truth = [
        [TrueBox(label, Box(*box)) for box, label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True)]
        for scene in scenes
    ]
    return measure_boxes(CLASSES, truth, found).metrics


def _fresh(config: Any) -> Any:
    from transformers import AutoModelForObjectDetection

    return cast(Any, AutoModelForObjectDetection).from_config(config)


def _batches(processor: Any, size: int, ahead: ThreadPoolExecutor) -> Generator[dict[str, Any]]:
    """What the model takes of the training scenes, in order; `ahead` makes the next batch while one is computed."""
    start = 0
    following = ahead.submit(_batch, processor, start, size)
    while True:
        batch = following.result()
        start += size
        following = ahead.submit(_batch, processor, start, size)
        yield batch


def _batch(processor: Any, start: int, size: int) -> dict[str, Any]:
    scenes = [compose_scene(Split.TRAINING, number) for number in range(start, start + size)]
    annotations = [{"image_id": 0, "annotations": _coco_annotations(scene)} for scene in scenes]
    pictures = [scene.picture for scene in scenes]
    return dict(processor(images=pictures, annotations=annotations, return_tensors="pt"))


def _coco_annotations(scene: Scene) -> list[dict[str, Any]]:
    """What is in the scene, as COCO's format has it."""
    return [
        {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "category_id": label, "iscrowd": 0}
        for (x0, y0, x1, y1), label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True)
    ]


def _detect(files: "ModelFiles", scenes: Sequence[Scene]) -> list[Sequence[Detection]]:
    """Everything that the model proposes, however unlikely."""
    from modelzoo.tasks.object_detection import ObjectDetector

    detector = ObjectDetector(files)
    found: list[Sequence[Detection]] = []
    for start in range(0, len(scenes), MEASURED_BATCH):
        batch = [detector.prepare(scene.picture) for scene in scenes[start : start + MEASURED_BATCH]]
        found += [each.detections for each in detector.compute(batch)]
    return found


def _commonest_everywhere(scenes: Sequence[Scene]) -> list[Sequence[Detection]]:
    """The commonest digit of training scenes, in boxes of their mean size, side by side all over each scene."""
    import numpy as np

    seen = [compose_scene(Split.TRAINING, number) for number in range(MEASURED_SCENES)]
    commonest = int(np.bincount(np.concatenate([scene.labels for scene in seen])).argmax())
    true = np.concatenate([scene.boxes for scene in seen])
    width, height = (true[:, 2:] - true[:, :2]).mean(axis=0).tolist()
    said = LabelScore(CLASSES[commonest], 1.0, commonest)
    return [[Detection(said, box) for box in _grid(scene, width, height)] for scene in scenes]


def _grid(scene: Scene, width: float, height: float) -> list[Box]:
    rows, columns = int(scene.pixels.shape[0] / height), int(scene.pixels.shape[1] / width)
    corners = [(column * width, row * height) for row in range(rows) for column in range(columns)]
    return [Box(x, y, x + width, y + height) for x, y in corners]
