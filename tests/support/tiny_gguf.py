"""A small GGUF file, written as llama.cpp's converter writes a Llama: its names, its order of rotary dimensions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import torch
from transformers import LlamaForCausalLM

from support.tiny_models import byte_tokenizer

__all__ = ["write_gguf"]

_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(
    path: Path, model: LlamaForCausalLM, *, architecture: str = "llama", left_out: str = "", fields: Mapping[str, Any]
) -> Path:
    """The model's tensors in float32, one of them perhaps `left_out`; `fields` are further metadata; returns `path`."""
    writer = gguf.GGUFWriter(path, architecture)
    _write_shape(writer, model)
    _write_tokens(writer)
    for key, value in fields.items():
        writer.add_string(key, value) if isinstance(value, str) else writer.add_uint16(key, value)
    for name, tensor in model.state_dict().items():
        if name != left_out:
            writer.add_tensor(_gguf_name(name), _rotated(name, tensor, model).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_shape(writer: gguf.GGUFWriter, model: LlamaForCausalLM) -> None:
    config = model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)


def _write_tokens(writer: gguf.GGUFWriter) -> None:
    tokenizer = byte_tokenizer(chat_template=None)
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_merges([])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)


def _gguf_name(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{_PARTS[part]}.weight"


def _rotated(name: str, tensor: torch.Tensor, model: LlamaForCausalLM) -> torch.Tensor:
    """llama.cpp turns neighbouring dimensions of a head together, transformers those of its two halves."""
    heads = {
        "q_proj": model.config.num_attention_heads,
        "k_proj": model.config.num_key_value_heads,
    }.get(name.split(".")[-2])
    if heads is None:
        return tensor
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, tensor.shape[1])
    return halves.swapaxes(1, 2).reshape(tensor.shape)
