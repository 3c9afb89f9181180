"""Tells whoever follows a job that it has new events: at once for what this process commits, else within a second.

One question for all jobs that somebody follows; the events themselves each watcher reads from SQL.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator

from sqlalchemy import select

from modelzoo.errors import Unavailable, ZooError
from zoo_server.background import beside
from zoo_store.sql import Database
from zoo_training.schema import jobs

__all__ = ["EventFeed", "open_feed"]

log = logging.getLogger(__name__)

POLL_S = 1.0
# Between two looks: many commits make one.
PAUSE_S = 0.02
ASKED_AT_ONCE = 500


class EventFeed:
    """The last sequences of jobs, as they are known here, while somebody waits for them to grow."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: defaultdict[int, set[asyncio.Future[int]]] = defaultdict(set)
        self._closed = False
        self._committed = asyncio.Event()

    async def beyond(self, job_id: int, sequence: int, within_s: float) -> bool:
        """Wait until the job has an event after `sequence`; False if it has none in that time. Raises DRAINING once the
        feed is closed."""
        end = asyncio.get_running_loop().time() + within_s
        while not self._closed:
            grown = asyncio.get_running_loop().create_future()
            self._waiting[job_id].add(grown)
            try:
                async with asyncio.timeout_at(end):
                    if await grown > sequence:
                        return True
            except TimeoutError:
                return False
            finally:
                self._forget(job_id, grown)
        self.check()
        return False

    def check(self) -> None:
        """Raises DRAINING once the feed is closed."""
        if self._closed:
            raise Unavailable("DRAINING", "the service is shutting down: watch again", retry_after_s=1.0)

    def notify(self) -> None:
        """Say that something was committed here: the next look is at once."""
        self._committed.set()

    async def look(self) -> None:
        """Tell everybody who waits how far their job is now."""
        waiting = list(self._waiting)
        for begin in range(0, len(waiting), ASKED_AT_ONCE):
            some = waiting[begin : begin + ASKED_AT_ONCE]
            async with self._database.read() as connection:
                query = select(jobs.c.id, jobs.c.last_sequence).where(jobs.c.id.in_(some))
                rows = (await connection.execute(query)).all()
            for job_id, sequence in rows:
                self._tell(job_id, sequence)

    async def follow(self) -> None:
        """Look whenever something is committed here, and every second, until cancelled."""
        while True:
            self._committed.clear()
            try:
                await self.look()
            except ZooError as error:
                log.warning("events cannot be read, trying again: %s", error.message)
            except Exception:  # whatever it is: a feed that has died would leave every watch waiting in silence
                log.exception("events cannot be read, trying again")
            await asyncio.sleep(PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._committed.wait()

    async def close(self) -> None:
        """End every wait with DRAINING, so that no watch holds up the end of the server."""
        self._closed = True
        for job_id in list(self._waiting):
            self._tell(job_id, 0)

    def _tell(self, job_id: int, sequence: int) -> None:
        for grown in self._waiting.get(job_id, ()):
            if not grown.done():
                grown.set_result(sequence)

    def _forget(self, job_id: int, grown: asyncio.Future[int]) -> None:
        self._waiting[job_id].discard(grown)
        if not self._waiting[job_id]:
            del self._waiting[job_id]


@contextlib.asynccontextmanager
async def open_feed(database: Database) -> AsyncGenerator[EventFeed]:
    """A feed that follows the jobs of `database` while the block lasts."""
    feed = EventFeed(database)
    database.on_commit(feed.notify)
    async with beside(feed.follow(), "event-feed"):
        yield feed
