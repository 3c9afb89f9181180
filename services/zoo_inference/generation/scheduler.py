"""Who is computed: first come, first served, as many at once as the batch and the memory for keys and values hold."""

from collections import deque
from dataclasses import dataclass

from zoo_inference.engine import GenerationTask
from zoo_inference.generation.sequence import Sequence

__all__ = ["Limits", "Scheduler", "Waiting"]


@dataclass(frozen=True, slots=True)
class Limits:
    """`tokens` bounds rows times the longest row, which is what a batch's memory comes to at most."""

    rows: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Waiting:
    number: int
    task: GenerationTask


class Scheduler:
    """Waiting -> prefilling (one at a time) -> decoding. `decoding[r]` is the request in row r of the memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.waiting: deque[Waiting] = deque()
        self.prefilling: Sequence | None = None
        self.decoding: list[Sequence] = []

    @property
    def running(self) -> int:
        return len(self.decoding) + (self.prefilling is not None)

    def next_waiting(self) -> Waiting | None:
        """The next request if it may begin now; it no longer waits then. One alone always may."""
        if not self.waiting or self.prefilling is not None or len(self.decoding) >= self._limits.rows:
            return None
        first = self.waiting[0].task
        longest = max([len(first.tokens) + first.max_tokens, *(sequence.room for sequence in self.decoding)])
        if self.decoding and longest * (len(self.decoding) + 1) > self._limits.tokens:
            return None
        return self.waiting.popleft()

    def leave(self, row: int) -> None:
        """Take a request out of its row; the last row takes its place."""
        last = self.decoding.pop()
        if row < len(self.decoding):
            self.decoding[row] = last
