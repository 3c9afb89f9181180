"""Objects in the bucket that the index does not know, older than the grace period by the store's own time.

A blob whose upload died between the object and its row; a manifest whose put died likewise. But a bucket may also know
more than the index because the index is an old one, restored from a backup: so a manifest that lies there complete,
with its mark, is taken into the index instead, where the next grace period decides about it; and where one lies that
cannot be read, no blob is taken for a leftover, because it may be one of its.
"""

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta

from modelzoo.errors import DataLoss, InvalidArgument
from modelzoo.manifest import BLOB_BYTES_MAX, Blob
from zoo_artifact.adoption import Adoption
from zoo_artifact.bucket import Bucket
from zoo_artifact.index import BeingDeleted, Index
from zoo_artifact.keys import (
    BLOBS,
    MANIFESTS,
    MARKS,
    Visible,
    blob_key,
    blob_of,
    manifest_key,
    manifest_of,
    mark_key,
    mark_of,
)
from zoo_artifact.sweep_index import BATCH, SweepIndex
from zoo_artifact.sweep_tally import Tally
from zoo_artifact.upkeep_state import Lease

__all__ = ["Leftovers"]


class Leftovers:
    def __init__(
        self, bucket: Bucket, index: Index, sweep_index: SweepIndex, adoption: Adoption, grace: timedelta
    ) -> None:
        self._bucket = bucket
        self._index = index
        self._sweep_index = sweep_index
        self._adoption = adoption
        self._grace = grace

    async def sweep(self, lease: Lease, tally: Tally) -> AsyncGenerator[None]:
        """Delete or adopt them; yields after each page. Raises as `Lease.keep`, and STORAGE_UNAVAILABLE."""
        cutoff = await self._bucket.now() - self._grace
        readable = True
        async for visible in self._unknown_marks(cutoff):
            await lease.keep()
            readable &= await self._adopt_or_delete(visible, tally)
            yield
        async for digest in self._unknown_manifests(cutoff):
            await lease.keep()
            if await self._sweep_index.claim_unknown_manifest(digest):
                gone = await tally.delete({digest: manifest_key(digest)})
                await self._sweep_index.forget_manifests(gone)
                tally.counts.deleted_leftovers += len(gone)
            yield
        if not readable:
            return
        async for page in self._old_blobs(cutoff):
            for at in range(0, len(page), BATCH):
                some = page[at : at + BATCH]
                await lease.keep()
                claimed = set(await self._sweep_index.claim_unknown_blobs(some))
                gone = await tally.delete({each: blob_key(each.digest) for each in some if each.digest in claimed})
                await self._sweep_index.forget_blobs([each.digest for each in gone])
                tally.counts.deleted_leftovers += len(gone)
                tally.counts.leftover_bytes += sum(each.size for each in gone)
                yield

    async def estimate(self, tally: Tally) -> AsyncGenerator[None]:
        """Count what `sweep` would delete or adopt; blobs of manifests that it would adopt are counted as leftovers."""
        cutoff = await self._bucket.now() - self._grace
        async for _ in self._unknown_marks(cutoff):
            tally.counts.adopted_manifests += 1
        async for _ in self._unknown_manifests(cutoff):
            tally.counts.deleted_leftovers += 1
        yield
        async for page in self._old_blobs(cutoff):
            known = await self._index.known_blobs([blob.digest for blob in page])
            left = [blob.size for blob in page if blob.digest not in known]
            tally.counts.deleted_leftovers += len(left)
            tally.counts.leftover_bytes += sum(left)
            yield

    async def _adopt_or_delete(self, visible: Visible, tally: Tally) -> bool:
        """Whether every blob that the manifest names is known now, or there is none."""
        try:
            await self._adoption.adopt(visible)
        except BeingDeleted as error:
            tally.fail(f"{mark_key(visible)}: {error.message}")
            return False
        except (DataLoss, InvalidArgument) as error:
            if await self._bucket.has_manifest(visible.digest):
                tally.fail(f"{manifest_key(visible.digest)}: {error.message}")
                return False
            # A mark of nothing.
            if await self._sweep_index.claim_unknown_manifest(visible.digest):
                gone = await tally.delete({visible: mark_key(visible)})
                if gone:
                    await self._sweep_index.forget_manifests([visible.digest])
                tally.counts.deleted_leftovers += len(gone)
            return True
        tally.counts.adopted_manifests += 1
        return True

    async def _unknown_marks(self, cutoff: datetime) -> AsyncGenerator[Visible]:
        async for page in self._bucket.pages(MARKS):
            old = [mark for info in page if info.modified < cutoff and (mark := mark_of(info.key))]
            for mark in await self._sweep_index.unknown_marks(old):
                yield mark

    async def _unknown_manifests(self, cutoff: datetime) -> AsyncGenerator[str]:
        async for page in self._bucket.pages(MANIFESTS):
            old = [digest for info in page if info.modified < cutoff and (digest := manifest_of(info.key))]
            for digest in await self._sweep_index.unknown_manifests(old):
                yield digest

    async def _old_blobs(self, cutoff: datetime) -> AsyncGenerator[list[Blob]]:
        """Of known blobs too; objects that no upload can have made are left alone."""
        async for page in self._bucket.pages(BLOBS):
            yield [
                Blob(digest, info.size_bytes)
                for info in page
                if info.modified < cutoff
                and 0 < info.size_bytes <= BLOB_BYTES_MAX
                and (digest := blob_of(info.key)) is not None
            ]
