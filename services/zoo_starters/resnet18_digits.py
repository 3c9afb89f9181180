"""ResNet-18 that tells handwritten digits apart."""

from pathlib import Path

from zoo_starters.digit_pictures import DIGIT_PICTURES, few_pictures, label_names, save_untrained_classifier
from zoo_starters.learned import Learned
from zoo_starters.starter import Starter

__all__ = ["RESNET18_DIGITS"]

SEED = 2
STEPS = 450
PARAMETERS = {
    "batch_size": 32,
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "augmentation": "none",
}


def _make_base(packages: Path, folder: Path) -> None:
    from transformers import ResNetConfig

    # Table 1 of He et al. (2015), the column of 18 layers.
    config = ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        **label_names(),
    )
    save_untrained_classifier(folder, config, SEED, "resnet18-untrained")


RESNET18_DIGITS = Starter(
    name="zoo/resnet18-digits",
    task="image-classification",
    origin=DIGIT_PICTURES.origin,
    carriers=(),
    recipe=2,
    make=Learned(
        base=Starter(
            name="zoo/resnet18-untrained",
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
        description="The 18 layers of He et al. (2015), all of their channels, tell handwritten digits apart: one "
        "digit that fills a third of the picture or more, in any colours. It always answers with a digit: of "
        "pictures without one, with several, or with printed ones it knows nothing. Digits by E. Alpaydin and C. "
        "Kaynak (UCI Machine Learning Repository, 1998, CC BY 4.0).",
    ),
)
