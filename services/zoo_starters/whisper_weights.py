"""Whisper's arrays as CTranslate2 lays them out, under the names and in the shapes of transformers' Whisper.

CTranslate2 stacks the projections of an attention along the output axis: query, key and value where a layer attends to
itself, key and value where the decoder attends to the encoder. Whisper's keys have no bias (Radford et al., 2022); the
stack carries zeros for it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from modelzoo.errors import FailedPrecondition
from zoo_starters.ctranslate2 import Array, Ctranslate2Model

__all__ = ["to_config", "to_state_dict"]

KIND = "WhisperSpec"

LINEARS: Mapping[str, tuple[str, ...]] = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}
NORMS: Mapping[str, str] = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "ffn/layer_norm": "final_layer_norm",
}
NORM_PARTS: Mapping[str, str] = {"gamma": "weight", "beta": "bias"}
OUTSIDE_LAYERS: Mapping[str, str] = {
    "encoder/conv1/weight": "model.encoder.conv1.weight",
    "encoder/conv1/bias": "model.encoder.conv1.bias",
    "encoder/conv2/weight": "model.encoder.conv2.weight",
    "encoder/conv2/bias": "model.encoder.conv2.bias",
    "encoder/position_encodings/encodings": "model.encoder.embed_positions.weight",
    "encoder/layer_norm/gamma": "model.encoder.layer_norm.weight",
    "encoder/layer_norm/beta": "model.encoder.layer_norm.bias",
    "decoder/embeddings/weight": "model.decoder.embed_tokens.weight",
    "decoder/position_encodings/encodings": "model.decoder.embed_positions.weight",
    "decoder/layer_norm/gamma": "model.decoder.layer_norm.weight",
    "decoder/layer_norm/beta": "model.decoder.layer_norm.bias",
    "decoder/projection/weight": "proj_out.weight",
}

_IN_LAYER = re.compile(r"(?P<side>encoder|decoder)/layer_(?P<index>\d+)/(?P<block>\w+/\w+)/(?P<part>\w+)")


def to_config(model: Ctranslate2Model) -> dict[str, Any]:
    """The settings of transformers' WhisperConfig that follow from the model's shapes and head counts."""
    arrays = model.variables
    vocabulary, width = arrays["decoder/embeddings/weight"].shape
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "num_mel_bins": arrays["encoder/conv1/weight"].shape[1],
        "max_source_positions": arrays["encoder/position_encodings/encodings"].shape[0],
        "max_target_positions": arrays["decoder/position_encodings/encodings"].shape[0],
        "encoder_layers": _count_layers(model, "encoder"),
        "decoder_layers": _count_layers(model, "decoder"),
        "encoder_attention_heads": int(arrays["encoder/num_heads"]),
        "decoder_attention_heads": int(arrays["decoder/num_heads"]),
        "encoder_ffn_dim": arrays["encoder/layer_0/ffn/linear_0/bias"].shape[0],
        "decoder_ffn_dim": arrays["decoder/layer_0/ffn/linear_0/bias"].shape[0],
    }


def to_state_dict(model: Ctranslate2Model) -> dict[str, Array]:
    """Every array of the model as transformers' WhisperForConditionalGeneration names and cuts it, in float32.

    Raises MODEL_UNSUPPORTED where the model is not a Whisper or holds arrays that this does not know, such as the
    scales of quantised weights.
    """
    if model.kind != KIND:
        raise FailedPrecondition("MODEL_UNSUPPORTED", f"This is a {model.kind[:80]!a}, not a Whisper model.")
    tensors: dict[str, Array] = {}
    for name, array in model.variables.items():
        # Arrays without axes, and which heads align with time, are settings and no weights.
        if array.ndim and not name.startswith("decoder/alignment"):
            tensors.update(_renamed(name, array.astype(np.float32)))
    return tensors


def _renamed(name: str, array: Array) -> Iterator[tuple[str, Array]]:
    if name in OUTSIDE_LAYERS:
        yield OUTSIDE_LAYERS[name], array
        return
    found = _IN_LAYER.fullmatch(name)
    block, part = (found["block"], found["part"]) if found else ("", "")
    prefix = f"model.{found['side']}.layers.{found['index']}" if found else ""
    if block in NORMS and part in NORM_PARTS:
        yield f"{prefix}.{NORMS[block]}.{NORM_PARTS[part]}", array
    elif block in LINEARS and part in ("weight", "bias"):
        targets = LINEARS[block]
        for target, piece in zip(targets, np.split(array, len(targets)), strict=True):
            if not (target.endswith("k_proj") and part == "bias"):
                yield f"{prefix}.{target}.{part}", piece
    else:
        raise FailedPrecondition(
            "MODEL_UNSUPPORTED",
            f"The array {name[:80]!a} is no part of a Whisper; quantised models are not converted, take a float one.",
        )


def _count_layers(model: Ctranslate2Model, side: str) -> int:
    found = (_IN_LAYER.fullmatch(name) for name in model.variables)
    return len({match["index"] for match in found if match and match["side"] == side})
