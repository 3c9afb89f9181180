"""Presence in a dictionary: for tests, and for a gateway and workers in one process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zoo_store.presence import PRESENCE_TTL_S, WorkerPresence

__all__ = ["MemoryPresence"]


@dataclass(frozen=True, slots=True)
class _Entry:
    worker: WorkerPresence
    expires: float


class MemoryPresence:
    """A Presence that goes with the process. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    async def announce(self, worker: WorkerPresence) -> None:
        self._entries[worker.name] = _Entry(worker, self._clock() + PRESENCE_TTL_S)

    async def withdraw(self, name: str) -> None:
        self._entries.pop(name, None)

    async def workers(self) -> Sequence[WorkerPresence]:
        now = self._clock()
        self._entries = {name: entry for name, entry in sorted(self._entries.items()) if entry.expires > now}
        return [entry.worker for entry in self._entries.values()]
