"""A file of the cache that is still coming in, blob by blob."""

import hashlib
import os
from collections.abc import Callable

from blake3 import blake3

from modelzoo.errors import DataLoss, Interrupted
from modelzoo.manifest import Blob, File

__all__ = ["Fetch", "PartialFile"]

READ_BYTES = 4 * 1024 * 1024


class PartialFile:
    """What is there of `file`, and the place to put the rest. Safe for several threads.

    Bytes are taken in whole blobs and only with the right digest, so what an earlier, dead writer left counts as far
    as its blobs are whole.
    """

    def __init__(self, file: File, descriptor: int) -> None:
        self.file = file
        self._descriptor = descriptor
        self._present: set[int] = set()
        if os.fstat(descriptor).st_size:
            self._present = {offset for offset, blob in file.placed_blobs() if self._holds(offset, blob)}

    def missing(self) -> list[tuple[int, Blob]]:
        """The blobs still to come, each with its offset in the file."""
        return [(offset, blob) for offset, blob in self.file.placed_blobs() if offset not in self._present]

    def put(self, offset: int, blob: Blob, data: bytes | memoryview) -> None:
        """Write a blob at its offset; DataLoss BLOB_CORRUPT, and nothing written, if `data` is not that blob."""
        if len(data) != blob.size or blake3(data).hexdigest() != blob.digest:
            raise DataLoss("BLOB_CORRUPT", f"Blob {blob.digest} of {self.file.path!a} arrived damaged: fetch it again.")
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written
        self._present.add(offset - blob.size)

    def is_right(self) -> bool:
        """Whether the whole has the file's SHA-256; Interrupted if blobs are missing."""
        if missing := self.missing():
            raise Interrupted(
                "STREAM_INTERRUPTED",
                f"{self.file.path!a} is not complete: {len(missing)} blobs did not come. Fetch it again.",
            )
        return sha256_of(self._descriptor) == self.file.sha256

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


Fetch = Callable[[PartialFile], None]
"""Puts every missing blob into the partial file, or raises; what was put stays for the next attempt."""


def sha256_of(descriptor: int, on_bytes: Callable[[int], None] | None = None) -> str:
    """The SHA-256 of an open file's bytes, in lower-case hexadecimal digits; `on_bytes` hears of every piece read."""
    hasher, offset = hashlib.sha256(), 0
    while piece := os.pread(descriptor, READ_BYTES, offset):
        hasher.update(piece)
        offset += len(piece)
        if on_bytes:
            on_bytes(len(piece))
    return hasher.hexdigest()
