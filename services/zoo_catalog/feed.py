"""Tells whoever waits that the log of changes grew: at once for what this process commits, within a second for others'.

One question for all who wait, `max(sequence)`: what was written is read from SQL by each of them.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

from sqlalchemy import func, select

from modelzoo.errors import Unavailable, ZooError
from zoo_catalog.schema import changes
from zoo_server.background import beside
from zoo_store.sql import Database

__all__ = ["ChangeFeed", "open_feed"]

log = logging.getLogger(__name__)

POLL_S = 1.0

_END = select(func.coalesce(func.max(changes.c.sequence), 0))


class ChangeFeed:
    """The end of the log, as it is known here. Sequences are in the order of commits (`ordered_append`): every change
    up to `end` is there to be read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._end = 0
        self._closed = False
        self._grown = asyncio.Event()
        self._committed = asyncio.Event()

    @property
    def end(self) -> int:
        """The last sequence seen; at most a second old."""
        return self._end

    async def look(self) -> int:
        """The last sequence now; wakes whoever waits for one before it."""
        [[end]] = await self._database.fetch(_END, {})
        if end > self._end:
            self._end = end
            self._wake()
        return end

    async def beyond(self, sequence: int, within_s: float | None = None) -> bool:
        """Wait until the log has a change after `sequence`; False if it has none in that time.

        Raises DRAINING once the feed is closed.
        """
        try:
            async with asyncio.timeout(within_s):
                while self._end <= sequence and not self._closed:
                    await self._grown.wait()
        except TimeoutError:
            return False
        self.check()
        return True

    def check(self) -> None:
        """Raises DRAINING once the feed is closed."""
        if self._closed:
            raise Unavailable("DRAINING", "the catalog is shutting down: watch again", retry_after_s=1.0)

    def notify(self) -> None:
        """Say that something was committed here: the next look is at once."""
        self._committed.set()

    async def follow(self) -> None:
        """Look whenever something is committed here, and every second, until cancelled."""
        while True:
            self._committed.clear()
            try:
                await self.look()
            except ZooError as error:
                log.warning("the log of changes cannot be read, trying again: %s", error)
            except Exception:  # whatever it is: a feed that has died would leave every watch waiting in silence
                log.exception("the log of changes cannot be read, trying again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._committed.wait()

    async def close(self) -> None:
        """End every wait with DRAINING, so that no watch holds up the end of the server."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


@contextlib.asynccontextmanager
async def open_feed(database: Database) -> AsyncGenerator[ChangeFeed]:
    """A feed that follows the log of `database` while the block lasts."""
    feed = ChangeFeed(database)
    database.on_commit(feed.notify)
    async with beside(feed.follow(), "change-feed"):
        yield feed
