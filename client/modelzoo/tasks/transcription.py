"""Speech to text: a sound of any length in windows, each written down by what the model is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray
from torch import Tensor

from modelzoo.errors import FailedPrecondition, InvalidArgument, ZooError
from modelzoo.tasks.ctc_writer import CtcWriter
from modelzoo.tasks.files import ModelFiles
from modelzoo.tasks.results import Segment, Transcript
from modelzoo.tasks.speech_windows import windows_of
from modelzoo.tasks.speech_writers import RATE_HZ, Writer
from modelzoo.tasks.task import Task
from modelzoo.tasks.whisper_writer import WhisperWriter

__all__ = ["RATE_HZ", "Heard", "Transcriber", "joined"]


@dataclass(frozen=True, slots=True)
class Heard:
    """A prepared window: what the model hears of it, where it begins and how long it is, and its language.

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
        extractor: Any = getattr(files.processor, "feature_extractor", None)
        tokenizer: Any = getattr(files.processor, "tokenizer", None)
        if extractor is None or tokenizer is None:
            raise FailedPrecondition(
                "MODEL_LOAD_FAILED", "The model lacks its preprocessor_config.json or its tokenizer's files."
            )
        if extractor.sampling_rate != RATE_HZ:
            raise FailedPrecondition(
                "MODEL_UNSUPPORTED", f"The model hears {extractor.sampling_rate} Hz; only {RATE_HZ} Hz is done here."
            )
        kind = CtcWriter if files.architecture.endswith("ForCTC") else WhisperWriter
        self._writer: Writer = kind(files.model, extractor, tokenizer)
        self.size_bytes = files.size_bytes
        self._check()

    def check_language(self, language: str) -> None:
        """Raise FIELD_INVALID for a language (ISO 639-1) that the model does not know; empty is always right."""
        languages, own = self._writer.languages, self._writer.language
        if language and languages is not None and language not in (languages or {own}):
            known = ", ".join(sorted(languages)) or f"{own} alone"
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
                self._writer.features(window.samples),
                window.start_s,
                len(window.samples) / RATE_HZ,
                language if self._writer.languages else "",
            )
            for window in windows_of(samples, RATE_HZ, self._writer.window_s)
        ]

    def cost(self, item: Heard) -> int:
        """What the item adds to a batch: one window."""
        return 1

    def compute(self, batch: Sequence[Heard]) -> list[Transcript]:
        """What is said in each window, with times in the whole sound."""
        results: dict[int, Transcript] = {}
        for language in sorted({heard.language for heard in batch}):
            indices = [index for index, heard in enumerate(batch) if heard.language == language]
            written = self._writer.write([batch[index].features for index in indices], language)
            for index, each in zip(indices, written, strict=True):
                results[index] = _placed(each, batch[index])
        return [results[index] for index in range(len(batch))]

    def _check(self) -> None:
        try:
            hiss = numpy.random.default_rng(0).normal(0, 0.01, RATE_HZ).astype(numpy.float32)
            self._writer.check(self._writer.features(hiss))
        except ZooError:
            raise
        # Foreign files make the libraries raise every kind.
        except Exception as error:
            raise FailedPrecondition(
                "MODEL_LOAD_FAILED", f"The model fails over a second of noise: {str(error)[:500]}"
            ) from error


def _placed(written: Transcript, heard: Heard) -> Transcript:
    """The window's transcript with times in the whole sound."""
    end_s = heard.start_s + heard.length_s
    segments = (
        Segment(each.text, *(min(heard.start_s + time_s, end_s) for time_s in (each.start_s, each.end_s)))
        for each in written.segments
    )
    return Transcript(written.text, tuple(segments), written.tokens)


def joined(parts: Sequence[Transcript]) -> Transcript:
    """The transcript of a sound from those of its windows, in order."""
    segments = tuple(segment for part in parts for segment in part.segments)
    text = " ".join(part.text for part in parts if part.text)
    return Transcript(text, segments, sum(part.tokens for part in parts))
