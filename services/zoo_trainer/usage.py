"""What a training costs: of the processors, of GPUs, and of the memory of both."""

import os
import time
from dataclasses import dataclass

import torch

from zoo_trainer.limits import peak_memory_bytes

__all__ = ["Meter", "Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds add up over attempts and over processes. Of memory it is the most that an attempt ever took; over
    processes, what each took at most adds up.

    `gpu_seconds` are those for which a GPU was held, at work or not: nobody else had it.
    """

    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0

    def after(self, before: "Usage") -> "Usage":
        """Of this attempt and of those before it."""
        return Usage(
            self.cpu_seconds + before.cpu_seconds,
            self.gpu_seconds + before.gpu_seconds,
            max(self.memory_bytes, before.memory_bytes),
            max(self.gpu_memory_bytes, before.gpu_memory_bytes),
        )

    def beside(self, other: "Usage") -> "Usage":
        """Of processes that run at the same time."""
        return Usage(
            self.cpu_seconds + other.cpu_seconds,
            self.gpu_seconds + other.gpu_seconds,
            self.memory_bytes + other.memory_bytes,
            self.gpu_memory_bytes + other.gpu_memory_bytes,
        )


class Meter:
    """Of this process; GPUs count from when the meter was made."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def read(self) -> Usage:
        times = os.times()
        cpu_seconds = times.user + times.system
        if not torch.cuda.is_available():
            return Usage(cpu_seconds, memory_bytes=peak_memory_bytes())
        gpu_seconds = time.monotonic() - self._begun
        return Usage(cpu_seconds, gpu_seconds, peak_memory_bytes(), torch.cuda.max_memory_reserved())
