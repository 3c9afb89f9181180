"""What recipes over text encoders share: how the base is opened, and how much of it rests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field

from modelzoo.errors import FailedPrecondition, InvalidArgument
from zoo_trainer.recipes.class_labels import own_labels
from zoo_trainer.recipes.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from modelzoo.tasks.tokenizing import Tokenizing

__all__ = ["EncoderSettings", "Freeze", "OpenedEncoder", "freeze", "freeze_layers", "labels_of", "open_encoder"]


class Freeze(StrEnum):
    """How much of the encoder stays as it is."""

    NONE = "none"
    EMBEDDINGS = "embeddings"
    ENCODER = "encoder"


class EncoderSettings(TrainingSettings):
    """Of recipes that put a head over an encoder."""

    max_length: Annotated[int, Field(ge=8, le=8192)] = 128
    """Tokens of a text that are read; the rest is cut off. The base's own limit holds, too."""
    freeze: Freeze = Freeze.NONE
    """What of the encoder stays as it is: nothing, the token embeddings, or all of it (a linear probe)."""
    frozen_layers: Annotated[int, Field(ge=0, le=1000)] = 0
    """How many of the lowest layers stay as they are, and the embeddings with them."""


@dataclass(frozen=True, slots=True)
class OpenedEncoder:
    """`model` is in float32, all of it trained; `new` are the names of its tensors that were drawn at random, `dtype`
    is that of the base's files, `longest` how many tokens it reads."""

    model: "nn.Module"
    new: frozenset[str]
    tokenizing: "Tokenizing"
    longest: int
    dtype: "torch.dtype"

    def tokens(self, text: str) -> list[int]:
        """Of a text as far as the model reads it; what ends a text for the model stays at its end."""
        tokens = self.tokenizing.encode(text, add_special_tokens=True)
        return tokens if len(tokens) <= self.longest else [*tokens[: self.longest - 1], tokens[-1]]


def open_encoder(
    base: Path,
    task_classes: Mapping[Any, Any],
    max_length: int,
    refusal: str,
    changes: Mapping[str, Any] | None = None,
    *,
    fresh_head: bool = False,
) -> OpenedEncoder:
    """The base as the class that `task_classes` has for it, as `modelzoo.loading.load_directory_for` says, and its
    tokenizer. BASE_UNSUITABLE, which begins with the refusal, where it has none."""
    import torch

    from modelzoo.loading import load_directory_for, load_processor_directory, read_json
    from modelzoo.tasks.context import context_of
    from modelzoo.tasks.tokenizing import Tokenizing

    try:
        model, new = load_directory_for(base, task_classes, torch.float32, changes, fresh_head=fresh_head)
        tokenizing = Tokenizing(load_processor_directory(base))
    except FailedPrecondition as error:
        raise FailedPrecondition("BASE_UNSUITABLE", f"{refusal}: {error.message}") from error
    longest = min(max_length, context_of(model.config, tokenizing), tokenizing.longest)
    config: Any = read_json(base / "config.json") or {}
    dtype: torch.dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
    return OpenedEncoder(model, new, tokenizing, longest, dtype)


def labels_of(base: Path) -> list[str]:
    """What the base's head answers, in its order; of a base without a head, what its config says."""
    from modelzoo.loading import read_json

    return own_labels(cast(dict[str, object], read_json(base / "config.json") or {}))


def freeze(model: "nn.Module", settings: EncoderSettings) -> None:
    """Take the gradients from what the settings leave as it is. PARAMETER_INVALID where it has fewer layers."""
    body: Any = cast(Any, model).base_model
    if settings.freeze is Freeze.ENCODER:
        body.requires_grad_(False)
    elif settings.freeze is Freeze.EMBEDDINGS:
        _freeze_embeddings(body)
    if settings.frozen_layers:
        freeze_layers(model, settings.frozen_layers)


def freeze_layers(model: "nn.Module", count: int) -> None:
    """Take the gradients from the embeddings and the lowest layers. PARAMETER_INVALID where it has fewer."""
    body: Any = cast(Any, model).base_model
    layers = _layers(body)
    if count > len(layers):
        raise InvalidArgument("PARAMETER_INVALID", f"frozen_layers is {count}; the base has {len(layers)} layers.")
    _freeze_embeddings(body)
    for layer in layers[:count]:
        layer.requires_grad_(False)


def _freeze_embeddings(body: Any) -> None:
    body.get_input_embeddings().requires_grad_(False)
    getattr(body, "embeddings", body.get_input_embeddings()).requires_grad_(False)


def _layers(body: Any) -> "Sequence[nn.Module]":
    """The encoder's blocks, lowest first: the longest list of modules of one kind."""
    from torch import nn

    lists = [each for each in body.modules() if isinstance(each, nn.ModuleList)]
    return list(max(lists, key=len)) if lists else []
