"""Architectures of our own in transformers' form, beside those that transformers has.

    architectures.register()  # once per process, before an Auto class of transformers is to know them
    config = AutoConfig.for_model("alexnet", num_labels=10)
    model = AutoModelForImageClassification.from_config(config)

`modelzoo.load` and the workers register for themselves. Importing this package loads neither torch nor transformers.
"""

from typing import Any

__all__ = ["classes", "register"]


def register() -> None:
    """Make these architectures known to transformers' Auto classes in this process; again changes nothing."""
    from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

    from modelzoo.architectures import alexnet, efficientnet_lite

    # transformers leaves the types of `register` open.
    configs: Any = AutoConfig
    models: Any = AutoModel
    classifiers: Any = AutoModelForImageClassification
    for config, model, classifier in (
        (alexnet.AlexNetConfig, alexnet.AlexNetModel, alexnet.AlexNetForImageClassification),
        (
            efficientnet_lite.EfficientNetLiteConfig,
            efficientnet_lite.EfficientNetLiteModel,
            efficientnet_lite.EfficientNetLiteForImageClassification,
        ),
    ):
        configs.register(config.model_type, config, exist_ok=True)
        models.register(config, model, exist_ok=True)
        classifiers.register(config, classifier, exist_ok=True)


def classes() -> dict[str, type[Any]]:
    """Every model class of this package by the name that config.json's `architectures` gives it."""
    from modelzoo.architectures import alexnet, efficientnet_lite

    found: tuple[type[Any], ...] = (
        alexnet.AlexNetModel,
        alexnet.AlexNetForImageClassification,
        efficientnet_lite.EfficientNetLiteModel,
        efficientnet_lite.EfficientNetLiteForImageClassification,
    )
    return {model.__name__: model for model in found}
