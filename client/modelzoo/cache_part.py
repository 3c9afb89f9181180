"""A file of the cache that is still coming in, blob by blob."""

import hashlib
import os
import threading
from collections.abc import Callable

from blake3 import blake3

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
        self._sha256 = hashlib.sha256()
        self._hashed_bytes = 0
        self._hashing = threading.Lock()
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
        if self._hashing.acquire(blocking=False):
            try:
                self._hash_on()
            finally:
                self._hashing.release()

    def is_right(self) -> bool:
        """Whether the whole has the file's SHA-256; Interrupted if blobs are missing."""
        if missing := self.missing():
            raise Interrupted(
                "STREAM_INTERRUPTED",
                f"{self.file.path!a} is not complete: {len(missing)} blobs did not come. Fetch it again.",
            )
        with self._hashing:
            self._hash_on()
        return self._sha256.hexdigest() == self.file.sha256

    def _hash_on(self) -> None:
        """Take what is there without a gap into the SHA-256, so that little is left when the last blob comes."""
        for offset, blob in self.file.placed_blobs():
            if offset < self._hashed_bytes:
                continue
            if offset not in self._present:
                return
            while self._hashed_bytes < offset + blob.size:
                length = min(READ_BYTES, offset + blob.size - self._hashed_bytes)
                piece = os.pread(self._descriptor, length, self._hashed_bytes)
                if not piece:
                    return
                self._sha256.update(piece)
                self._hashed_bytes += len(piece)

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
