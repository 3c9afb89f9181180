"""A queue in a dictionary: for tests, and for a service that is the only one of its kind."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

__all__ = ["MemoryQueue"]


class MemoryQueue:
    """A Queue that goes with the process."""

    def __init__(self) -> None:
        self._ranks: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._more = asyncio.Condition()

    async def put(self, resource_class: str, ranks: Mapping[str, float]) -> None:
        async with self._more:
            self._ranks[resource_class].update(ranks)
            self._more.notify_all()

    async def pop(self, resource_class: str, wait_s: float) -> str | None:
        waiting = self._ranks[resource_class]
        async with self._more:
            if not waiting and wait_s > 0:
                try:
                    async with asyncio.timeout(wait_s):
                        await self._more.wait_for(lambda: bool(waiting))
                except TimeoutError:
                    return None
            if not waiting:
                return None
            first = min(waiting, key=lambda entry: (waiting[entry], entry))
            del waiting[first]
            return first

    async def remove(self, resource_class: str, entry: str) -> None:
        self._ranks[resource_class].pop(entry, None)

    async def size(self, resource_class: str) -> int:
        return len(self._ranks[resource_class])
