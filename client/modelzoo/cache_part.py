"""A file of the cache that is still coming in, blob by blob."""

import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager

from blake3 import blake3

from modelzoo.cache_follow import Follower
from modelzoo.errors import DataLoss, Interrupted
from modelzoo.manifest import Blob, File

__all__ = ["Fetch", "PartialFile"]

READ_BYTES = 4 * 1024 * 1024


class PartialFile:
    """What is there of `file`, and the place to put the rest. Safe for several threads.

    Bytes are taken in whole blobs and only with the right digest, so what an earlier, dead writer left counts as far
    as its blobs are whole. The SHA-256 of the whole follows behind, in the thread that put the blob after the gap.
    """

    def __init__(self, file: File, descriptor: int) -> None:
        self.file = file
        self._descriptor = descriptor
        self._present: set[int] = set()
        self._follower: Follower | None = None
        if os.fstat(descriptor).st_size:
            self._present = {offset for offset, blob in file.placed_blobs() if self._holds(offset, blob)}

    def missing(self) -> list[tuple[int, Blob]]:
        """The blobs still to come, each with its offset in the file."""
        return [(offset, blob) for offset, blob in self.file.placed_blobs() if offset not in self._present]

    def put(self, offset: int, blob: Blob, data: bytes | memoryview) -> None:
        """Write a blob at its offset; DataLoss BLOB_CORRUPT, and nothing written, if `data` is not that blob."""
        if len(data) != blob.size or blake3(data).hexdigest() != blob.digest:
            raise _damaged(self.file, blob)
        _write_all(self._descriptor, memoryview(data), offset)
        self._came(offset)

    def writer(self, offset: int, blob: Blob) -> "BlobWriter":
        """Writes a blob at its offset piece by piece; it counts from `finish` on."""
        return BlobWriter(self.file, self._descriptor, offset, blob, self._came)

    @contextmanager
    def followed(self) -> Generator[None]:
        """Hash the file while blobs come in, so that little is left to read at the end of the block."""
        with Follower(self._descriptor, self.file, self._present) as self._follower:
            yield

    def is_right(self) -> bool:
        """Whether the whole has the file's SHA-256; Interrupted if blobs are missing."""
        if missing := self.missing():
            raise Interrupted(
                "STREAM_INTERRUPTED",
                f"{self.file.path!a} is not complete: {len(missing)} blobs did not come. Fetch it again.",
            )
        sha256 = self._follower.sha256() if self._follower else sha256_of(self._descriptor)
        return sha256 == self.file.sha256

    def _came(self, offset: int) -> None:
        self._present.add(offset)
        if self._follower:
            self._follower.came(offset)

    def _holds(self, offset: int, blob: Blob) -> bool:
        # A hole, or what a power cut left, reads as other bytes.
        hasher = blake3()
        end = offset + blob.size
        while offset < end:
            piece = os.pread(self._descriptor, min(READ_BYTES, end - offset), offset)
            if not piece:
                return False
            hasher.update(piece)
            offset += len(piece)
        return hasher.hexdigest() == blob.digest


class BlobWriter:
    """`written` bytes of the blob are in the file; `finish` says whether they are right."""

    def __init__(self, file: File, descriptor: int, offset: int, blob: Blob, came: Callable[[int], None]) -> None:
        self.written = 0
        self._file = file
        self._descriptor = descriptor
        self._offset = offset
        self._blob = blob
        self._came = came
        self._hasher = blake3()

    def write(self, piece: memoryview) -> None:
        """The next bytes, no more than the blob has."""
        self._hasher.update(piece)
        _write_all(self._descriptor, piece, self._offset + self.written)
        self.written += len(piece)

    def finish(self) -> None:
        """The blob is there; DataLoss BLOB_CORRUPT, and it is not, if what was written is not that blob."""
        if self.written != self._blob.size or self._hasher.hexdigest() != self._blob.digest:
            raise _damaged(self._file, self._blob)
        self._came(self._offset)


Fetch = Callable[[PartialFile], None]
"""Puts every missing blob into the partial file, or raises; what was put stays for the next attempt."""


def _write_all(descriptor: int, view: memoryview, offset: int) -> None:
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _damaged(file: File, blob: Blob) -> DataLoss:
    return DataLoss("BLOB_CORRUPT", f"Blob {blob.digest} of {file.path!a} arrived damaged: fetch it again.")


def sha256_of(descriptor: int, on_bytes: Callable[[int], None] | None = None) -> str:
    """The SHA-256 of an open file's bytes, in lower-case hexadecimal digits; `on_bytes` hears of every piece read."""
    hasher, offset = hashlib.sha256(), 0
    while piece := os.pread(descriptor, READ_BYTES, offset):
        hasher.update(piece)
        offset += len(piece)
        if on_bytes:
            on_bytes(len(piece))
    return hasher.hexdigest()
