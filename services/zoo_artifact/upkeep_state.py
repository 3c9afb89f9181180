"""Whether may be swept, and who does: one row of SQL, so that every replica and every restart knows."""

import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import Aborted, FailedPrecondition
from zoo_artifact.schema import holders, upkeep
from zoo_store.sql import Database, now

__all__ = ["Lease", "Sweeping", "UpkeepState", "begin_restore"]

# A sweeper says at each step that it is alive; longer than the deletions between two steps can take.
LEASE = timedelta(seconds=120)
RETRY_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Sweeping:
    """Whether may be swept, and what is waited for. `grace` is how long what was touched is kept."""

    index_id: str
    frozen: bool
    freeze_reason: str
    rebuilding: bool
    unchecked: bool
    awaited: tuple[str, ...]
    sweep_time: datetime | None
    grace: timedelta

    @property
    def reason(self) -> str:
        """Why it is off, in a sentence; empty where it is on."""
        if self.frozen:
            return f"an admin froze it: {self.freeze_reason}" if self.freeze_reason else "an admin froze it"
        if self.rebuilding:
            return "the index is being rebuilt"
        if self.unchecked:
            return "restored from a backup: waiting for a full check that finds nothing wrong (zoo fsck --full)"
        if self.awaited:
            return f"index rebuilt: waiting for holders to pin again: {', '.join(self.awaited)}"
        return ""


class UpkeepState:
    """`awaited` are the subjects that have to confirm their pins after a rebuild."""

    def __init__(self, database: Database, grace: timedelta, awaited: Sequence[str]) -> None:
        self._database = database
        self._grace = grace
        self._awaited = tuple(awaited)

    async def get(self) -> Sweeping:
        async with self._database.read() as connection:
            return await self._get(connection)

    async def is_rebuilding(self) -> bool:
        async with self._database.read() as connection:
            return bool(await connection.scalar(select(upkeep.c.rebuilding)))

    async def set_frozen(self, frozen: bool, reason: str) -> Sweeping:
        """Whoever ends a freeze also answers for what was restored and not checked."""
        values: dict[str, object] = {"frozen": True, "freeze_reason": reason}
        if not frozen:
            values = {"frozen": False, "freeze_reason": "", "unchecked": False}
        async with self._database.write() as connection:
            await connection.execute(update(upkeep).values(values))
            return await self._get(connection)

    async def begin_rebuild(self) -> None:
        """From now on this is another index, that knows nobody's pins. One that is being rebuilt stays what it is."""
        async with self._database.write() as connection:
            begun = update(upkeep).where(upkeep.c.rebuilding.is_(False))
            await connection.execute(begun.values(rebuilding=True, waiting=True, index_id=uuid.uuid4().hex))

    async def end_rebuild(self) -> Sweeping:
        async with self._database.write() as connection:
            await connection.execute(update(upkeep).values(rebuilding=False))
            return await self._settle(connection)

    async def note_agreement(self, index_id: str) -> None:
        """A check of every byte of that index found nothing wrong, from its beginning to its end."""
        whole = (upkeep.c.index_id == index_id) & upkeep.c.rebuilding.is_(False)
        async with self._database.write() as connection:
            await connection.execute(update(upkeep).where(whole).values(unchecked=False))

    async def confirm(self, holder: str, index_id: str) -> Sweeping:
        """The holder has everything pinned in that index. Raises INDEX_CHANGED where this is another."""
        async with self._database.write() as connection:
            if await connection.scalar(select(upkeep.c.index_id).with_for_update()) != index_id:
                raise Aborted(
                    "INDEX_CHANGED",
                    "the index was rebuilt since: ask for its id, pin everything again, then confirm",
                )
            confirmed = insert(holders).values(subject=holder, index_id=index_id, confirm_time=now())
            await connection.execute(
                confirmed.on_conflict_do_update(
                    index_elements=[holders.c.subject], set_={"index_id": index_id, "confirm_time": now()}
                )
            )
            return await self._settle(connection)

    @asynccontextmanager
    async def lease(self) -> AsyncGenerator["Lease"]:
        """Be the only one that sweeps or rebuilds. Raises UPKEEP_RUNNING where somebody else does."""
        lease = Lease(self._database, uuid.uuid4().hex)
        await lease.take()
        try:
            yield lease
        finally:
            await lease.end()

    async def require_on(self) -> None:
        """Raises SWEEPING_OFF."""
        reason = (await self.get()).reason
        if reason:
            raise _off(reason)

    async def is_due(self, what: str, interval: timedelta) -> bool:
        """Whether the last `sweep` or `scrub` is longer ago than that."""
        last = {"sweep": upkeep.c.sweep_time, "scrub": upkeep.c.scrub_time}[what]
        async with self._database.read() as connection:
            row = (await connection.execute(select(now().label("now"), last.label("last")))).one()
        return row.last is None or row.last + interval < row.now

    async def note_end(self, what: str) -> None:
        """A `sweep` or `scrub` has come to its end."""
        async with self._database.write() as connection:
            await connection.execute(update(upkeep).values({f"{what}_time": now()}))

    async def _get(self, connection: AsyncConnection) -> Sweeping:
        row = (await connection.execute(select(upkeep))).one()
        awaited: tuple[str, ...] = ()
        if row.waiting:
            done = select(holders.c.subject).where(holders.c.index_id == row.index_id)
            confirmed = set((await connection.scalars(done)).all())
            awaited = tuple(holder for holder in self._awaited if holder not in confirmed)
        return Sweeping(
            index_id=row.index_id,
            frozen=row.frozen,
            freeze_reason=row.freeze_reason,
            rebuilding=row.rebuilding,
            unchecked=row.unchecked,
            awaited=awaited,
            sweep_time=row.sweep_time,
            grace=self._grace,
        )

    async def _settle(self, connection: AsyncConnection) -> Sweeping:
        """Wait for nobody any more, once nobody is waited for."""
        sweeping = await self._get(connection)
        if not sweeping.awaited and not sweeping.rebuilding:
            await connection.execute(update(upkeep).values(waiting=False))
        return sweeping


