"""The gateway's picture of the workers, kept from their presence in Redis.

Presence is a hint: where Redis is away or comes back empty, the workers are most likely still there, so the picture
outlives it for a while. A worker that has really gone costs a retry on the next of the list.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelzoo.errors import Unavailable
from zoo_store.presence import PRESENCE_TTL_S, Presence, WorkerPresence

__all__ = ["Worker", "Workers", "watch_workers"]

log = logging.getLogger(__name__)

POLL_S = 0.5
# As long as presence lives: a worker whose entry was lost with Redis has announced itself again by then.
GRACE_S = float(PRESENCE_TTL_S)


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker last said of itself; `confirmed`: it still does."""

    said: WorkerPresence
    confirmed: bool = True


class Workers:
    """The picture: one worker for each address, by name; `known` once it was drawn."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.known = asyncio.Event()
        self._clock = clock
        self._seen: dict[str, tuple[float, Worker]] = {}

    def all(self) -> list[Worker]:
        return [worker for _, worker in self._seen.values()]

    def update(self, present: Sequence[WorkerPresence]) -> None:
        """Take over what is present. Whoever is missing without having drained stays, unconfirmed, for GRACE_S."""
        now = self._clock()
        seen = {said.address: (now, Worker(said)) for said in present}
        for address, (last_seen, worker) in self._seen.items():
            if address not in seen and not worker.said.draining and now - last_seen < GRACE_S:
                seen[address] = (last_seen, Worker(worker.said, confirmed=False))
        self._seen = dict(sorted(seen.items(), key=lambda item: item[1][1].said.name))
        self.known.set()


async def watch_workers(presence: Presence, workers: Workers, changed: Callable[[], None]) -> None:
    """Poll presence into `workers` for as long as the task lives, calling `changed` after each look that succeeded."""
    away = False
    while True:
        try:
            workers.update(await presence.workers())
            changed()
            if away:
                log.info("presence is back")
            away = False
        except Unavailable as error:
            if not away:
                log.warning("presence cannot be read, the last picture serves: %s", error.message)
            away = True
        await asyncio.sleep(POLL_S)
