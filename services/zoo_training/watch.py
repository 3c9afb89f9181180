"""A job's events, from a cursor and on as they come."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from sqlalchemy import Row, bindparam, select

from modelzoo.errors import OutOfRange, Unavailable
from zoo_server.principal import Principal, Role
from zoo_store.sql import Database
from zoo_training.access import check_role, job_not_found
from zoo_training.events import PAGE_ROWS, Event, event_from_row, page_of_events
from zoo_training.feed import EventFeed
from zoo_training.job import FINAL, JobState
from zoo_training.schema import jobs

__all__ = ["Watch"]

# The roles of a watcher are looked up when it begins; a key that is revoked works for no longer than this.
WATCH_S = 300.0

_JOB = select(jobs).where(jobs.c.name == bindparam("name"))
_EVENTS = page_of_events()


class Watch:
    def __init__(self, database: Database, feed: EventFeed, *, watch_s: float = WATCH_S) -> None:
        self._database = database
        self._feed = feed
        self._watch_s = watch_s

    async def watch(self, name: str, principal: Principal, after: int, *, follow: bool) -> AsyncGenerator[Event]:
        """The job's events after the cursor, in order, each once: up to its last of now or, with `follow`, until it is
        final and its last was given.

        Raises JOB_NOT_FOUND and CURSOR_INVALID; with `follow` ends with WATCH_EXPIRED or DRAINING.
        """
        clock = asyncio.get_running_loop().time
        expires = clock() + self._watch_s
        job = await self._job(name)
        check_role(principal, Role.VIEWER, job.output.partition("/")[0], job_not_found(name))
        if after > job.last_sequence:
            raise OutOfRange(
                "CURSOR_INVALID",
                f"the cursor {after} lies after the last event of {name}, {job.last_sequence}: read the job anew",
                metadata={"last": str(job.last_sequence)},
                field="after_sequence",
            )
        cursor = after
        while True:
            while cursor < job.last_sequence:
                self._feed.check()
                rows = await self._database.fetch(_EVENTS, {"job_id": job.id, "after": cursor})
                for row in rows[:PAGE_ROWS]:
                    if not follow and row.sequence > job.last_sequence:
                        return
                    yield event_from_row(row)
                    cursor = row.sequence
            if not follow or JobState(job.state) in FINAL:  # nothing is added to a job that is final
                return
            # What was added since the job was read may have made it final: then nothing more would come.
            if cursor > job.last_sequence:
                job = await self._job(name)
                continue
            if clock() > expires or not await self._feed.beyond(job.id, cursor, expires - clock()):
                raise Unavailable(
                    "WATCH_EXPIRED", "this watch has lasted long enough: watch again from its cursor", retry_after_s=0.1
                )
            job = await self._job(name)

    async def _job(self, name: str) -> Row[Any]:
        rows = await self._database.fetch(_JOB, {"name": name})
        if not rows:
            raise job_not_found(name)
        return rows[0]
