"""Well-known models by name, in the manner of torchvision.models:

    import modelzoo.models as models

    resnet = models.resnet18(pretrained=True)
    logits = resnet(pictures)  # (N, 3, 224, 224) floats, normalised -> (N, 1000)

`pretrained=True` takes the weights from the zoo and gives the model in eval mode; `reference` names another version
than the usual one, `client` another zoo than the configured one. Otherwise the weights are fresh, drawn from torch's
generator (`torch.manual_seed`), and the model is in training mode. Needs the extra `torch`, imported when first used.

Raises MODEL_NOT_FOUND, with the command that imports the published weights, where the zoo has none;
MODEL_UNSUPPORTED where `reference` is a model of another kind; and what `modelzoo.load` raises.
"""

from typing import TYPE_CHECKING, Any, cast

from modelzoo import imagenet
from modelzoo.convert.resnet_layout import EXPANSION, PUBLISHED
from modelzoo.errors import FailedPrecondition, NotFound
from modelzoo.ready import load
from modelzoo.reference import parse

if TYPE_CHECKING:
    from torch import nn

    from modelzoo.classifier import ImageClassifier
    from modelzoo.client import Client

__all__ = ["alexnet", "bert_base_uncased", "gpt2", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]

_ABSENT = ("MODEL_NOT_FOUND", "NAMESPACE_NOT_FOUND")


def alexnet(
    pretrained: bool = False, *, reference: str = "zoo/alexnet", client: "Client | None" = None
) -> "ImageClassifier":
    """AlexNet (Krizhevsky 2014), 61 million parameters; pictures of 63 x 63 and more."""
    if pretrained:
        return _stored_classifier("alexnet", "alexnet", reference, client)
    return _fresh_classifier("alexnet")


def resnet18(
    pretrained: bool = False, *, reference: str = "zoo/resnet18", client: "Client | None" = None
) -> "ImageClassifier":
    """ResNet of 18 layers (He et al. 2015), 12 million parameters."""
    return _resnet(18, pretrained, reference, client)


def resnet34(
    pretrained: bool = False, *, reference: str = "zoo/resnet34", client: "Client | None" = None
) -> "ImageClassifier":
    """ResNet of 34 layers, 22 million parameters."""
    return _resnet(34, pretrained, reference, client)


def resnet50(
    pretrained: bool = False, *, reference: str = "zoo/resnet50", client: "Client | None" = None
) -> "ImageClassifier":
    """ResNet of 50 layers, 26 million parameters."""
    return _resnet(50, pretrained, reference, client)


def resnet101(
    pretrained: bool = False, *, reference: str = "zoo/resnet101", client: "Client | None" = None
) -> "ImageClassifier":
    """ResNet of 101 layers, 45 million parameters."""
    return _resnet(101, pretrained, reference, client)


def resnet152(
    pretrained: bool = False, *, reference: str = "zoo/resnet152", client: "Client | None" = None
) -> "ImageClassifier":
    """ResNet of 152 layers, 60 million parameters."""
    return _resnet(152, pretrained, reference, client)


def bert_base_uncased(
    pretrained: bool = False, *, reference: str = "zoo/bert-base-uncased", client: "Client | None" = None
) -> "nn.Module":
    """BERT base, uncased (Devlin et al. 2018), 110 million parameters: transformers' masked language model."""
    if pretrained:
        return _stored("bert", "hf google-bert/bert-base-uncased", reference, client)
    from transformers import BertConfig, BertForMaskedLM

    # Section 3 of the paper, and the vocabulary published with it.
    config = BertConfig(
        vocab_size=30522,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        hidden_act="gelu",
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        max_position_embeddings=512,
        type_vocab_size=2,
    )
    return cast("nn.Module", cast(Any, BertForMaskedLM)(config))


def gpt2(pretrained: bool = False, *, reference: str = "zoo/gpt2", client: "Client | None" = None) -> "nn.Module":
    """The small GPT-2 (Radford et al. 2019), 124 million parameters: transformers' causal language model."""
    if pretrained:
        return _stored("gpt2", "hf openai-community/gpt2", reference, client)
    from transformers import GPT2Config, GPT2LMHeadModel

    # Table 2 of the paper; the heads are those of its published hyperparameters.
    config = GPT2Config(vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12)
    return cast("nn.Module", cast(Any, GPT2LMHeadModel)(config))


def _resnet(layers: int, pretrained: bool, reference: str, client: "Client | None") -> "ImageClassifier":
    if pretrained:
        return _stored_classifier("resnet", f"resnet{layers}", reference, client)
    block, depths = PUBLISHED[layers]
    widths = [64 * 2**stage * EXPANSION[block] for stage in range(len(depths))]
    return _fresh_classifier("resnet", layer_type=block, depths=list(depths), hidden_sizes=widths)


def _fresh_classifier(model_type: str, **settings: Any) -> "ImageClassifier":
    from transformers import AutoConfig, AutoModelForImageClassification

    from modelzoo import architectures
    from modelzoo.classifier import ImageClassifier

    architectures.register()
    labels = imagenet.class_labels()
    numbers = {label: number for number, label in labels.items()}
    config = cast(Any, AutoConfig).for_model(model_type, **settings, id2label=labels, label2id=numbers)
    return ImageClassifier(cast(Any, AutoModelForImageClassification).from_config(config))


def _stored_classifier(model_type: str, arch: str, reference: str, client: "Client | None") -> "ImageClassifier":
    from modelzoo.classifier import ImageClassifier

    return ImageClassifier(_stored(model_type, f"torchvision {arch}", reference, client, "ForImageClassification"))


def _stored(
    model_type: str, published: str, reference: str, client: "Client | None", architecture_end: str = ""
) -> "nn.Module":
    """The model of the reference, if it is of this type; `published` is what `zoo import` calls the usual weights."""
    try:
        model = load(reference, client=client)
    except NotFound as error:
        if error.reason not in _ABSENT:
            raise
        name = parse(reference).model
        message = f"{error.message.rstrip('.')}. `zoo import {published} {name}` publishes it there."
        raise NotFound("MODEL_NOT_FOUND", message, metadata=error.metadata) from error
    found = cast(Any, model).config.model_type
    if found != model_type or not type(model).__name__.endswith(architecture_end):
        message = f"{reference} is a {type(model).__name__}; `modelzoo.load` gives it as it is."
        raise FailedPrecondition("MODEL_UNSUPPORTED", message)
    return model
