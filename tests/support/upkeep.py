"""Upkeep in tests: time passes by an UPDATE, sweeps and checks run to their end."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Table, type_coerce, update

from zoo_artifact.check import Checked, Finding, Scope
from zoo_artifact.schema import blobs, manifests, pins
from zoo_artifact.sweep import Swept
from zoo_artifact.upkeep import Upkeep
from zoo_store.blobs import BlobStore
from zoo_store.blobs_memory import MemoryBlobStore
from zoo_store.sql import Database

__all__ = ["AgedBlobs", "AgedStore", "age", "checked", "kinds", "rebuilt", "swept"]

DAY = timedelta(days=1)
LONG = 2 * DAY


class AgedBlobs(MemoryBlobStore):
    """Blobs in memory, whose objects have grown older by `age`."""

    def __init__(self) -> None:
        super().__init__()
        self._older: dict[str, datetime] = {}

    async def list(self, prefix: str):
        async for info in super().list(prefix):
            older = self._older.get(info.key)
            yield info if older != info.modified else replace(info, modified=info.modified - LONG)

    def copy(self) -> "AgedBlobs":
        """Another store of the same content and age."""
        copy = AgedBlobs()
        copy._entries, copy._older = dict(self._entries), dict(self._older)
        return copy

    async def grow_old(self) -> None:
        self._older = {info.key: info.modified async for info in super().list("")}

    def touch(self, key: str) -> None:
        """The object is about to be written anew."""
        self._older.pop(key, None)


class AgedStore:
    """A real store, whose objects have grown older by `age`; for every replica that is made with the `first` one."""

    def __init__(self, inner: BlobStore, first: "AgedStore | None" = None) -> None:
        self._inner = inner
        self._older: set[str] = first._older if first else set()
        self.get, self.read, self.size, self.delete = inner.get, inner.read, inner.size, inner.delete
        self.sign_get, self.sign_put = inner.sign_get, inner.sign_put

    async def put(self, key: str, data: bytes) -> None:
        self.touch(key)
        await self._inner.put(key, data)

    async def list(self, prefix: str):
        async for info in self._inner.list(prefix):
            yield replace(info, modified=info.modified - LONG) if info.key in self._older else info

    async def grow_old(self) -> None:
        self._older.update([info.key async for info in self._inner.list("")])

    def touch(self, key: str) -> None:
        """The object is about to be written anew."""
        self._older.discard(key)


async def age(database: Database, store: object = None, what: Collection[Table] = (blobs, manifests, pins)) -> None:
    """Two days pass for what is in the index, and for the objects of a store that can."""
    columns = {blobs: blobs.c.touch_time, manifests: manifests.c.touch_time, pins: pins.c.expire_time}
    async with database.write() as connection:
        for table in what:
            column = columns[table]
            earlier = type_coerce(column, BigInteger) - LONG // timedelta(microseconds=1)
            await connection.execute(update(table).values({column.key: type_coerce(earlier, column.type)}))
    if isinstance(store, AgedBlobs | AgedStore):
        await store.grow_old()


async def swept(upkeep: Upkeep, *, dry_run: bool = False) -> Swept:
    """The result of a sweep."""
    *_, last = [event async for event in upkeep.sweep(dry_run=dry_run)]
    assert isinstance(last, Swept)
    return last


@dataclass
class Outcome:
    findings: list[Finding] = field(default_factory=list)
    end: Checked | None = None

    @property
    def kinds(self) -> list[str]:
        return sorted(finding.kind.value for finding in self.findings)


async def checked(upkeep: Upkeep, *, full: bool = True, repair: bool = False) -> Outcome:
    """What a check finds."""
    outcome = Outcome()
    async for event in upkeep.check(Scope(1.0 if full else 0.0, repair)):
        if isinstance(event, Finding):
            outcome.findings.append(event)
        else:
            outcome.end = event
    assert outcome.end is not None
    assert outcome.end.done
    assert outcome.end.findings == len(outcome.findings)
    return outcome


async def kinds(upkeep: Upkeep, *, full: bool = True, repair: bool = False) -> list[str]:
    return (await checked(upkeep, full=full, repair=repair)).kinds


async def rebuilt(upkeep: Upkeep) -> None:
    async for _ in upkeep.rebuild():
        pass
