"""The checkpoints of a job that are kept: the last two, so that one that turns out to be damaged costs little.

A checkpoint is accepted by an event; only then is it kept here. Until then, and for a day, it lives by the pin that
every push sets.
"""

import asyncio
import logging

from sqlalchemy import select, update

from modelzoo.errors import NotFound, ZooError
from zoo_store.sql import Database
from zoo_training.pins import Pin, PinRole, Pins, want
from zoo_training.schema import pins

__all__ = ["Checkpoints"]

KEPT = 2
# Of a call that renews a lease.
PIN_AT_ONCE_S = 3.0

log = logging.getLogger(__name__)


class Checkpoints:
    def __init__(self, database: Database, held: Pins) -> None:
        self._database = database
        self._held = held

    async def keep(self, job: str, namespace: str, manifest_digest: str) -> None:
        """Keep this one, which is the job's newest, and let go of all but the one before. Keeping it again changes
        nothing. The keeper ends what cannot be done now, so that nobody's lease waits for the artifact service."""
        pin = Pin(job, PinRole.CHECKPOINT, namespace, manifest_digest)
        newest = (
            select(pins.c.id)
            .where(pins.c.job == job, pins.c.role == PinRole.CHECKPOINT.value, pins.c.wanted)
            .order_by(pins.c.create_time.desc(), pins.c.id.desc())
        )
        async with self._database.write() as connection:
            await want(connection, [pin])
            older = (await connection.scalars(newest.offset(KEPT))).all()
            await connection.execute(update(pins).where(pins.c.id.in_(older)).values(wanted=False))
        await self._try(pin)

    async def keep_result(self, job: str, namespace: str, manifest_digest: str) -> None:
        """Keep what the job made until it is published."""
        pin = Pin(job, PinRole.RESULT, namespace, manifest_digest)
        async with self._database.write() as connection:
            await want(connection, [pin])
        await self._try(pin)

    async def _try(self, pin: Pin) -> None:
        try:
            async with asyncio.timeout(PIN_AT_ONCE_S):
                await self._held.pin(pin)
        except TimeoutError:
            log.warning("%s: its %s is not pinned yet: the artifact service is slow", pin.job, pin.role.value)
        except NotFound:
            log.error("%s: its %s sha256:%s is not there", pin.job, pin.role.value, pin.manifest_digest)
        except ZooError as error:
            log.warning("%s: its %s is not pinned yet: %s", pin.job, pin.role.value, error.message)
