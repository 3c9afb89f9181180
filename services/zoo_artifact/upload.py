"""Streams of blobs into a namespace: received in order, stored several at once, acknowledged in order.

However a stream ends, what had come of it whole is stored and recorded: its sender finds it there when it asks again.
"""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from modelzoo.errors import DeadlineExceeded, InvalidArgument
from modelzoo.manifest import BLOB_BYTES_MAX, Blob
from zoo_artifact.index import Index
from zoo_artifact.names import check_digest, namespace_key
from zoo_artifact.storage import Storage, check_bytes

__all__ = ["BlobStart", "Part", "UploadHeader", "Uploads"]

# Blobs of one stream that are begun and not acknowledged: 128 MiB.
WINDOW = 4
# Blobs of all streams in memory, so that it has a limit however many push: 384 MiB.
BLOBS_IN_MEMORY = 12
# A sender that stops in the middle of a blob holds memory that others wait for.
STALL_S = 60.0


@dataclass(frozen=True, slots=True)
class UploadHeader:
    namespace: str


@dataclass(frozen=True, slots=True)
class BlobStart:
    digest: str
    size_bytes: int


Part = UploadHeader | BlobStart | bytes


class Uploads:
    """Takes blobs from any number of streams at once."""

    def __init__(self, storage: Storage, index: Index, stall_s: float = STALL_S) -> None:
        self._storage = storage
        self._index = index
        self._stall_s = stall_s
        self._memory = asyncio.Semaphore(BLOBS_IN_MEMORY)

    async def write(self, parts: AsyncIterator[Part]) -> AsyncGenerator[str]:
        """Store the blobs of a stream; yield each one's digest, in order, once it is stored and recorded.

        Raises STREAM_ORDER_INVALID, DIGEST_INVALID, BLOB_SIZE_INVALID or BLOB_DIGEST_MISMATCH, after the digests of
        the blobs before the faulty one. However it ends, what was yielded stays; and when it has ended, so does every
        blob that had come whole by then, unless the store refuses it.
        """
        stream = _Stream(parts, self._memory, self._storage, self._index, self._stall_s)
        try:
            async for digest in stream.stored():
                yield digest
        finally:
            await stream.close()


class _Stream:
    def __init__(
        self,
        parts: AsyncIterator[Part],
        memory: asyncio.Semaphore,
        storage: Storage,
        index: Index,
        stall_s: float,
    ) -> None:
        self._parts = parts
        self._memory = memory
        self._storage = storage
        self._index = index
        self._stall_s = stall_s
        self._window = asyncio.Semaphore(WINDOW)
        # In order of arrival; None ends it. The window bounds it.
        self._begun: asyncio.Queue[asyncio.Task[str] | None] = asyncio.Queue()
        # Not in a TaskGroup: a generator must not yield inside one. `close` waits for them all.
        self._tasks: set[asyncio.Task[str]] = set()
        self._receiving: asyncio.Task[None] | None = None

    async def stored(self) -> AsyncGenerator[str]:
        # Receiving and acknowledging go on side by side: a client may wait for one blob before it sends the next.
        self._receiving = asyncio.create_task(self._receive())
        self._receiving.add_done_callback(lambda _: self._begun.put_nowait(None))
        while (task := await self._begun.get()) is not None:
            # Who is cancelled here goes; what is being stored stays.
            yield await asyncio.shield(task)
            self._window.release()
        await self._receiving

    async def close(self) -> None:
        if self._receiving:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
        # Not cancelled, nor if this is: their bytes are here and right, and would have to come again.
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _receive(self) -> None:
        header = await anext(self._parts, None)
        if not isinstance(header, UploadHeader):
            raise _order("the first message must be a header that names the namespace")
        namespace = namespace_key(header.namespace)
        async for part in self._parts:
            if not isinstance(part, BlobStart):
                raise _order(
                    "a second header came: begin another stream for another namespace"
                    if isinstance(part, UploadHeader)
                    else "bytes came outside of a blob: announce each blob, then send as many bytes as announced"
                )
            blob = _announced(part)
            await self._window.acquire()
            await self._memory.acquire()
            try:
                data = await self._receive_blob(blob)
            except BaseException:
                self._memory.release()
                raise
            task = asyncio.create_task(self._store(namespace, blob, data))
            # Not in the task's own `finally`: one that is cancelled before its first step has none.
            task.add_done_callback(lambda _: self._memory.release())
            task.add_done_callback(self._end)
            self._tasks.add(task)
            self._begun.put_nowait(task)

    def _end(self, task: asyncio.Task[str]) -> None:
        self._tasks.discard(task)
        # Looked at, so that asyncio does not complain where the stream ended before anybody asked.
        if not task.cancelled():
            task.exception()

    async def _receive_blob(self, blob: Blob) -> bytes:
        buffer = io.BytesIO()
        while buffer.tell() < blob.size:
            try:
                async with asyncio.timeout(self._stall_s):
                    part = await anext(self._parts, None)
            except TimeoutError as error:
                raise DeadlineExceeded(
                    "DEADLINE_EXCEEDED",
                    f"nothing came for {self._stall_s:g} s in the middle of a blob: send the rest again",
                ) from error
            if not isinstance(part, bytes):
                raise _size(blob, f"has {buffer.tell()} bytes and then something else")
            if buffer.tell() + len(part) > blob.size:
                raise _size(blob, "goes on after that")
            buffer.write(part)
        return buffer.getvalue()

    async def _store(self, namespace: str, blob: Blob, data: bytes) -> str:
        # First of all: who does not have the bytes must not get at a blob by naming it.
        await check_bytes(blob, data)
        if not await self._index.claim_blob(namespace, blob):
            await self._storage.put_blob(blob, data)
            await self._index.record_blob(namespace, blob)
        return blob.digest


def _announced(start: BlobStart) -> Blob:
    digest = check_digest(start.digest)
    if not 1 <= start.size_bytes <= BLOB_BYTES_MAX:
        raise InvalidArgument(
            "BLOB_SIZE_INVALID",
            f"blob {digest} is announced with {start.size_bytes} bytes; allowed are 1 to {BLOB_BYTES_MAX}: "
            "cut the file as its manifest says",
            metadata={"digest": digest},
        )
    return Blob(digest, start.size_bytes)


def _order(fault: str) -> InvalidArgument:
    return InvalidArgument("STREAM_ORDER_INVALID", fault)


def _size(blob: Blob, fault: str) -> InvalidArgument:
    return InvalidArgument(
        "BLOB_SIZE_INVALID",
        f"blob {blob.digest} is announced with {blob.size} bytes but {fault}: announce what you send",
        metadata={"digest": blob.digest},
    )
