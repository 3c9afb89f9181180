"""Speech to text, by models of Whisper's architecture (Radford et al. 2022, arXiv:2212.04356)."""

import copy
import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.tasks.files import ModelFiles
from modelzoo.tasks.results import Segment, Transcript
from modelzoo.tasks.speech_windows import windows_of
from modelzoo.tasks.task import Task

__all__ = ["RATE_HZ", "Heard", "Transcriber", "joined"]

RATE_HZ = 16_000

LANGUAGE_OF_MONOLINGUAL = "en"


@dataclass(frozen=True, slots=True)
class Heard:
    """A prepared window: log-mel features [mels, frames], where it begins and how long it is, and its language.

    `language` is empty where the model is to find out, or knows one only.
    """

    features: Tensor
    start_s: float
    length_s: float
    language: str


class Transcriber:
    """`prepare` may be called from several threads at once; `compute` belongs to one at a time."""

    task = Task.TRANSCRIBE

    def __init__(self, files: ModelFiles) -> None:
        """Raises MODEL_UNSUPPORTED, MODEL_LOAD_FAILED."""
        self._model = files.model
        extractor: Any = getattr(files.processor, "feature_extractor", None)
        tokenizer: Any = getattr(files.processor, "tokenizer", None)
        if extractor is None or tokenizer is None:
            raise FailedPrecondition(
                "MODEL_LOAD_FAILED", "The model lacks its preprocessor_config.json or its tokenizer's files."
            )
        self._extractor = extractor
        self._tokenizer = tokenizer
        if extractor.sampling_rate != RATE_HZ:
            raise FailedPrecondition(
                "MODEL_UNSUPPORTED", f"The model hears {extractor.sampling_rate} Hz; only {RATE_HZ} Hz is done here."
            )
        self._window_s = float(extractor.chunk_length)
        self.size_bytes = files.size_bytes
        self._languages = _languages(files.model.generation_config)
        self._check()

    def check_language(self, language: str) -> None:
        """Raise FIELD_INVALID for a language (ISO 639-1) that the model does not know; empty is always right."""
        if language and language not in (self._languages or {LANGUAGE_OF_MONOLINGUAL}):
            known = ", ".join(sorted(self._languages)) or f"{LANGUAGE_OF_MONOLINGUAL} alone"
            raise InvalidArgument(
                "FIELD_INVALID",
                f"the model does not know the language {language!r}; it knows {known}",
                field="language",
            )

    def prepare(self, samples: NDArray[numpy.float32], language: str = "") -> list[Heard]:
        """The windows of a mono sound at RATE_HZ, float32 samples of -1 to 1; none where all is silent."""
        self.check_language(language)
        return [
            Heard(
                self._features(window.samples),
                window.start_s,
                len(window.samples) / RATE_HZ,
                language if self._languages else "",
            )
            for window in windows_of(samples, RATE_HZ, self._window_s)
        ]

    def cost(self, item: Heard) -> int:
        """What the item adds to a batch: one window."""
        return 1

    def compute(self, batch: Sequence[Heard]) -> list[Transcript]:
        """What is said in each window, with times in the whole sound."""
        results: dict[int, Transcript] = {}
        for language in sorted({heard.language for heard in batch}):
            indices = [index for index, heard in enumerate(batch) if heard.language == language]
            rows = self._generate(torch.stack([batch[index].features for index in indices]), language)
            for index, row in zip(indices, rows, strict=True):
                results[index] = self._transcript(row, batch[index])
        return [results[index] for index in range(len(batch))]

    def _generate(self, features: Tensor, language: str, config: Any = None) -> list[list[int]]:
        asked = {"language": language, "task": "transcribe"} if language else {}
        with torch.inference_mode(), _without_warnings():
            tokens = self._model.generate(
                features.to(self._model.dtype), generation_config=config, return_timestamps=True, **asked
            )
        return cast(list[list[int]], tokens.tolist())

    def _transcript(self, row: list[int], heard: Heard) -> Transcript:
        decoded: Any = self._tokenizer.decode(row, output_offsets=True, skip_special_tokens=True)
        end_s = heard.start_s + heard.length_s
        segments: list[Segment] = []
        for part in decoded["offsets"]:
            start, end = part["timestamp"]
            began = min(heard.start_s + float(start), end_s)
            ended = end_s if end is None else min(heard.start_s + float(end), end_s)
            segments.append(Segment(str(part["text"]).strip(), began, max(began, ended)))
        text = str(decoded["text"]).strip()
        if text and not segments:
            segments = [Segment(text, heard.start_s, end_s)]
        ends: int = self._tokenizer.eos_token_id
        return Transcript(text, tuple(segments), sum(token != ends for token in row))

    def _features(self, samples: NDArray[numpy.float32]) -> Tensor:
        made: Any = self._extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt")
        return cast(Tensor, made["input_features"][0])

    def _check(self) -> None:
        try:
            hiss = numpy.random.default_rng(0).normal(0, 0.01, RATE_HZ).astype(numpy.float32)
            brief = copy.deepcopy(self._model.generation_config)
            brief.max_length, brief.max_new_tokens = None, 2
            row = self._generate(self._features(hiss).unsqueeze(0), "", brief)[0]
            self._transcript(row, Heard(torch.empty(0), 0.0, 1.0, ""))
        # Foreign files make the libraries raise every kind.
        except Exception as error:
            raise FailedPrecondition(
                "MODEL_LOAD_FAILED", f"The model fails over a second of noise: {str(error)[:500]}"
            ) from error


def joined(parts: Sequence[Transcript]) -> Transcript:
    """The transcript of a sound from those of its windows, in order."""
    segments = tuple(segment for part in parts for segment in part.segments)
    text = " ".join(part.text for part in parts if part.text)
    return Transcript(text, segments, sum(part.tokens for part in parts))


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
