"""What jobs need is kept in the artifact service while they need it, whoever else lets go of it.

A row says what is wanted; the pin follows it, and again after each failure: a base that was purged stays readable for
the jobs that were queued with it, and a checkpoint for the next attempt. Rows come before their pins and go after them.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Row, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import NotFound
from zoo_store.sql import Database, now
from zoo_training.artifacts import Artifacts
from zoo_training.job import Job
from zoo_training.schema import pins
from zoo_training.spec import Source

__all__ = ["Pin", "PinRole", "Pins", "let_go", "needed_by", "pin_from_row", "source_pins", "want"]

# Pins that are set side by side.
AT_ONCE = 8


class PinRole(Enum):
    """What a manifest is to its job."""

    BASE = "base"
    DATASET = "dataset"
    CHECKPOINT = "checkpoint"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class Pin:
    """A manifest that a job needs, in the namespace where it is visible."""

    job: str
    role: PinRole
    namespace: str
    manifest_digest: str

    @property
    def holder(self) -> str:
        """The name under which the artifact service keeps it."""
        return f"training:{self.job}/{self.role.value}"


def source_pins(job: str, base: Source, dataset: Source) -> list[Pin]:
    """What the job of that name reads."""
    return [
        Pin(job, PinRole.BASE, base.namespace, base.manifest_digest),
        Pin(job, PinRole.DATASET, dataset.namespace, dataset.manifest_digest),
    ]


def needed_by(job: Job) -> list[Pin]:
    """What a job that is not over is known to need."""
    needed = source_pins(job.name, job.base, job.dataset)
    if job.checkpoint is not None:
        needed.append(Pin(job.name, PinRole.CHECKPOINT, job.namespace, job.checkpoint.manifest_digest))
    if job.made is not None:
        needed.append(Pin(job.name, PinRole.RESULT, job.namespace, job.made.manifest_digest))
    return needed


async def want(connection: AsyncConnection, wanted: Iterable[Pin]) -> None:
    """In the transaction that makes them needed: from now on they are."""
    for pin in wanted:
        row = insert(pins).values(
            job=pin.job,
            role=pin.role.value,
            namespace=pin.namespace,
            manifest_digest=pin.manifest_digest,
            wanted=True,
            create_time=now(),
        )
        await connection.execute(
            row.on_conflict_do_update(
                index_elements=[pins.c.job, pins.c.role, pins.c.namespace, pins.c.manifest_digest],
                set_={"wanted": True, "create_time": now()},
            )
        )


async def let_go(connection: AsyncConnection, job: str) -> None:
    """In the transaction that ends the job: it needs nothing any more."""
    await connection.execute(update(pins).where(pins.c.job == job).values(wanted=False))


class Pins:
    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts

    async def hold(self, wanted: Iterable[Pin]) -> None:
        """Want them, and pin them at once. Raises MANIFEST_NOT_FOUND, with nothing of the job's wanted any more, and
        DEPENDENCY_UNAVAILABLE."""
        wanted = tuple(wanted)
        async with self._database.write() as connection:
            await want(connection, wanted)
        try:
            for at in range(0, len(wanted), AT_ONCE):
                await asyncio.gather(*map(self.pin, wanted[at : at + AT_ONCE]))
        except NotFound:
            for job in {pin.job for pin in wanted}:
                await self.drop(job)
            raise

    async def drop(self, job: str) -> None:
        """The job was not made, or is over: it needs nothing any more."""
        async with self._database.write() as connection:
            await let_go(connection, job)

    async def pin(self, pin: Pin) -> None:
        """Keep what is wanted. Raises MANIFEST_NOT_FOUND, DEPENDENCY_UNAVAILABLE."""
        await self._artifacts.pin(pin.namespace, pin.manifest_digest, pin.holder)

    async def unpin_dropped(self) -> int:
        """End the pins that nobody wants; how many those were. Raises DEPENDENCY_UNAVAILABLE."""
        async with self._database.read() as connection:
            dropped = (await connection.execute(select(pins).where(pins.c.wanted.is_(False)))).all()
        for row in dropped:
            pin = pin_from_row(row)
            await self._artifacts.unpin(pin.namespace, pin.manifest_digest, pin.holder)
            async with self._database.write() as connection:
                gone = delete(pins).where(pins.c.id == row.id, pins.c.wanted.is_(False)).returning(pins.c.id)
                is_gone = await connection.scalar(gone) is not None
            if not is_gone:
                # Wanted again meanwhile, and the pin that was set for that may just have been ended.
                await self.pin(pin)
        return len(dropped)


def pin_from_row(row: Row[Any]) -> Pin:
    return Pin(row.job, PinRole(row.role), row.namespace, row.manifest_digest)
