"""What our networks for pictures share, and where the types that transformers leaves open are settled."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import (
    BaseModelOutputWithPoolingAndNoAttention,
    ImageClassifierOutputWithNoAttention,
)
from transformers.utils import generic

__all__ = ["PictureModel", "can_return_tuple", "classified", "features", "label_count"]

_F = TypeVar("_F", bound=Callable[..., Any])


class PictureModel(PreTrainedModel):
    """The base of models whose input is `pixel_values` (N, channels, H, W), floats."""

    main_input_name = "pixel_values"
    input_modalities = "image"

    def __init__(self, config: PreTrainedConfig) -> None:
        cast(Any, super()).__init__(config)


def can_return_tuple(forward: _F) -> _F:
    """Give a forward the argument `return_dict`, which makes a tuple of its output where it is False."""
    return cast(_F, cast(Any, generic).can_return_tuple(forward))


def label_count(config: PreTrainedConfig) -> int:
    return cast(int, config.num_labels)


def features(
    model: PreTrainedModel,
    hidden_states: Sequence[torch.Tensor],
    last: torch.Tensor,
    pooled: torch.Tensor,
    wants_all: bool | None,
) -> BaseModelOutputWithPoolingAndNoAttention:
    """A model's output; the hidden states are in it if `wants_all`, or if that is None and the config says so."""
    output: Any = BaseModelOutputWithPoolingAndNoAttention
    is_wanted = model.config.output_hidden_states if wants_all is None else wants_all
    return output(
        last_hidden_state=last, pooler_output=pooled, hidden_states=tuple(hidden_states) if is_wanted else None
    )


def classified(
    model: PreTrainedModel,
    logits: torch.Tensor,
    labels: torch.Tensor | None,
    hidden_states: tuple[torch.Tensor, ...] | None,
) -> ImageClassifierOutputWithNoAttention:
    """A classifier's output, with the loss that its config's problem type has where there are labels."""
    output: Any = ImageClassifierOutputWithNoAttention
    loss = None if labels is None else cast(Any, model).loss_function(labels, logits, model.config)
    return output(loss=loss, logits=logits, hidden_states=hidden_states)
