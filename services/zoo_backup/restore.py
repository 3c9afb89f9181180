"""Bringing a backup back. The services do not run meanwhile; whatever dies, the same command once more goes on.

    verify the backup -> note in the bucket that a restore is under way -> index: rows, and sweeping off
    -> rows of the other services -> blobs, manifests, quarantines, marks -> rebuild the index -> check every byte
    -> the note goes

Each database changes in one transaction. Sweeping is off from the first of them, and the index and a catalog that is
still empty never meet a bucket that has what the catalog does not know: that would be swept. In the bucket something is
added or mended and never removed: what it has beyond the backup the rebuild takes into the index.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from modelzoo.errors import DataLoss, FailedPrecondition, NotFound
from zoo_artifact.check import Finding, Scope
from zoo_artifact.keys import blob_of, manifest_of, quarantine_of
from zoo_artifact.storage import Storage
from zoo_artifact.upkeep import Upkeep
from zoo_artifact.upkeep_state import Sweeping
from zoo_backup.folder import Folder, has_its_name
from zoo_backup.listing import Listing
from zoo_backup.make import Told
from zoo_backup.record import Record
from zoo_backup.source import ARTIFACT, Source
from zoo_backup.verify import require_sound, verify_backup
from zoo_store.blobs import BlobStore
from zoo_store.migration import has_revision, make_anew, migrate, migrate_within
from zoo_store.rows import count_rows, delete_rows, import_rows
from zoo_store.sql import Database

__all__ = ["Restored", "Target", "restore_backup"]

# In the bucket while a restore is under way: which backup's.
UNDER_WAY = "restore/under-way"
PUTTING_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Target:
    """The open database of a service."""

    source: Source
    database: Database


@dataclass(frozen=True, slots=True)
class Restored:
    """`replaced`: rows that were there, by service and table. `put`: objects that the bucket lacked or had damaged.
    `findings`: what still does not agree. `sweeping`: whether it is on, which takes more than a restore."""

    record: Record
    replaced: dict[str, dict[str, int]]
    put: int
    put_bytes: int
    findings: tuple[Finding, ...]
    sweeping: Sweeping


async def restore_backup(
    folder: Folder,
    targets: Sequence[Target],
    store: BlobStore,
    told: Told,
    *,
    only: Collection[str] = (),
    force: Collection[str] = (),
) -> Restored:
    """Leave everything that the backup holds in the databases and the bucket.

    `targets` are all services; rows of those named in `only`, which is of PARTS, are replaced (nothing named: of all),
    and where precious rows are there already, only of those named in `force`. Raises RESTORE_REFUSED otherwise,
    BACKUP_DAMAGED, BACKUP_TOO_NEW before anything is written; and Unavailable where a database or the bucket does not
    answer.
    """
    with folder.locked():
        told("verifying the backup")
        record = require_sound(await asyncio.to_thread(verify_backup, folder, told))
        chosen = [target for target in targets if not only or target.source.name in only]
        _require_known(record, chosen)
        replaced = {target.source.name: await _counts(target) for target in chosen}
        if await _under_way(store) != record.id:
            _require_free(chosen, replaced, force)
        for name, counts in replaced.items():
            if counts:
                told(f"replacing {name}: " + ", ".join(f"{count} {table}" for table, count in counts.items()))
        return await _Restorer(folder, record, targets, store, told).run(chosen, replaced)


class _Restorer:
    def __init__(self, folder: Folder, record: Record, targets: Sequence[Target], store: BlobStore, told: Told) -> None:
        self._folder = folder
        self._record = record
        self._store = store
        self._told = told
        self._targets = sorted(targets, key=lambda target: target.source is not ARTIFACT)
        self._put = self._put_bytes = 0

    async def run(self, chosen: Collection[Target], replaced: dict[str, dict[str, int]]) -> Restored:
        await self._store.put(UNDER_WAY, json.dumps({"backup": self._record.id}).encode())
        for target in self._targets:
            self._told(f"rows of {target.source.name}")
            await self._bring_back(target, anew=target in chosen)
        await self._put_objects(Listing.from_lines(self._folder.lines(self._record.objects.file)))
        upkeep = Upkeep(self._store, Storage(self._store), self._targets[0].database)
        async for rebuilt in upkeep.rebuild():
            self._told(f"index: {rebuilt.blobs} blobs, {rebuilt.manifests} manifests")
        findings = await self._check(upkeep)
        sweeping = await upkeep.sweeping()
        await self._store.delete(UNDER_WAY)
        return Restored(self._record, replaced, self._put, self._put_bytes, findings, sweeping)

    async def _bring_back(self, target: Target, *, anew: bool) -> None:
        """One transaction: the rows of the backup, or those that are there, in today's tables, settled."""
        source, rows = target.source, self._record.rows_of(target.source.name)
        if not anew or rows is None:
            await migrate(target.database, source.versions)
            async with target.database.write() as connection:
                await source.settle(connection)
            return
        async with target.database.change_schema() as connection:
            await delete_rows(connection)
            await make_anew(connection, source.versions, rows.revision)
            await delete_rows(connection)  # those that migrations begin with
            await import_rows(connection, self._folder.lines(rows.file))
            await migrate_within(connection, source.versions)
            await source.settle(connection)

    async def _put_objects(self, listing: Listing) -> None:
        """Blobs, then manifests, then quarantines, then marks: nobody sees what is not there yet, or is not allowed."""
        content, small = listing.content, listing.small
        await self._each(self._put_content, [key for key in content if blob_of(key)])
        await self._each(self._put_content, [key for key in content if manifest_of(key)])
        for is_first in (True, False):
            keys = [key for key in small if (quarantine_of(key) is not None) is is_first]
            await self._each(lambda key: self._store.put(key, small[key]), keys)

    async def _each(self, work: Callable[[str], Awaitable[None]], keys: list[str]) -> None:
        for at in range(0, len(keys), PUTTING_AT_ONCE):
            await asyncio.gather(*map(work, keys[at : at + PUTTING_AT_ONCE]))
            if at % 100 == 0:
                self._told(f"objects: {at} of {len(keys)} looked at, {self._put} put")

    async def _put_content(self, key: str) -> None:
        data = await asyncio.to_thread(self._folder.read, key)
        if not await asyncio.to_thread(has_its_name, key, data):
            raise DataLoss("BACKUP_DAMAGED", f"{key} of the backup has changed since it was verified")
        try:
            if await self._store.get(key) == data:
                return
        except NotFound:
            pass
        await self._store.put(key, data)
        self._put += 1
        self._put_bytes += len(data)

    async def _check(self, upkeep: Upkeep) -> tuple[Finding, ...]:
        """What does not agree after what can be mended was: every byte is read, and once more where that mended it."""
        if not [finding async for finding in self._findings(upkeep, repair=True)]:
            return ()
        return tuple([finding async for finding in self._findings(upkeep, repair=False)])

    async def _findings(self, upkeep: Upkeep, *, repair: bool) -> AsyncGenerator[Finding]:
        async for event in upkeep.check(Scope(1.0, repair=repair)):
            if isinstance(event, Finding):
                yield event
            else:
                self._told(f"checking: {event.rows} of {event.total} rows")


