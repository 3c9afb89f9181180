"""Trains and measures detectors of digits in scenes, whatever their architecture."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo.loading import load_directory, load_processor_directory
from zoo_starters.mean_average_precision import Found, coco_annotations, mean_average_precision
from zoo_starters.scenes import CLASSES, Scene, Split, compose_scene
from zoo_starters.starter import Measured
from zoo_starters.training import Plan, Trained, deterministic, fit

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

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
    model = cast(Any, load_directory(folder))
    processor = load_processor_directory(folder)
    scenes = [compose_scene(Split.HELD_OUT, number) for number in range(MEASURED_SCENES)[:most]]
    with deterministic(seed, THREADS):
        trained = mean_average_precision(scenes, _detect(model, processor, scenes))
        untrained = mean_average_precision(scenes, _detect(_fresh(model.config).eval(), processor, scenes))
    baseline = mean_average_precision(scenes, _commonest_everywhere(scenes))
    rows = (
        ("mean average precision (IoU 0.50 to 0.95)", trained.overall, baseline.overall, untrained.overall),
        ("mean average precision (IoU 0.50)", trained.at_50, baseline.at_50, untrained.at_50),
    )
    return tuple(
        Measured(
            metric=metric,
            on="scenes of held-out digits",
            items=len(scenes),
            trained=of_trained,
            baseline=of_baseline,
            baseline_name="the commonest digit everywhere",
            untrained=of_untrained,
        )
        for metric, of_trained, of_baseline, of_untrained in rows
    )


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
    annotations = [{"image_id": 0, "annotations": coco_annotations(scene)} for scene in scenes]
    pictures = [scene.picture for scene in scenes]
    return dict(processor(images=pictures, annotations=annotations, return_tensors="pt"))


def _detect(model: Any, processor: Any, scenes: Sequence[Scene]) -> list[Found]:
    """Everything that the model proposes, however unlikely."""
    import torch

    found: list[Found] = []
    for start in range(0, len(scenes), MEASURED_BATCH):
        batch = scenes[start : start + MEASURED_BATCH]
        pixels = processor(images=[scene.picture for scene in batch], return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            outputs = model(pixel_values=pixels)
        sizes = [scene.pixels.shape[:2] for scene in batch]
        for each in processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=sizes):
            found.append(Found(each["boxes"].numpy(), each["labels"].numpy(), each["scores"].numpy()))
    return found


def _commonest_everywhere(scenes: Sequence[Scene]) -> list[Found]:
    """The commonest digit of training scenes, in boxes of their mean size, side by side all over each scene."""
    import numpy as np

    seen = [compose_scene(Split.TRAINING, number) for number in range(MEASURED_SCENES)]
    commonest = np.bincount(np.concatenate([scene.labels for scene in seen])).argmax()
    true = np.concatenate([scene.boxes for scene in seen])
    width, height = (true[:, 2:] - true[:, :2]).mean(axis=0).tolist()
    found: list[Found] = []
    for scene in scenes:
        boxes = _grid(scene, width, height)
        found.append(Found(boxes, np.full(len(boxes), commonest), np.ones(len(boxes), dtype=np.float32)))
    return found


def _grid(scene: Scene, width: float, height: float) -> "NDArray[np.float32]":
    import numpy as np

    rows, columns = int(scene.pixels.shape[0] / height), int(scene.pixels.shape[1] / width)
    corners = [(column * width, row * height) for row in range(rows) for column in range(columns)]
    return np.asarray([(x, y, x + width, y + height) for x, y in corners], dtype=np.float32)
