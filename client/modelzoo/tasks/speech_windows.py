"""A long sound in windows that a model hears at once, cut where it is quiet.

Windows are independent, so they are computed together and none inherits another's mistakes, as in the batched
long-form transcription of WhisperX (Bain et al. 2023, arXiv:2303.00747), with loudness in place of its voice detector.
"""

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

__all__ = ["Window", "windows_of"]

# A cut is looked for in the last part of a window, among stretches of this length.
SEARCHED_S = 10.0
STRETCH_S = 0.1
# Root mean square below which a window holds nothing to hear: -80 dB of full scale.
SILENCE = 1e-4


@dataclass(frozen=True, slots=True)
class Window:
    """float32 samples, mono, that begin `start_s` into the sound."""

    samples: NDArray[numpy.float32]
    start_s: float


def windows_of(samples: NDArray[numpy.float32], rate_hz: int, longest_s: float) -> list[Window]:
    """Windows of at most `longest_s` that cover the sound in order, those in which all is silent left out."""
    longest = int(longest_s * rate_hz)
    windows: list[Window] = []
    start = 0
    while start < len(samples):
        end = len(samples)
        if end - start > longest:
            searched = start + longest - min(int(SEARCHED_S * rate_hz), longest // 2)
            end = searched + _quietest(samples[searched : start + longest], int(STRETCH_S * rate_hz))
        part = samples[start:end]
        if _loudness(part) > SILENCE:
            windows.append(Window(part, start / rate_hz))
        start = end
    return windows


def _quietest(samples: NDArray[numpy.float32], stretch: int) -> int:
    """The middle of the quietest stretch, the last of several."""
    count = len(samples) // stretch
    power = numpy.square(samples[: count * stretch].reshape(count, stretch)).mean(axis=1)
    last = count - 1 - int(numpy.argmin(power[::-1]))
    return last * stretch + stretch // 2


def _loudness(samples: NDArray[numpy.float32]) -> float:
    return float(numpy.sqrt(numpy.mean(numpy.square(samples, dtype=numpy.float64))))
