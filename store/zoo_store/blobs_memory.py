"""Blobs in a dictionary: for tests, and for trying things out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from zoo_store.blobs import PIECE_BYTES, BlobInfo, SignedPut, blob_not_found, check_key, check_range

__all__ = ["MemoryBlobStore"]


@dataclass(frozen=True, slots=True)
class _Entry:
    data: bytes
    modified: datetime


class MemoryBlobStore:
    """A BlobStore that goes with the process. Every call lets other tasks run first, as a real store would."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    async def put(self, key: str, data: bytes) -> None:
        check_key(key)
        await asyncio.sleep(0)
        self._entries[key] = _Entry(bytes(data), datetime.now(UTC))

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        check_key(key)
        await asyncio.sleep(0)
        entry = self._entries.get(key)
        if entry is None:
            raise blob_not_found(key)
        check_range(key, len(entry.data), offset, length)
        return entry.data[offset : None if length is None else offset + length]

    async def read(self, key: str, consume: Callable[[memoryview], object]) -> int:
        data = await self.get(key)
        for begin in range(0, len(data), PIECE_BYTES):
            consume(memoryview(data)[begin : begin + PIECE_BYTES])
        return len(data)

    async def size(self, key: str) -> int | None:
        check_key(key)
        await asyncio.sleep(0)
        entry = self._entries.get(key)
        return None if entry is None else len(entry.data)

    async def delete(self, key: str) -> None:
        check_key(key)
        await asyncio.sleep(0)
        self._entries.pop(key, None)

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        for key, entry in list(self._entries.items()):
            if key.startswith(prefix):
                await asyncio.sleep(0)
                yield BlobInfo(key, len(entry.data), entry.modified)

    def sign_get(self, key: str, expires_s: int) -> str | None:
        return None

    def sign_put(self, key: str, size_bytes: int, sha256: str, expires_s: int) -> SignedPut | None:
        return None
