"""Small models that hear, with seeded random weights, and sounds that they can tell apart: words are tones."""

import io
import json
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy
import torch
from transformers import (
    GenerationConfig,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
)

from support.tiny_task_models import whisper_tokenizer

__all__ = ["LANGUAGES", "WORDS", "spoken", "tiny_ctc", "tiny_hearing", "tiny_whisper", "wav", "write_spoken"]

RATE_HZ = 16_000
WORDS = {"low": 300, "middle": 900, "high": 2700}
WORD_S = 0.15
WINDOW_S = 1
# Of a Whisper that knows several.
LANGUAGES = ("en", "de")
TOKENS = {
    "start": "<|startoftranscript|>",
    "end": "<|endoftext|>",
    "no_timestamps": "<|notimestamps|>",
    "translate": "<|translate|>",
    "transcribe": "<|transcribe|>",
}
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [32, 32],
    "conv_kernel": [64, 8],
    "conv_stride": [40, 8],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_length": 4,
    "initializer_range": 0.2,
}


def wav(samples: numpy.ndarray, rate_hz: int = RATE_HZ) -> bytes:
    """PCM of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes((samples * 32_767).astype("<i2").tobytes())
    return file.getvalue()


def spoken(text: str, seed: int) -> bytes:
    """A WAV file of the text's words, one tone after the other, with a little noise that the seed makes its own."""
    times = numpy.arange(int(WORD_S * RATE_HZ)) / RATE_HZ
    tones = [0.5 * numpy.sin(2 * numpy.pi * WORDS[word] * times) for word in text.split()]
    noise = numpy.random.default_rng(seed).normal(0, 0.01, (len(tones), len(times)))
    return wav(numpy.concatenate([tone + hiss for tone, hiss in zip(tones, noise, strict=True)]))


def write_spoken(folder: Path, train: int = 16, test: int = 4) -> Path:
    """An audio manifest of sentences of one to three words; no two of its sounds are the same."""
    words = list(WORDS)
    sentences = [[words[n % 3], words[n // 3 % 3], words[n // 9 % 3]][: 1 + n % 3] for n in range(train + test)]
    (folder / "sounds").mkdir(parents=True)
    rows: list[dict[str, str]] = []
    for number, sentence in enumerate(map(" ".join, sentences)):
        name = f"sounds/{number}.wav"
        (folder / name).write_bytes(spoken(sentence, number))
        rows.append({"audio": name, "text": sentence})
    _write(folder / "train.jsonl", rows[:train])
    _write(folder / "test.jsonl", rows[train:])
    return folder


def tiny_ctc(directory: Path, *, seed: int = 0) -> Path:
    """A Wav2Vec2 of two layers, of which some are left out in training, with a head for upper-case letters."""
    directory.mkdir(parents=True)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *sorted({*"".join(WORDS).upper()})]
    vocabulary = directory / "vocab.json"
    vocabulary.write_text(json.dumps({letter: number for number, letter in enumerate(letters)}))
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    Wav2Vec2Processor(extractor, Wav2Vec2CTCTokenizer(str(vocabulary))).save_pretrained(directory)
    config = Wav2Vec2Config(
        **SHAPE, feat_extract_norm="layer", layerdrop=0.3, vocab_size=len(letters), pad_token_id=0, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(seed)
    Wav2Vec2ForCTC(config).eval().save_pretrained(directory)
    return directory


def tiny_hearing(directory: Path, *, seed: int = 0) -> Path:
    """A HuBERT of two layers without a head and a vocabulary, that never hid anything of its inputs."""
    torch.manual_seed(seed)
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(directory)
    HubertModel(HubertConfig(**SHAPE, mask_time_prob=0.0)).eval().save_pretrained(directory)
    return directory


def tiny_whisper(directory: Path, *, languages: Sequence[str] = (), seed: int = 0) -> Path:
    """A Whisper of two layers that hears a second at once; some layers are left out in training, and dropout is on."""
    tokenizer = whisper_tokenizer(languages)
    ids = dict(zip(TOKENS, tokenizer.convert_tokens_to_ids(list(TOKENS.values())), strict=True))
    start, end = ids.pop("start"), ids.pop("end")
    own = {"decoder_start_token_id": start, "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=16,
        max_source_positions=50 * WINDOW_S,
        max_target_positions=32,
        dropout=0.1,
        encoder_layerdrop=0.3,
        decoder_layerdrop=0.3,
        init_std=0.3,
        **own,
    )
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        **own,
        max_length=24,
        no_timestamps_token_id=ids["no_timestamps"],
        max_initial_timestamp_index=50,
        is_multilingual=bool(languages),
        suppress_tokens=tokenizer.convert_tokens_to_ids(["w", "(", ")"]),
    )
    if languages:
        tokens = [f"<|{language}|>" for language in languages]
        model.generation_config.lang_to_id = dict(zip(tokens, tokenizer.convert_tokens_to_ids(tokens), strict=True))
        model.generation_config.task_to_id = {task: ids[task] for task in ("translate", "transcribe")}
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=WINDOW_S)
    WhisperProcessor(extractor, tokenizer).save_pretrained(directory)
    model.eval().save_pretrained(directory)
    return directory


def _write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
