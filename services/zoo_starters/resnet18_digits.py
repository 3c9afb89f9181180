"""ResNet-18 that tells handwritten digits apart."""

from pathlib import Path

from zoo_starters.card import write_card
from zoo_starters.digit_classifier import label_names, measure_classifier, train_classifier
from zoo_starters.digits import ORIGIN
from zoo_starters.starter import Measured, Starter, Training, items_measured
from zoo_starters.training import Plan

__all__ = ["RESNET18_DIGITS"]

NAME = "resnet18-digits"
SEED = 2
STEPS = 450
BATCH = 32
PEAK_RATE = 1e-3


def _train(packages: Path, folder: Path, steps: int) -> None:
    from transformers import ResNetConfig

    # Table 1 of He et al. (2015), the column of 18 layers.
    config = ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        **label_names(),
    )
    trained = train_classifier(folder, config, Plan(SEED, steps, BATCH, PEAK_RATE), NAME)
    write_card(folder, NAME, trained, STEPS, _measure(packages, folder, items_measured(steps, STEPS)))


def _measure(packages: Path, folder: Path, most: int | None = None) -> tuple[Measured, ...]:
    return measure_classifier(folder, SEED, most)


RESNET18_DIGITS = Starter(
    name=f"zoo/{NAME}",
    task="image-classification",
    origin=f"trained on {ORIGIN}",
    carriers=(),
    recipe=1,
    make=Training(STEPS, _train, _measure),
)