def _require_known(record: Record, chosen: Sequence[Target]) -> None:
    for target in chosen:
        rows = record.rows_of(target.source.name)
        if rows is not None and not has_revision(target.source.versions, rows.revision):
            raise FailedPrecondition(
                "BACKUP_TOO_NEW",
                f"the rows of {target.source.name} have the revision {rows.revision}, unknown to this release: restore "
                f"with release {record.release} or a newer one",
            )


def _require_free(chosen: Sequence[Target], found: dict[str, dict[str, int]], force: Collection[str]) -> None:
    taken: dict[str, dict[str, int]] = {}
    for source in (target.source for target in chosen if target.source.name not in force):
        counts = found[source.name]
        taken[source.name] = {table: counts[table] for table in source.precious if table in counts}
    held = [f"{name} has {n} {table}" for name, counts in taken.items() for table, n in counts.items()]
    if held:
        raise FailedPrecondition(
            "RESTORE_REFUSED",
            f"there is data that would be replaced: {', '.join(held)}. Restore somewhere else, name what was lost "
            "with --only, or give --force",
            metadata={"services": ",".join(name for name, counts in taken.items() if counts)},
        )


async def _counts(target: Target) -> dict[str, int]:
    # Not `read`: PostgreSQL's readers compare widely, by which tables cannot be described.
    async with target.database.change_schema() as connection:
        return {table: count for table, count in (await count_rows(connection)).items() if count}


async def _under_way(store: BlobStore) -> str | None:
    """The backup whose restore did not come to its end; None: no such."""
    try:
        return json.loads(await store.get(UNDER_WAY))["backup"]
    except NotFound:
        return None
