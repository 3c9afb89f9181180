"""One request while it is computed: its tokens so far, and what they become as text."""

import time
from collections.abc import Set

from zoo_inference.engine import Finished, FinishReason, GenerationTask, Output
from zoo_inference.generation.detokenizer import Detokenizer, TokenDecoder
from zoo_inference.generation.sampler import Sampler
from zoo_inference.generation.stops import StopFilter

__all__ = ["Sequence"]


class Sequence:
    """Made when its computation begins. `fed` counts input tokens that went through the model."""

    def __init__(self, number: int, task: GenerationTask, decoder: TokenDecoder) -> None:
        self.number = number
        self.task = task
        self.sampler = Sampler(task.sampling)
        self.fed = 0
        self.last_token = -1
        self._made = 0
        self._detokenizer = Detokenizer(decoder, task.tokens)
        self._stops = StopFilter(task.stop)
        self._began = time.monotonic()
        self._first_token = self._began

    @property
    def room(self) -> int:
        """Tokens that it may come to occupy."""
        return len(self.task.tokens) + self.task.max_tokens

    def next_chunk(self, size: int) -> tuple[int, ...]:
        return self.task.tokens[self.fed : self.fed + size]

    def accept(self, token: int, ends: Set[int]) -> list[Output]:
        """Take the token that was drawn; what follows from it, Finished last if that was the end."""
        if self._made == 0:
            self._first_token = time.monotonic()
        self._made += 1
        self.last_token = token
        if token in ends:
            return self._finish(FinishReason.STOP, self._stops.push(self._detokenizer.flush()))
        text = self._stops.push(self._detokenizer.push(token))
        if self._stops.stopped:
            return self._finish(FinishReason.STOP, text)
        if self._made >= self.task.max_tokens:
            return self._finish(FinishReason.LENGTH, text + self._stops.push(self._detokenizer.flush()))
        return [text] if text else []

    def _finish(self, reason: FinishReason, text: str) -> list[Output]:
        # The bytes that were open at the end may have completed a stop text.
        if self._stops.stopped:
            reason = FinishReason.STOP
        text += self._stops.flush()
        finished = Finished(
            reason=reason,
            input_tokens=len(self.task.tokens),
            output_tokens=self._made,
            queue_s=self._began - self.task.arrived,
            prefill_s=self._first_token - self._began,
            decode_s=time.monotonic() - self._first_token,
        )
        return [text, finished] if text else [finished]
