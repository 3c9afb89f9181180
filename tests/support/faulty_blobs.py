"""A blob store that tells a test of each operation before and after it, and so may wait, fail, or crash there."""

from collections.abc import AsyncIterator, Awaitable, Callable

from zoo_store.blobs import BlobInfo, BlobStore, SignedPut

Hook = Callable[[str, str], Awaitable[None]]


async def nothing(operation: str, key: str) -> None:
    """A hook that lets everything pass."""


class FaultyBlobs:
    """Forwards to `inner`; `before` and `after` are called with the operation's name and the key."""

    def __init__(self, inner: BlobStore, before: Hook = nothing, after: Hook = nothing) -> None:
        self.inner = inner
        self.before = before
        self.after = after

    async def put(self, key: str, data: bytes) -> None:
        await self.before("put", key)
        await self.inner.put(key, data)
        await self.after("put", key)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        await self.before("get", key)
        data = await self.inner.get(key, offset, length)
        await self.after("get", key)
        return data

    async def read(self, key: str, consume: Callable[[memoryview], object]) -> int:
        await self.before("read", key)
        size_bytes = await self.inner.read(key, consume)
        await self.after("read", key)
        return size_bytes

    async def size(self, key: str) -> int | None:
        await self.before("size", key)
        size = await self.inner.size(key)
        await self.after("size", key)
        return size

    async def delete(self, key: str) -> None:
        await self.before("delete", key)
        await self.inner.delete(key)
        await self.after("delete", key)

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        return self.inner.list(prefix)

    def sign_get(self, key: str, expires_s: int) -> str | None:
        return self.inner.sign_get(key, expires_s)

    def sign_put(self, key: str, size_bytes: int, sha256: str, expires_s: int) -> SignedPut | None:
        return self.inner.sign_put(key, size_bytes, sha256, expires_s)
