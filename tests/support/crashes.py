"""Crash sweeps: drivers that count their calls, and let the process die at the call of a number, or only its reply."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import Unavailable
from zoo_store.blobs import BlobInfo, BlobStore, SignedPut
from zoo_store.queue import Queue
from zoo_store.sql import Database

Phase = Literal["before", "after", "lost"]


class Crash(Exception):
    """The process is dead: from now on no driver does anything."""


@dataclass
class Crashes:
    """Dies at call `at` (from 1; 0: never): `before` it has an effect, or `after`.

    Or the process lives, and only learns that the connection broke: the reply is `lost`.
    """

    at: int = 0
    phase: Phase = "before"
    calls: list[str] = field(default_factory=list)
    dead: bool = False

    @asynccontextmanager
    async def around(self, call: str) -> AsyncIterator[None]:
        if self.dead:
            raise Crash(call)
        self.calls.append(call)
        number = len(self.calls)
        if number == self.at and self.phase == "before":
            self.dead = True
            raise Crash(call)
        yield
        if number == self.at and self.phase == "lost":
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "the connection broke")
        if number == self.at:
            self.dead = True
        if self.dead:
            raise Crash(call)


class CrashingBlobs:
    """A BlobStore; what was stored outlives the crash."""

    def __init__(self, inner: BlobStore, crashes: Crashes) -> None:
        self.inner = inner
        self._crashes = crashes

    async def put(self, key: str, data: bytes) -> None:
        async with self._crashes.around(f"put {key}"):
            await self.inner.put(key, data)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        async with self._crashes.around(f"get {key}"):
            return await self.inner.get(key, offset, length)

    async def read(self, key: str, consume: Callable[[memoryview], object]) -> int:
        async with self._crashes.around(f"read {key}"):
            return await self.inner.read(key, consume)

    async def size(self, key: str) -> int | None:
        async with self._crashes.around(f"size {key}"):
            return await self.inner.size(key)

    async def delete(self, key: str) -> None:
        async with self._crashes.around(f"delete {key}"):
            await self.inner.delete(key)

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        async with self._crashes.around(f"list {prefix}"):
            found = [info async for info in self.inner.list(prefix)]
        for info in found:
            yield info

    def sign_get(self, key: str, expires_s: int) -> str | None:
        return self.inner.sign_get(key, expires_s)

    def sign_put(self, key: str, size_bytes: int, sha256: str, expires_s: int) -> SignedPut | None:
        return self.inner.sign_put(key, size_bytes, sha256, expires_s)


class CrashingDatabase(Database):
    """A Database whose calls are its transactions: before the commit nothing of one is left, after it all."""

    def __init__(self, inner: Database, crashes: Crashes) -> None:
        self._inner = inner
        self._crashes = crashes

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        async with self._crashes.around("read"), self._inner.read() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        async with self._crashes.around("write"), self._inner.write() as connection:
            yield connection
            # Killed while the transaction was open.
            if self._crashes.dead:
                raise Crash("write")

    @asynccontextmanager
    async def change_schema(self) -> AsyncIterator[AsyncConnection]:
        async with self._crashes.around("write schema"), self._inner.change_schema() as connection:
            yield connection
            if self._crashes.dead:
                raise Crash("write schema")


class CrashingQueue:
    """A Queue; what was put outlives the crash."""

    def __init__(self, inner: Queue, crashes: Crashes) -> None:
        self._inner = inner
        self._crashes = crashes

    async def put(self, resource_class: str, ranks: Mapping[str, float]) -> None:
        async with self._crashes.around(f"put {resource_class}"):
            await self._inner.put(resource_class, ranks)

    async def pop(self, resource_class: str, wait_s: float) -> str | None:
        async with self._crashes.around(f"pop {resource_class}"):
            return await self._inner.pop(resource_class, wait_s)

    async def remove(self, resource_class: str, entry: str) -> None:
        async with self._crashes.around(f"remove {resource_class}"):
            await self._inner.remove(resource_class, entry)

    async def size(self, resource_class: str) -> int:
        async with self._crashes.around(f"size {resource_class}"):
            return await self._inner.size(resource_class)
