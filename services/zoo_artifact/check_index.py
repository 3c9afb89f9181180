"""The index as checks and rebuilds see it: whole, in pages by digest, each method one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ScalarSelect, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from modelzoo.manifest import Blob, Manifest
from zoo_artifact.index import DAMAGED, batches
from zoo_artifact.keys import Visible
from zoo_artifact.schema import STORED, STORING, blobs, manifest_blobs, manifests, namespace_manifests, quarantines
from zoo_store.sql import Database, now

__all__ = ["CheckIndex", "Lacking"]

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Lacking:
    """A blob that a manifest names and that cannot be read."""

    blob: str
    manifest: str


class CheckIndex:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_empty(self) -> bool:
        """Whether nothing was ever stored, or the database is new."""
        async with self._database.read() as connection:
            for table in (blobs, manifests):
                if await connection.scalar(select(table.c.digest).limit(1)) is not None:
                    return False
        return True

    async def size(self) -> int:
        """How many rows a check compares."""
        async with self._database.read() as connection:
            tables = (blobs, manifests, namespace_manifests, quarantines)
            return sum([await connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables])

    async def stored_blobs(self, prefix: str) -> dict[str, int]:
        """Sizes in bytes of the stored blobs whose digests begin so."""
        query = select(blobs.c.digest, blobs.c.size_bytes).where(
            blobs.c.state == STORED, blobs.c.digest.startswith(prefix)
        )
        async with self._database.read() as connection:
            return {row.digest: row.size_bytes for row in await connection.execute(query)}

    async def damaged_blobs(self, after: str) -> list[Blob]:
        """The next blobs that were found damaged."""
        query = select(blobs.c.digest, blobs.c.size_bytes).where(blobs.c.state == DAMAGED, blobs.c.digest > after)
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(blobs.c.digest).limit(PAGE))
            return [Blob(row.digest, row.size_bytes) for row in rows]

    async def is_stored(self, digest: str) -> bool:
        async with self._database.read() as connection:
            stored = select(blobs.c.digest).where(blobs.c.digest == digest, blobs.c.state == STORED)
            return await connection.scalar(stored) is not None

    async def has_blob(self, digest: str) -> bool:
        """Whether it has a row, in whatever state."""
        async with self._database.read() as connection:
            return await connection.scalar(select(blobs.c.digest).where(blobs.c.digest == digest)) is not None

    async def mark_sound(self, digest: str) -> None:
        """A blob that counted as damaged is not: its bytes were read."""
        async with self._database.write() as connection:
            sound = update(blobs).where(blobs.c.digest == digest, blobs.c.state == DAMAGED)
            await connection.execute(sound.values(state=STORED, touch_time=now()))

    async def add_blobs(self, found: Sequence[Blob]) -> None:
        """Blobs that lie in the bucket have rows now; those that had one keep it."""
        async with self._database.write() as connection:
            for some in batches(found):
                rows = [
                    {"digest": blob.digest, "size_bytes": blob.size, "state": STORED, "reference_count": 0}
                    for blob in some
                ]
                await connection.execute(
                    insert(blobs).values([{**row, "touch_time": now()} for row in rows]).on_conflict_do_nothing()
                )

    async def lacking(self, after: str) -> list[Lacking]:
        """The next blobs that manifests name and that are damaged, or were never stored."""
        query = (
            select(blobs.c.digest, func.min(manifest_blobs.c.manifest).label("manifest"))
            .join(manifest_blobs, manifest_blobs.c.blob == blobs.c.digest)
            .where(blobs.c.state.in_((DAMAGED, STORING)), blobs.c.digest > after)
            .group_by(blobs.c.digest)
            .order_by(blobs.c.digest)
            .limit(PAGE)
        )
        async with self._database.read() as connection:
            return [Lacking(row.digest, row.manifest) for row in await connection.execute(query)]

    async def manifests(self, after: str) -> list[str]:
        """The next manifests that are stored."""
        query = select(manifests.c.digest).where(manifests.c.state == STORED, manifests.c.digest > after)
        async with self._database.read() as connection:
            return list((await connection.scalars(query.order_by(manifests.c.digest).limit(PAGE))).all())

    async def has_manifest(self, digest: str) -> bool:
        """Whether it is stored."""
        async with self._database.read() as connection:
            stored = select(manifests.c.digest).where(manifests.c.digest == digest, manifests.c.state == STORED)
            return await connection.scalar(stored) is not None

    async def namespaces_of(self, digest: str) -> list[Visible]:
        """Where the manifest is visible."""
        query = select(namespace_manifests.c.namespace).where(
            namespace_manifests.c.digest == digest, namespace_manifests.c.state == STORED
        )
        async with self._database.read() as connection:
            return [Visible(namespace, digest) for namespace in await connection.scalars(query)]

    async def references(self, digest: str) -> set[str]:
        """The blobs that the manifest names, as the index has it."""
        async with self._database.read() as connection:
            named = select(manifest_blobs.c.blob).where(manifest_blobs.c.manifest == digest)
            return set(await connection.scalars(named))

    async def set_references(self, digest: str, manifest: Manifest) -> None:
        """Let the index say what the manifest says; unknown blobs are damaged, counts follow by `recount`."""
        named = manifest.unique_blobs()
        async with self._database.write() as connection:
            state = select(manifests.c.state).where(manifests.c.digest == digest).with_for_update()
            if await connection.scalar(state) != STORED:
                return
            await connection.execute(delete(manifest_blobs).where(manifest_blobs.c.manifest == digest))
            for some in batches(list(named)):
                unknown = [
                    {"digest": blob, "size_bytes": named[blob], "state": DAMAGED, "reference_count": 0} for blob in some
                ]
                await connection.execute(
                    insert(blobs).values([{**row, "touch_time": now()} for row in unknown]).on_conflict_do_nothing()
                )
                await connection.execute(
                    insert(manifest_blobs).values([{"manifest": digest, "blob": blob} for blob in some])
                )

    async def wrong_counts(self, after: str) -> list[str]:
        """The next blobs whose reference counts are not the numbers of manifests that name them."""
        wrong = blobs.c.reference_count != _count()
        query = select(blobs.c.digest).where(wrong, blobs.c.digest > after).order_by(blobs.c.digest).limit(PAGE)
        async with self._database.read() as connection:
            return list((await connection.scalars(query)).all())

    async def recount(self) -> None:
        """Let every blob's reference count be the number of manifests that name it."""
        after = ""
        while wrong := await self.wrong_counts(after):
            after = wrong[-1]
            async with self._database.write() as connection:
                # Locked first: the statement that counts must see what those who held the rows have added.
                await connection.execute(select(blobs.c.digest).where(blobs.c.digest.in_(wrong)).with_for_update())
                counted = update(blobs).where(blobs.c.digest.in_(wrong))
                await connection.execute(counted.values(reference_count=_count()))


def _count() -> ScalarSelect[int]:
    return select(func.count()).where(manifest_blobs.c.blob == blobs.c.digest).correlate(blobs).scalar_subquery()
