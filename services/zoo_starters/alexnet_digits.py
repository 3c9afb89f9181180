"""AlexNet, at half of its channels, that tells handwritten digits apart."""

from pathlib import Path

from zoo_starters.digit_pictures import DIGIT_PICTURES, few_pictures, label_names, save_untrained_classifier
from zoo_starters.learned import Learned
from zoo_starters.starter import Starter

__all__ = ["ALEXNET_DIGITS"]

SEED = 1
STEPS = 1200
PARAMETERS = {
    "batch_size": 64,
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "augmentation": "light",
}

HIDDEN_SIZES = (32, 96, 192, 128, 128)
CLASSIFIER_SIZE = 512
DROPOUT = 0.2


def _make_base(packages: Path, folder: Path) -> None:
    from modelzoo.architectures.alexnet import AlexNetConfig

    config = AlexNetConfig(
        hidden_sizes=HIDDEN_SIZES, classifier_size=CLASSIFIER_SIZE, dropout_rate=DROPOUT, **label_names()
    )
    save_untrained_classifier(folder, config, SEED, "alexnet-untrained")


ALEXNET_DIGITS = Starter(
    name="zoo/alexnet-digits",
    task="image-classification",
    origin=DIGIT_PICTURES.origin,
    carriers=(),
    recipe=2,
    make=Learned(
        base=Starter(
            name="zoo/alexnet-untrained",
            task="image-classification",
            origin="made here",
            carriers=(),
            recipe=1,
            make=_make_base,
        ),
        dataset=DIGIT_PICTURES,
        few=few_pictures,
        recipe="image-classification",
        parameters=PARAMETERS,
        steps=STEPS,
        seed=SEED,
        description="The network of Krizhevsky (2014), at half of its channels, tells handwritten digits apart: one "
        "digit that fills a third of the picture or more, in any colours. It always answers with a digit: of "
        "pictures without one, with several, or with printed ones it knows nothing. Digits by E. Alpaydin and C. "
        "Kaynak (UCI Machine Learning Repository, 1998, CC BY 4.0).",
    ),
)
