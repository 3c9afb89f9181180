"""Tells gateways who may do what: a snapshot of keys and grants at once, and another after every change."""

import asyncio
from collections.abc import AsyncIterator

from modelzoo.errors import Unavailable

__all__ = ["AccessFeed"]


class AccessFeed:
    """Knows that keys or grants changed, not how: whoever watches reads all of it again.

    Changes in quick succession are told as one. Told are changes that this process made, after they were committed.
    """

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._closed = False

    def notify(self) -> None:
        """Say that something changed; every watcher that waits now, or reads now, looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """End every watch with DRAINING, so that none holds up the end of the server."""
        self._closed = True
        self.notify()

    async def turns(self) -> AsyncIterator[None]:
        """Yield at once, then after every change; what is read in a turn has the change in it."""
        while not self._closed:
            # Taken before the reading: a change during it makes one more turn.
            changed = self._changed
            yield
            await changed.wait()
        raise Unavailable("DRAINING", "the catalog is shutting down: watch again", retry_after_s=1.0)
