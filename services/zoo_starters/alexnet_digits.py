"""AlexNet, at half of its channels, that tells handwritten digits apart."""

from pathlib import Path

from zoo_starters.card import write_card
from zoo_starters.digit_classifier import label_names, measure_classifier, train_classifier
from zoo_starters.digits import ORIGIN
from zoo_starters.starter import Measured, Starter, Training, items_measured
from zoo_starters.training import Plan

__all__ = ["ALEXNET_DIGITS"]

NAME = "alexnet-digits"
SEED = 1
STEPS = 1200
BATCH = 64
PEAK_RATE = 1e-3

HIDDEN_SIZES = (32, 96, 192, 128, 128)
CLASSIFIER_SIZE = 512
DROPOUT = 0.2


def _train(packages: Path, folder: Path, steps: int) -> None:
    from modelzoo.architectures.alexnet import AlexNetConfig

    config = AlexNetConfig(
        hidden_sizes=HIDDEN_SIZES, classifier_size=CLASSIFIER_SIZE, dropout_rate=DROPOUT, **label_names()
    )
    trained = train_classifier(folder, config, Plan(SEED, steps, BATCH, PEAK_RATE), NAME)
    write_card(folder, NAME, trained, STEPS, _measure(packages, folder, items_measured(steps, STEPS)))


def _measure(packages: Path, folder: Path, most: int | None = None) -> tuple[Measured, ...]:
    return measure_classifier(folder, SEED, most)


ALEXNET_DIGITS = Starter(
    name=f"zoo/{NAME}",
    task="image-classification",
    origin=f"trained on {ORIGIN}",
    carriers=(),
    recipe=1,
    make=Training(STEPS, _train, _measure),
)
