"""Ranges of files as verified chunks: the next blob is read while the last one is sent."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from modelzoo.errors import DataLoss, OutOfRange
from modelzoo.manifest import Blob, File
from zoo_artifact.storage import Storage

__all__ = ["Downloads", "Range"]

CHUNK_BYTES = 1024 * 1024
# A reader that takes no chunk for so long is taken for gone: it holds memory that others wait for.
STALL_S = 60.0
# Blobs of all streams in memory, so that it has a limit however many pull: 384 MiB; a stream holds at most two.
BLOBS_IN_MEMORY = 12


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes `begin` to `end` of a file."""

    begin: int
    end: int

    @classmethod
    def of(cls, file: File, offset: int, length: int | None) -> "Range":
        """The range, to the file's end without a length; RANGE_INVALID where it leaves the file."""
        end = file.size if length is None else offset + length
        if not 0 <= offset <= end <= file.size:
            asked = "to the end" if length is None else f"{length} long"
            raise OutOfRange(
                "RANGE_INVALID",
                f"{file.path!a} has {file.size} bytes; the range from {offset}, {asked}, leaves it: ask for less",
                metadata={"size_bytes": str(file.size)},
            )
        return cls(offset, end)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Bytes `begin` to `end` of a blob."""

    blob: Blob
    begin: int
    end: int


class Downloads:
    """Serves any number of streams. `on_damage` is told the digest of each blob found damaged or gone."""

    def __init__(self, storage: Storage, on_damage: Callable[[str], Awaitable[None]], stall_s: float = STALL_S) -> None:
        self._storage = storage
        self._on_damage = on_damage
        self._stall_s = stall_s
        self._memory = asyncio.Semaphore(BLOBS_IN_MEMORY)

    async def read(self, file: File, wanted: Range) -> AsyncGenerator[bytes]:
        """The range in chunks of at most 1 MiB; each blob is verified before the first of its bytes.

        Raises DataLoss BLOB_CORRUPT, Unavailable STORAGE_UNAVAILABLE; every chunk before that is right.
        """
        pieces = deque(_pieces(file, wanted))
        # The blob being sent and the one after it. Each holds a place in memory; nobody waits for a second one.
        reading: deque[_Reading] = deque()
        try:
            while pieces or reading:
                while pieces and (not reading or (len(reading) < 2 and not self._memory.locked())):
                    await self._memory.acquire()
                    piece = pieces.popleft()
                    reading.append(_Reading(piece, asyncio.create_task(self._load(piece.blob))))
                piece, data = reading[0].piece, await reading[0].task
                for begin in range(piece.begin, piece.end, CHUNK_BYTES):
                    # Cancels the task that reads; it is elsewhere, in the midst of sending.
                    async with asyncio.timeout(self._stall_s):
                        yield data[begin : min(begin + CHUNK_BYTES, piece.end)]
                del data
                reading.popleft()
                self._memory.release()
        finally:
            for left in reading:
                left.task.cancel()
                self._memory.release()
            await asyncio.gather(*(left.task for left in reading), return_exceptions=True)

    async def _load(self, blob: Blob) -> bytes:
        try:
            return await self._storage.get_blob(blob)
        except DataLoss:
            await self._on_damage(blob.digest)
            raise


@dataclass(frozen=True, slots=True)
class _Reading:
    piece: _Piece
    task: asyncio.Task[bytes]


def _pieces(file: File, wanted: Range) -> Iterator[_Piece]:
    start = 0
    for blob in file.blobs:
        begin, end = max(wanted.begin - start, 0), min(wanted.end - start, blob.size)
        if begin < end:
            yield _Piece(blob, begin, end)
        start += blob.size