async def begin_restore(connection: AsyncConnection) -> None:
    """What the index says and what lies in the bucket come from different times: nothing is swept until the index is
    rebuilt, a check of every byte has agreed, and holders have pinned again. For while the service does not run."""
    values = {"index_id": uuid.uuid4().hex, "rebuilding": True, "waiting": True, "unchecked": True}
    await connection.execute(update(upkeep).values(**values, lease_owner=None, lease_expire_time=None))


class Lease:
    """The right to sweep. It lapses by the database's time unless it is kept."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def take(self) -> None:
        async with self._database.write() as connection:
            time: datetime = (await connection.execute(select(now()))).scalar_one()
            free = or_(upkeep.c.lease_owner.is_(None), upkeep.c.lease_expire_time < time)
            if not await self._set(connection, time, free):
                raise _running()

    async def keep(self, *, sweeping: bool = True) -> None:
        """Have it for another while. Raises UPKEEP_RUNNING where it was lost; `sweeping`: SWEEPING_OFF where it is off.

        To be asked before every step: what comes between two of them is done within the lease.
        """
        async with self._database.write() as connection:
            time: datetime = (await connection.execute(select(now()))).scalar_one()
            mine = (upkeep.c.lease_owner == self._owner) & (upkeep.c.lease_expire_time >= time)
            if not await self._set(connection, time, mine):
                raise _running()
            row = (await connection.execute(select(upkeep))).one()
        if sweeping and (row.frozen or row.rebuilding or row.unchecked or row.waiting):
            raise _off("it was frozen, restored, or the index is being rebuilt, since this sweep began")

    async def end(self) -> None:
        async with self._database.write() as connection:
            mine = update(upkeep).where(upkeep.c.lease_owner == self._owner)
            await connection.execute(mine.values(lease_owner=None, lease_expire_time=None))

    async def _set(self, connection: AsyncConnection, time: datetime, condition: ColumnElement[bool]) -> bool:
        taken = update(upkeep).where(condition).values(lease_owner=self._owner, lease_expire_time=time + LEASE)
        return await connection.scalar(taken.returning(upkeep.c.id)) is not None


def _running() -> Aborted:
    return Aborted(
        "UPKEEP_RUNNING",
        "a sweep or a rebuild of the index runs already: try again after it",
        retry_after_s=RETRY_AFTER_S,
    )


def _off(reason: str) -> FailedPrecondition:
    return FailedPrecondition("SWEEPING_OFF", f"nothing is swept now: {reason}", metadata={"reason": reason})
