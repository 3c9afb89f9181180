"""Another sampling rate for a sound that arrives in blocks."""
# scipy has few types. pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false, reportUnknownArgumentType=false

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, resample_poly  # pyright: ignore[reportUnknownVariableType]

__all__ = ["resample"]

BATCH_SAMPLES = 2**18
# Zero crossings of the filter on each side: that, and the Kaiser window, are resample_poly's own choice.
ZERO_CROSSINGS = 10
KAISER_BETA = 5.0


def resample(blocks: Iterable[NDArray[np.float32]], source_hz: int, target_hz: int) -> NDArray[np.float32]:
    """The samples of the blocks at another rate: what `scipy.signal.resample_poly` makes of them in one piece.

    Shapes: (any,) each, to (ceil(samples * target_hz / source_hz),). Beside the result it holds a few batches, however
    long the sound is.
    """
    divisor = math.gcd(source_hz, target_hz)
    stream = _Stream(up=target_hz // divisor, down=source_hz // divisor)
    pieces: list[NDArray[np.float32]] = []
    batch: list[NDArray[np.float32]] = []
    for block in blocks:
        batch.append(block)
        if sum(map(len, batch)) >= BATCH_SAMPLES:
            pieces.append(stream.feed(np.concatenate(batch)))
            batch.clear()
    pieces.append(stream.finish(np.concatenate(batch) if batch else np.empty(0, np.float32)))
    return np.concatenate(pieces)


class _Stream:
    """Resamples by up/down piece by piece. Each piece is computed with its neighbourhood on both sides, as far as the
    filter reaches, and cut where both rates meet: at multiples of `down` samples."""

    def __init__(self, *, up: int, down: int) -> None:
        self._up, self._down = up, down
        reach = math.ceil(ZERO_CROSSINGS * max(up, down) / up)
        self._margin = math.ceil(reach / down) * down
        self._pending = np.empty(0, np.float32)  # from a multiple of `down` on
        self._before = 0  # samples of `pending` that are there as neighbourhood only

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """What can be said once `samples` have come; the last of them wait for their neighbours."""
        pending = np.concatenate([self._pending, samples])
        end = (len(pending) - self._margin) // self._down * self._down
        if end <= self._before:
            self._pending = pending
            return np.empty(0, np.float32)
        out = self._convert(pending)[self._at_target(self._before) : self._at_target(end)]
        start = max(0, end - self._margin)
        self._pending, self._before = pending[start:], end - start
        return out

    def finish(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """All the rest; `samples` are the last."""
        pending = np.concatenate([self._pending, samples])
        return self._convert(pending)[self._at_target(self._before) :] if len(pending) else pending

    def _convert(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._up == self._down:
            return samples
        return resample_poly(samples, self._up, self._down, window=_low_pass(max(self._up, self._down)))

    def _at_target(self, position: int) -> int:
        return position // self._down * self._up


@lru_cache(maxsize=4)
def _low_pass(rate: int) -> NDArray[np.float32]:
    """A linear-phase filter that cuts at 1/rate of the Nyquist frequency; 20 * rate + 1 taps."""
    window: Any = ("kaiser", KAISER_BETA)
    return np.asarray(firwin(2 * ZERO_CROSSINGS * rate + 1, 1 / rate, window=window), dtype=np.float32)
