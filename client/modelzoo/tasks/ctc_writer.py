"""Speech to text by models that say a character, or nothing, for each 20 ms or so: connectionist temporal
classification (Graves et al. 2006) over wav2vec 2.0 (Baevski et al. 2020, arXiv:2006.11477), HuBERT and their kin.

The most probable character of each frame is taken, without a language model.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, cast

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from modelzoo.errors import FailedPrecondition
from modelzoo.tasks.results import Segment, Transcript
from modelzoo.tasks.speech_writers import RATE_HZ

__all__ = ["CtcWriter", "frames_of"]

# They hear sounds of any length, in memory that grows with its square.
WINDOW_S = 30.0
INPUT = "input_values"


class CtcWriter:
    """Normalised samples [samples] to text."""

    window_s = WINDOW_S
    language = ""

    def __init__(self, model: Any, extractor: Any, tokenizer: Any) -> None:
        """Raises MODEL_UNSUPPORTED for models that do not hear samples."""
        if model.main_input_name != INPUT or INPUT not in extractor.model_input_names:
            raise FailedPrecondition(
                "MODEL_UNSUPPORTED", "Of CTC models those are done here that hear samples, as wav2vec 2.0 does."
            )
        self._model = model
        self._extractor = extractor
        self._tokenizer = tokenizer
        self._blank: int = model.config.pad_token_id
        self._shortest = _samples_of_a_frame(model.config)
        self.languages: frozenset[str] | None = None

    def features(self, samples: NDArray[numpy.float32]) -> Tensor:
        made: Any = self._extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt")
        heard = cast(Tensor, made[INPUT][0])
        return torch.nn.functional.pad(heard, (0, max(0, self._shortest - len(heard))))

    def write(self, features: Sequence[Tensor], language: str) -> list[Transcript]:
        # Models that were trained without an attention mask hear padding as sound: then each is heard alone.
        groups = [list(features)] if self._extractor.return_attention_mask else [[each] for each in features]
        return [transcript for group in groups for transcript in self._write(group)]

    def check(self, features: Tensor) -> None:
        self._write([features])

    def _write(self, features: list[Tensor]) -> list[Transcript]:
        device, dtype = self._model.device, self._model.dtype
        values = pad_sequence(features, batch_first=True).to(device, dtype)
        mask = pad_sequence([torch.ones(len(each), dtype=torch.long) for each in features], batch_first=True)
        masked = {"attention_mask": mask.to(device)} if self._extractor.return_attention_mask else {}
        with torch.inference_mode():
            best: Tensor = torch.argmax(self._model(values, **masked).logits, dim=-1)
        rows = cast(list[list[int]], cast(Any, best).tolist())
        return [
            self._transcript(row[: frames_of(self._model, len(each))], len(each))
            for row, each in zip(rows, features, strict=True)
        ]

    def _transcript(self, frames: list[int], samples: int) -> Transcript:
        tokens = [token for token, _ in groupby(frames) if token != self._blank]
        text = str(self._tokenizer.decode(tokens, group_tokens=False, skip_special_tokens=True)).strip()
        if not text:
            return Transcript("", (), 0)
        said = [number for number, token in enumerate(frames) if token != self._blank]
        frame_s = samples / RATE_HZ / len(frames)
        return Transcript(text, (Segment(text, said[0] * frame_s, (said[-1] + 1) * frame_s),), len(tokens))


def frames_of(model: Any, samples: int) -> int:
    """How many characters, blanks with them, the model says for so many samples."""
    return max(1, int(model._get_feat_extract_output_lengths(samples)))


def _samples_of_a_frame(config: Any) -> int:
    """The fewest samples that pass through the convolutions of the feature encoder."""
    samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
