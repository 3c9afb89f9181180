"""Tells the others what this worker is and does: every two seconds, and at once when something changes."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from modelzoo.errors import Unavailable
from zoo_store.presence import Presence, WorkerPresence

__all__ = ["Announcer"]

log = logging.getLogger(__name__)

EVERY_S = 2.0
# Changes closer together than this are announced as one.
COALESCE_S = 0.1


class Announcer:
    """Announces what `describe` says, which is None until the worker can be reached.

    Presence being away is logged once and hurts no request.
    """

    def __init__(self, presence: Presence, describe: Callable[[], WorkerPresence | None]) -> None:
        self._presence = presence
        self._describe = describe
        self._changed = asyncio.Event()
        self._reachable = True

    def change(self) -> None:
        """Something changed; announce it soon."""
        self._changed.set()

    async def run(self) -> None:
        """Announce until cancelled, then withdraw."""
        try:
            while True:
                self._changed.clear()
                worker = self._describe()
                if worker is not None:
                    await self._announce(worker)
                await asyncio.sleep(COALESCE_S)
                if worker is not None:
                    # Not wait_for, which in Python 3.11 can swallow a cancellation that comes with the change.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(EVERY_S - COALESCE_S):
                            await self._changed.wait()
        finally:
            await self._withdraw()

    async def _announce(self, worker: WorkerPresence) -> None:
        try:
            await self._presence.announce(worker)
        except Unavailable as error:
            if self._reachable:
                log.warning("presence is away, nobody new finds this worker: %s", error.message)
            self._reachable = False
        else:
            self._reachable = True

    async def _withdraw(self) -> None:
        worker = self._describe()
        if worker is None:
            return
        try:
            await self._presence.withdraw(worker.name)
        except Unavailable as error:
            log.warning("presence is away, this worker is forgotten by itself: %s", error.message)
