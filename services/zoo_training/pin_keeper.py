"""Everything that jobs need is pinned in the artifact service, whatever that service has forgotten; nothing else is.

The artifact service asks nobody: an index made anew from its bucket knows no pins, and sweeps nothing until its holders
say that theirs are there. So it is looked at every minute: what jobs need is pinned again where the index is another
one, and now and then without; what they do not need any more is let go of.
"""

import asyncio
import logging
import time
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from sqlalchemy import exists, or_, select, update

from modelzoo.errors import NotFound
from zoo_server.background import beside, repeat
from zoo_store.sql import Database, now
from zoo_training.artifacts import Artifacts
from zoo_training.job import FINAL, job_from_row
from zoo_training.pins import Pins, needed_by, pin_from_row, want
from zoo_training.schema import jobs, pins

__all__ = ["PinKeeper"]

LOOK_S = 60.0
AGAIN_S = 5.0
PAGE = 500
PINNING_AT_ONCE = 8
# A job is queued within the call that pinned for it.
UNBORN_AFTER = timedelta(hours=1)

log = logging.getLogger(__name__)


class PinKeeper:
    """Pins everything again after `interval_s`, or when the artifact service has another index."""

    def __init__(self, database: Database, artifacts: Artifacts, held: Pins, interval_s: float) -> None:
        self._database = database
        self._artifacts = artifacts
        self._held = held
        self._interval_s = interval_s
        self._pinned_in = ""
        self._pinned_at = 0.0

    def running(self) -> AbstractAsyncContextManager[None]:
        """Keep pins as they should be while the block runs."""
        return beside(repeat(self.look, "pins are not confirmed", LOOK_S, AGAIN_S), "pin")

    async def look(self) -> None:
        """Let go of what no job needs, and pin everything else and confirm it, if that is due. Raises
        DEPENDENCY_UNAVAILABLE; nothing is confirmed then."""
        await self._drop_ended()
        await self._held.unpin_dropped()
        index_id = await self._artifacts.index_id()
        if index_id == self._pinned_in and time.monotonic() < self._pinned_at + self._interval_s:
            return
        await self._want_missing()
        count, after = 0, 0
        wanted = select(pins).where(pins.c.wanted).order_by(pins.c.id).limit(PAGE)
        while True:
            async with self._database.read() as connection:
                page = (await connection.execute(wanted.where(pins.c.id > after))).all()
            if not page:
                break
            for at in range(0, len(page), PINNING_AT_ONCE):
                await asyncio.gather(*(self._pin(row.id) for row in page[at : at + PINNING_AT_ONCE]))
            count, after = count + len(page), page[-1].id
        await self._artifacts.confirm_pins(index_id)
        self._pinned_in, self._pinned_at = index_id, time.monotonic()
        log.info("%d manifests are pinned", count)

    async def _drop_ended(self) -> None:
        """Jobs that are over need nothing, nor do those that were never queued."""
        async with self._database.write() as connection:
            its_job = jobs.c.name == pins.c.job
            over = exists().where(its_job, jobs.c.state.in_([state.value for state in FINAL]))
            time = (await connection.execute(select(now()))).scalar_one()
            unborn = ~exists().where(its_job) & (pins.c.create_time < time - UNBORN_AFTER)
            await connection.execute(update(pins).where(pins.c.wanted, or_(over, unborn)).values(wanted=False))

    async def _want_missing(self) -> None:
        """Of jobs that are not over, what they are known to need: whoever was to write it down may have died."""
        after = 0
        some = select(jobs).where(jobs.c.state.not_in([state.value for state in FINAL])).order_by(jobs.c.id).limit(PAGE)
        while True:
            async with self._database.read() as connection:
                page = (await connection.execute(some.where(jobs.c.id > after))).all()
            if not page:
                return
            needed = {pin for row in page for pin in needed_by(job_from_row(row))}
            known = select(pins).where(pins.c.wanted, pins.c.job.in_([row.name for row in page]))
            async with self._database.write() as connection:
                there = {pin_from_row(row) for row in await connection.execute(known)}
                await want(connection, needed - there)
            after = page[-1].id

    async def _pin(self, pin_id: int) -> None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(pins).where(pins.c.id == pin_id, pins.c.wanted))).one_or_none()
        if row is None:
            return
        pin = pin_from_row(row)
        try:
            await self._held.pin(pin)
        except NotFound:
            log.error("%s: its %s sha256:%s is lost", pin.job, pin.role.value, pin.manifest_digest)
            return
        async with self._database.read() as connection:
            still = await connection.scalar(select(pins.c.id).where(pins.c.id == pin_id, pins.c.wanted))
        if still is None:
            # It may have been let go of since it was read, and its pin was ended before it was set again.
            await self._artifacts.unpin(pin.namespace, pin.manifest_digest, pin.holder)
