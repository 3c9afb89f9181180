"""Speech to text by models of Whisper's architecture (Radford et al. 2022, arXiv:2212.04356)."""

import copy
import logging
import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelzoo.tasks.results import Segment, Transcript
from modelzoo.tasks.speech_writers import RATE_HZ

__all__ = ["WhisperWriter"]


class WhisperWriter:
    """Log-mel features [mels, frames] to text, with the times that the model says."""

    language = "en"

    def __init__(self, model: Any, extractor: Any, tokenizer: Any) -> None:
        self._model = model
        self._extractor = extractor
        self._tokenizer = tokenizer
        self.window_s = float(extractor.chunk_length)
        self.languages: frozenset[str] | None = _languages(model.generation_config)

    def features(self, samples: NDArray[numpy.float32]) -> Tensor:
        made: Any = self._extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt")
        return cast(Tensor, made["input_features"][0])

    def write(self, features: Sequence[Tensor], language: str) -> list[Transcript]:
        return [self._transcript(row) for row in self._generate(torch.stack(list(features)), language)]

    def check(self, features: Tensor) -> None:
        brief = copy.deepcopy(self._model.generation_config)
        brief.max_length, brief.max_new_tokens = None, 2
        self._transcript(self._generate(features.unsqueeze(0), "", brief)[0])

    def _generate(self, features: Tensor, language: str, config: Any = None) -> list[list[int]]:
        asked = {"language": language, "task": "transcribe"} if language else {}
        with torch.inference_mode(), _without_warnings():
            tokens = self._model.generate(
                features.to(self._model.device, self._model.dtype),
                generation_config=config,
                return_timestamps=True,
                **asked,
            )
        return cast(list[list[int]], tokens.tolist())

    def _transcript(self, row: list[int]) -> Transcript:
        decoded: Any = self._tokenizer.decode(row, output_offsets=True, skip_special_tokens=True)
        segments: list[Segment] = []
        for part in decoded["offsets"]:
            start, end = part["timestamp"]
            segments.append(
                Segment(str(part["text"]).strip(), float(start), math.inf if end is None else max(start, end))
            )
        text = str(decoded["text"]).strip()
        if text and not segments:
            segments = [Segment(text, 0.0, math.inf)]
        ends: int = self._tokenizer.eos_token_id
        return Transcript(text, tuple(segments), sum(token != ends for token in row))


@contextmanager
def _without_warnings() -> Generator[None]:
    """No warning about how transformers' Whisper calls transformers' generate, which nobody here can change."""
    logger = logging.getLogger("transformers.generation.utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _languages(config: Any) -> frozenset[str]:
    """What a model of several languages knows, by ISO 639-1; empty for a model of one."""
    known: dict[str, int] | None = getattr(config, "lang_to_id", None)
    if not getattr(config, "is_multilingual", False) or not known:
        return frozenset()
    return frozenset(token.strip("<|>") for token in known)
