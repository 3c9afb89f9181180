"""The bucket as upkeep sees it: what lies there, whole pages at a time, and taking it away."""

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime

from modelzoo.errors import Unavailable
from zoo_artifact.keys import BLOBS, MANIFESTS, Visible, blob_key, manifest_key, mark_key, quarantine_key
from zoo_store.blobs import BlobInfo, BlobStore

__all__ = ["Bucket"]

# Written over whenever the store is asked for its time.
CLOCK = "clock/now"
PAGE = 500


class Bucket:
    """Raises Unavailable STORAGE_UNAVAILABLE where the store does not answer; that never means absence."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    async def has_content(self) -> bool:
        """Whether any blob or manifest was ever stored."""
        for prefix in (MANIFESTS, BLOBS):
            async for _ in self._store.list(prefix):
                return True
        return False

    async def pages(self, prefix: str) -> AsyncGenerator[list[BlobInfo]]:
        """Everything below the prefix, some hundred objects at a time."""
        page: list[BlobInfo] = []
        async for found in self._store.list(prefix):
            page.append(found)
            if len(page) == PAGE:
                yield page
                page = []
        if page:
            yield page

    async def now(self) -> datetime:
        """The store's time, by which it says how old objects are."""
        await self._store.put(CLOCK, b"")
        return await _modified(self._store.list(CLOCK))

    async def has_mark(self, visible: Visible) -> bool:
        """Whether the bucket says that the manifest is visible there."""
        return await self._store.size(mark_key(visible)) is not None

    async def put_mark(self, visible: Visible) -> None:
        await self._store.put(mark_key(visible), b"")

    async def has_quarantine(self, visible: Visible) -> bool:
        """Whether the bucket says that the manifest is quarantined there."""
        return await self._store.size(quarantine_key(visible)) is not None

    async def blob_size(self, digest: str) -> int | None:
        """Its size in bytes; None where there is none."""
        return await self._store.size(blob_key(digest))

    async def has_manifest(self, digest: str) -> bool:
        return await self._store.size(manifest_key(digest)) is not None

    async def delete(self, key: str) -> None:
        """After it returns there is no such object. Idempotent."""
        await self._store.delete(key)


async def _modified(found: AsyncIterator[BlobInfo]) -> datetime:
    async for info in found:
        return info.modified
    raise Unavailable("STORAGE_UNAVAILABLE", "the object store does not list what it has just stored; try again")
