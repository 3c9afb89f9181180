"""The interface between calls and whatever makes texts: admit, cancel, outputs, stats, close.

An engine owns one model and one thread that alone touches its tensors. Calls live on the event loop; the two talk by
queues. Provisional until a second engine stands behind it.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

__all__ = ["Engine", "EngineStats", "FinishReason", "Finished", "GenerationTask", "Output", "Sampling", "Started"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn; temperature 0 takes the most probable one, top_k 0 and top_p 1 leave all in.

    Without a seed, each request has a random one.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class GenerationTask:
    """A valid request: at least one token, and tokens and max_tokens fit into the model's context together.

    `arrived` is when the call came, in time.monotonic().
    """

    tokens: tuple[int, ...]
    max_tokens: int
    arrived: float
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()


class FinishReason(Enum):
    """STOP: the model ended, or a stop text appeared. LENGTH: max_tokens was reached."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Started:
    """Computation begins. Comes once, first."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The text is complete. Comes once, last. Times in seconds: until computation, of the input, of the output."""

    reason: FinishReason
    input_tokens: int
    output_tokens: int
    queue_s: float
    prefill_s: float
    decode_s: float


# A str is the next whole characters of the text.
Output = Started | str | Finished


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Requests that are computed and that wait; `steps` counts passes of tokens through the model since the start."""

    running: int
    queued: int
    steps: int


class Engine(Protocol):
    """Makes texts for many requests at once. All methods belong to the event loop."""

    def admit(self, task: GenerationTask) -> int:
        """Queue a request; the number names it. Read its outputs, or cancel it."""
        ...

    def outputs(self, number: int) -> AsyncGenerator[Output]:
        """What the request makes: Started, texts, Finished. To be read once.

        Raises ENGINE_FAILED where the computation failed, DRAINING where the engine was closed. A reader that stops
        early cancels the request.
        """
        ...

    def cancel(self, number: int) -> None:
        """Let the request leave before the next step. Nothing happens if it is over."""
        ...

    def stats(self) -> EngineStats: ...

    async def close(self) -> None:
        """End what is left with DRAINING, and the thread."""
        ...
