"""Small models of tasks that answer at once, as the Hub keeps them: seeded random weights, with their processors."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BitImageProcessorPil,
    GenerationConfig,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessorPil,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from support.tiny_models import byte_tokenizer

__all__ = [
    "tiny_image_classifier",
    "tiny_object_detector",
    "tiny_text_classifier",
    "tiny_transcriber",
    "whisper_tokenizer",
]

LABELS = ("cat", "dog", "bird", "fish", "tree", "house", "boat")
TEXT_CONTEXT = 64


def tiny_image_classifier(directory: Path, *, seed: int = 0) -> Path:
    """A ResNet of two stages over 32 x 32 pixels with seven labels; returns `directory`, as all of these do."""
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        layer_type="basic",
        **_labels(),
    )
    torch.manual_seed(seed)
    model = ResNetForImageClassification(config)
    torch.nn.init.normal_(model.classifier[1].weight, std=1.0)
    processor = BitImageProcessorPil(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(directory)
    return _save(model, directory)


def tiny_object_detector(directory: Path, *, seed: int = 0) -> Path:
    """A YOLOS of two layers with five queries; pictures are resized to a shorter edge of 32 pixels."""
    config = YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=[32, 48],
        patch_size=8,
        num_detection_tokens=5,
        use_mid_position_embeddings=False,
        initializer_range=0.3,
        **_labels(),
    )
    torch.manual_seed(seed)
    processor = YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64})
    processor.save_pretrained(directory)
    return _save(YolosForObjectDetection(config), directory)


def tiny_text_classifier(directory: Path, *, seed: int = 0) -> Path:
    """A BERT of two layers over at most 64 byte tokens with seven labels."""
    tokenizer = byte_tokenizer(chat_template=None, sentence=True)
    tokenizer.model_max_length = TEXT_CONTEXT
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TEXT_CONTEXT,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
        **_labels(),
    )
    torch.manual_seed(seed)
    tokenizer.save_pretrained(directory)
    return _save(BertForSequenceClassification(config), directory)


def tiny_transcriber(directory: Path, *, seed: int = 0) -> Path:
    """A Whisper of one language and two layers, heard in windows of 30 seconds; it babbles at most 16 tokens."""
    tokenizer = whisper_tokenizer()
    begin, end = tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", "<|endoftext|>"])
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=16,
        max_source_positions=1500,
        max_target_positions=32,
        decoder_start_token_id=begin,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        init_std=0.3,
    )
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=begin,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        max_length=16,
        no_timestamps_token_id=tokenizer.convert_tokens_to_ids("<|notimestamps|>"),
        is_multilingual=False,
        max_initial_timestamp_index=50,
    )
    extractor = WhisperFeatureExtractor(feature_size=16)
    WhisperProcessor(extractor, tokenizer).save_pretrained(directory)
    return _save(model, directory)


def whisper_tokenizer(languages: Sequence[str] = ()) -> WhisperTokenizer:
    """Bytes, Whisper's own special tokens in their order, and times from 0.00 to 30.00 s."""
    vocabulary = {character: number for number, character in enumerate(bytes_to_unicode().values())}
    tokenizer = WhisperTokenizer(vocab={**vocabulary, "<|endoftext|>": len(vocabulary)}, merges=[])
    tokenizer.add_special_tokens(
        {
            "additional_special_tokens": [
                *("<|startoftranscript|>", *(f"<|{language}|>" for language in languages)),
                *("<|translate|>", "<|transcribe|>", "<|startoflm|>"),
                *("<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
            ]
        }
    )
    tokenizer.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(1501)])
    return tokenizer


def _labels() -> dict[str, dict[int, str] | dict[str, int]]:
    return {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: number for number, label in enumerate(LABELS)},
    }


def _save(model: PreTrainedModel, directory: Path) -> Path:
    model.eval().save_pretrained(directory)
    return directory
