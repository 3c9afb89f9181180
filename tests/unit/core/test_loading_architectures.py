"""`load_directory` against `from_pretrained`, for every architecture that the zoo names, whole and in shards.

Tiny configurations, seeded weights. Equal means: the same parameters and buffers, persistent or not, bit by bit, of the
same dtype, the same ones of them tied, nothing left on the meta device.
"""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from modelzoo import architectures
from modelzoo.loading import load_directory

TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
PICTURE = {**TEXT, "image_size": 32, "patch_size": 8}
del PICTURE["vocab_size"], PICTURE["max_position_embeddings"]
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
BACKBONE = {**RESNET, "model_type": "resnet", "out_features": ["stage1", "stage2"]}
DETECTOR = {"d_model": 32, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_queries": 5, "decoder_layers": 1}
RT = {
    **DETECTOR,
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [8, 16, 16],
    "decoder_in_channels": [32, 32, 32],
    "feat_strides": [4, 8, 16],
    "encode_proj_layers": [2],
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "anchor_image_size": [32, 32],
}
WAVES = {**TEXT, "conv_dim": [16, 16], "conv_stride": [5, 2], "conv_kernel": [10, 3]}
WAVES |= {"num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
WHISPER = {"vocab_size": 64, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "num_mel_bins": 16}
WHISPER |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
WHISPER |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
T5 = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
CLIP = {"text_config": TEXT, "vision_config": PICTURE, "projection_dim": 16}
RT_BACKBONE = {"model_type": "rt_detr_resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 16, 16]}
RT_BACKBONE |= {"depths": [1, 1, 1, 1], "layer_type": "basic", "out_features": ["stage2", "stage3", "stage4"]}
HGNET = {"model_type": "hgnet_v2", "stem_channels": [3, 8, 8], "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
HGNET |= {"stage_in_channels": [8, 8, 16, 16], "stage_mid_channels": [8, 8, 8, 8]}
HGNET |= {"stage_out_channels": [8, 8, 16, 16], "stage_num_blocks": [1, 1, 1, 1]}
HGNET |= {"stage_downsample": [False, True, True, True], "stage_light_block": [False, False, True, True]}
HGNET |= {"stage_kernel_size": [3, 3, 5, 5], "stage_numb_of_layers": [1, 1, 1, 1]}
HGNET |= {"out_features": ["stage2", "stage3", "stage4"]}

MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "AlexNet": ("AlexNetForImageClassification", "alexnet", {"hidden_sizes": [8] * 5, "classifier_size": 16}),
    "EfficientNet-Lite": (
        "EfficientNetLiteForImageClassification",
        "efficientnet_lite",
        {"width_coefficient": 0.1, "head_size": 16, "num_block_repeats": [1] * 7},
    ),
    "ResNet": ("ResNetForImageClassification", "resnet", RESNET),
    "ViT": ("ViTForImageClassification", "vit", PICTURE),
    "YOLOS": ("YolosForObjectDetection", "yolos", {**PICTURE, "image_size": [32, 48], "num_detection_tokens": 5}),
    "DETR": ("DetrForObjectDetection", "detr", {**DETECTOR, "encoder_layers": 2, "backbone_config": BACKBONE}),
    "RT-DETR": ("RTDetrForObjectDetection", "rt_detr", {**RT, "backbone_config": RT_BACKBONE}),
    "D-FINE": ("DFineForObjectDetection", "d_fine", {**RT, "decoder_layers": 2, "backbone_config": HGNET}),
    "BERT": ("BertModel", "bert", TEXT),
    "BERT, masked": ("BertForMaskedLM", "bert", TEXT),
    "BERT, classes": ("BertForSequenceClassification", "bert", TEXT),
    "GPT-2": ("GPT2LMHeadModel", "gpt2", {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 2}),
    "T5": ("T5ForConditionalGeneration", "t5", T5),
    "Llama": ("LlamaForCausalLM", "llama", {**TEXT, "tie_word_embeddings": False}),
    "Llama, tied": ("LlamaForCausalLM", "llama", {**TEXT, "tie_word_embeddings": True}),
    "Qwen2": ("Qwen2ForCausalLM", "qwen2", {**TEXT, "num_key_value_heads": 2}),
    "Qwen2, tied": ("Qwen2ForCausalLM", "qwen2", {**TEXT, "num_key_value_heads": 2, "tie_word_embeddings": True}),
    "CLIP": ("CLIPModel", "clip", CLIP),
    "Whisper": ("WhisperForConditionalGeneration", "whisper", WHISPER),
    "Wav2Vec2": ("Wav2Vec2ForCTC", "wav2vec2", WAVES),
}


@pytest.fixture(params=MODELS.keys())
def made(request: pytest.FixtureRequest) -> PreTrainedModel:
    """One of the models, its weights drawn, its running statistics and other buffers moved from where they begin."""
    architectures.register()
    name, model_type, settings = MODELS[request.param]
    config = AutoConfig.for_model(model_type, **settings)
    torch.manual_seed(0)
    model = {**vars(transformers.models.auto.modeling_auto), **architectures.classes()}.get(name)
    model = (model or getattr(transformers, name))(config)
    for buffer in model.state_dict(keep_vars=True).values():
        if buffer.is_floating_point() and not isinstance(buffer, torch.nn.Parameter):
            buffer.data += torch.rand_like(buffer)
    return model.eval()


def test_a_model_is_what_from_pretrained_makes_of_it(tmp_path: Path, made: PreTrainedModel):
    made.to(torch.bfloat16).save_pretrained(tmp_path, max_shard_size="40KB")
    is_what_from_pretrained_makes(tmp_path, made)


@pytest.mark.parametrize("made", ["AlexNet", "DETR", "Llama, tied"], indirect=True)
def test_a_whole_file_of_float32_is_no_different(tmp_path: Path, made: PreTrainedModel):
    made.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    is_what_from_pretrained_makes(tmp_path, made)


def is_what_from_pretrained_makes(tmp_path: Path, made: PreTrainedModel):
    loaded, expected = load_directory(tmp_path), type(made).from_pretrained(tmp_path)
    assert type(loaded) is type(expected)
    found, wanted = named(loaded), named(expected)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].device.type == "cpu", name
        assert torch.equal(found[name], tensor), name
    assert ties(loaded) == ties(expected)
    assert loaded.state_dict().keys() == expected.state_dict().keys()
    assert requires(loaded) == requires(expected)


def named(model: Any) -> dict[str, torch.Tensor]:
    parameters = model.named_parameters(remove_duplicate=False)
    return dict(itertools.chain(parameters, model.named_buffers(remove_duplicate=False)))


def requires(model: Any) -> dict[str, bool]:
    return {name: parameter.requires_grad for name, parameter in model.named_parameters()}


def ties(model: Any) -> set[frozenset[str]]:
    """Names that are one tensor."""
    by_tensor: dict[int, set[str]] = {}
    for name, tensor in named(model).items():
        by_tensor.setdefault(id(tensor), set()).add(name)
    return {frozenset(names) for names in by_tensor.values() if len(names) > 1}
