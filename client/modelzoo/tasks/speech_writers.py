"""What writes down a window of speech: the part in which Whisper and CTC models differ."""

from collections.abc import Sequence
from typing import Protocol

import numpy
from numpy.typing import NDArray
from torch import Tensor

from modelzoo.tasks.results import Transcript

__all__ = ["RATE_HZ", "Writer"]

RATE_HZ = 16_000


class Writer(Protocol):
    """`features` may be called from several threads at once; `write` belongs to one at a time."""

    window_s: float
    """How much the model hears at once."""
    languages: frozenset[str] | None
    """Those that can be asked for, by ISO 639-1; empty: one that needs no asking. None: nobody knows."""
    language: str
    """The one that a model of one language knows."""

    def features(self, samples: NDArray[numpy.float32]) -> Tensor:
        """What the model hears of a mono sound at RATE_HZ, of at most `window_s`."""
        ...

    def write(self, features: Sequence[Tensor], language: str) -> list[Transcript]:
        """What is said in each, with times from its start; the last segment may end after the sound. `language` is
        empty, or one of `languages`."""
        ...

    def check(self, features: Tensor) -> None:
        """Raise anything, within a second or so, if the model cannot do it."""
        ...
