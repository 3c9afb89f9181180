"""Trains and measures classifiers of digit pictures, whatever their architecture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo import architectures
from zoo_starters.digits import CLASSES, compose, held_out_digits, training_digits
from zoo_starters.starter import Measured
from zoo_starters.training import Plan, Trained, deterministic, fit

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

__all__ = ["label_names", "measure_classifier", "train_classifier"]

SIDE = 64
MEAN = STD = 0.5
# Pictures that are measured on: larger than what the model sees, so that its processor has work to do.
MEASURED_SIDE = 160
MEASURED_PER_DIGIT = 3
MEASURED_SEED = 11
MEASURED_BATCH = 64


def label_names() -> dict[str, Any]:
    """What a configuration says of the classes."""
    return {"id2label": dict(enumerate(CLASSES)), "label2id": {name: number for number, name in enumerate(CLASSES)}}


def train_classifier(folder: Path, config: Any, plan: Plan, label: str) -> Trained:
    """Leave a classifier with this configuration and its image processor in `folder`."""
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import ViTImageProcessorPil

    digits = training_digits()
    with deterministic(plan.seed) as generator:
        model = _fresh(config)

        def next_loss() -> torch.Tensor:
            chosen = torch.randint(len(digits.labels), (plan.batch_size,), generator=generator)
            pictures = compose(digits.ink[chosen], SIDE, generator)
            logits = model(pixel_values=(pictures - MEAN) / STD).logits
            return cross_entropy(logits, digits.labels[chosen])

        trained = fit(model, plan, next_loss, label)
    model.save_pretrained(folder)
    processor = ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[MEAN] * 3, image_std=[STD] * 3, do_convert_rgb=True
    )
    cast(Any, processor).save_pretrained(folder)
    return trained


def measure_classifier(folder: Path, seed: int, most: int | None) -> tuple[Measured, ...]:
    """Accuracy on held-out digits, at most so many, as pictures, then as scans; `seed` made the untrained network."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    architectures.register()
    processor = cast(Any, AutoImageProcessor).from_pretrained(folder)
    model = cast(Any, AutoModelForImageClassification).from_pretrained(folder)
    measured: list[Measured] = []
    with deterministic(seed):
        untrained = _fresh(model.config).eval()
        for on, pictures, labels in _held_out_pictures(most):
            common = torch.bincount(labels).argmax()
            pixels = processor(pictures, return_tensors="pt")["pixel_values"]
            measured.append(
                Measured(
                    metric="accuracy",
                    on=on,
                    items=len(labels),
                    trained=_accuracy(model, pixels, labels),
                    baseline=(labels == common).float().mean().item(),
                    baseline_name=f"always {CLASSES[int(common)]}",
                    untrained=_accuracy(untrained, pixels, labels),
                )
            )
    return tuple(measured)


def _fresh(config: Any) -> Any:
    from transformers import AutoModelForImageClassification

    architectures.register()
    return cast(Any, AutoModelForImageClassification).from_config(config)


def _held_out_pictures(most: int | None) -> "list[tuple[str, list[Image], torch.Tensor]]":
    import torch
    from PIL import Image

    digits = held_out_digits()
    ink, labels = digits.ink[:most], digits.labels[:most]
    generator = torch.Generator().manual_seed(MEASURED_SEED)
    repeated = ink.repeat_interleave(MEASURED_PER_DIGIT, dim=0)
    composed = (compose(repeated, MEASURED_SIDE, generator) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    scans = (ink * 255).round().byte().numpy()
    return [
        (
            "pictures of held-out digits of any colour, size and place",
            [Image.fromarray(each) for each in composed],
            labels.repeat_interleave(MEASURED_PER_DIGIT),
        ),
        ("held-out digits as scanned", [Image.fromarray(each).convert("RGB") for each in scans], labels),
    ]


def _accuracy(model: Any, pixels: "torch.Tensor", labels: "torch.Tensor") -> float:
    import torch

    with torch.inference_mode():
        found = torch.cat(
            [model(pixel_values=batch).logits.argmax(-1) for batch in cast(Any, pixels).split(MEASURED_BATCH)]
        )
    return (found == labels).float().mean().item()
