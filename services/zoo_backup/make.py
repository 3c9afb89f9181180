"""Making a backup while everybody goes on writing.

    rows: catalog, then index  ->  marks and quarantines  ->  manifests  ->  blobs  ->  is it whole?  ->  backup.json

A publish writes blobs, manifest, mark, index, catalog, each after the one before it is on the disk. Read the other way
round, what is read later has everything that something read earlier names, but for what is deleted in between. A sweep
may do that: it takes what was let go of after the rows were read. So at the end everything that rows and marks name is
looked for, and where something is not there all is read once more, which is quick: only what is new is copied. What is
not there after that either is damage in the bucket: the backup is made without it, and says so.

Nothing is frozen meanwhile, so that a backup that dies leaves nothing behind that somebody has to know of.
"""

import asyncio
import importlib.metadata
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from modelzoo.errors import NotFound
from zoo_artifact.keys import (
    BLOBS,
    MANIFESTS,
    MARKS,
    QUARANTINES,
    Visible,
    blob_of,
    manifest_of,
    mark_of,
    quarantine_of,
)
from zoo_backup.folder import Folder, has_its_name
from zoo_backup.listing import Listing, lacking
from zoo_backup.record import ObjectsRecord, Record, RowsRecord
from zoo_backup.source import SOURCES, Source
from zoo_store.blobs import BlobStore
from zoo_store.rows import count_rows, export_rows, revision_of
from zoo_store.sql import read_snapshot

__all__ = ["Made", "Told", "make_backup"]

ROUNDS = 3
COPYING_AT_ONCE = 4

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Made:
    """A backup, and how much of it had to be copied this time."""

    record: Record
    copied: int
    copied_bytes: int


async def make_backup(
    urls: Mapping[str, str], store: BlobStore, folder: Folder, told: Told, sources: Sequence[Source] = SOURCES
) -> Made:
    """Leave a whole backup in the folder, or the one that was there before. `urls`: the databases, by service.

    Raises BACKUP_IN_USE, DATABASE_NOT_FOUND, and Unavailable where a database or the bucket does not answer: begun
    again, it goes on.
    """
    with folder.locked():
        maker = _Maker(store, folder, told)
        record = await maker.read_all(urls, sources)
        for _ in range(ROUNDS - 1):
            if not record.lacking:
                break
            told("something was deleted meanwhile, or is damaged: once more")
            record = await maker.read_all(urls, sources)
        files = {record.objects.file, *(rows.file for rows in record.rows), *maker.listing.content}
        await asyncio.to_thread(folder.finish, record, files)
        return Made(record, maker.copied, maker.copied_bytes)


class _Maker:
    def __init__(self, store: BlobStore, folder: Folder, told: Told) -> None:
        self.listing = Listing()
        self.copied = self.copied_bytes = 0
        self._store = store
        self._folder = folder
        self._told = told

    async def read_all(self, urls: Mapping[str, str], sources: Sequence[Source]) -> Record:
        """One round."""
        began = datetime.now(UTC)
        self.listing = Listing()
        held: set[Visible] = set()
        rows = [await self._read_rows(source, urls[source.name], held) for source in sources]
        await self._read_small()
        for prefix in (MANIFESTS, BLOBS):
            await self._copy(prefix)
        self._told("looking whether it is whole")
        without = await asyncio.to_thread(lambda: tuple(lacking(self.listing, self._folder, held)))
        file, sha256 = await self._folder.put_lines("objects", "", self.listing.lines())
        counts = {kind: self.listing.count(kind) for kind in ("blobs", "manifests", "marks", "quarantines")}
        objects = ObjectsRecord(file, sha256, **counts, size_bytes=sum(self.listing.content.values()))
        return Record(
            id=uuid.uuid4().hex,
            time=began.isoformat(timespec="seconds"),
            release=importlib.metadata.version("modelzoo"),
            rows=tuple(rows),
            objects=objects,
            lacking=without,
        )

    async def _read_rows(self, source: Source, url: str, held: set[Visible]) -> RowsRecord:
        self._told(f"rows of {source.name}")
        async with read_snapshot(url) as connection:
            revision = await revision_of(connection)
            if revision is None:
                raise NotFound("DATABASE_NOT_FOUND", f"the database of {source.name} has no tables: was it started?")
            held |= await source.held(connection)
            counts = await count_rows(connection)
            file, sha256 = await self._folder.put_lines("rows", f"{source.name}-", export_rows(connection))
        return RowsRecord(source.name, revision, file, sha256, counts)

    async def _read_small(self) -> None:
        async for info in self._store.list(MARKS):
            if mark_of(info.key):
                self.listing.small[info.key] = b""
        async for info in self._store.list(QUARANTINES):
            if quarantine_of(info.key):
                try:
                    self.listing.small[info.key] = await self._store.get(info.key)
                except NotFound:  # it was just released
                    continue

    async def _copy(self, prefix: str) -> None:
        """What lies below the prefix and the folder lacks; what is not what its name says is left out."""
        async for some in self._pages(prefix):
            await asyncio.gather(*(self._copy_one(key, size) for key, size in some))
            self._told(f"{prefix.rstrip('/')}: {len(self.listing.content)} objects, {self.copied} of them copied now")

    async def _pages(self, prefix: str) -> AsyncIterator[list[tuple[str, int]]]:
        page: list[tuple[str, int]] = []
        async for info in self._store.list(prefix):
            if blob_of(info.key) or manifest_of(info.key):
                page.append((info.key, info.size_bytes))
            if len(page) == COPYING_AT_ONCE:
                yield page
                page = []
        yield page

    async def _copy_one(self, key: str, size: int) -> None:
        if self._folder.size(key) != size:
            try:
                data = await self._store.get(key)
            except NotFound:
                return
            # An upload in progress may have other bytes than its name says.
            if not await asyncio.to_thread(has_its_name, key, data):
                return
            await asyncio.to_thread(self._folder.put, key, data)
            size = len(data)
            self.copied += 1
            self.copied_bytes += size
        self.listing.content[key] = size
