"""What follows the writers of a coming file: its SHA-256, in order."""

import hashlib
import os
import threading
from collections.abc import Collection
from types import TracebackType
from typing import Self

from modelzoo.manifest import File

__all__ = ["Follower"]

READ_BYTES = 4 * 1024 * 1024
# A smaller file is hashed at the end, which takes less than a thread does.
FOLLOWED_BYTES_MIN = 8 * 1024 * 1024


class Follower:
    """A context whose thread reads behind the writers. `came` tells of each blob.

    After the block, `sha256` is the file's, if every blob came.
    """

    def __init__(self, descriptor: int, file: File, present: Collection[int]) -> None:
        self._descriptor = descriptor
        self._file = file
        self._changed = threading.Condition()
        self._present = set(present)
        self._stopped = False
        self._sha256 = hashlib.sha256()
        self._hashed_bytes = 0
        is_worth_it = file.size >= FOLLOWED_BYTES_MIN
        self._thread = threading.Thread(target=self._hash, name="zoo-follow", daemon=True) if is_worth_it else None

    def __enter__(self) -> Self:
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()

    def came(self, offset: int) -> None:
        with self._changed:
            self._present.add(offset)
            self._changed.notify_all()

    def sha256(self) -> str:
        """In lower-case hexadecimal digits; what the thread has not read yet is read now."""
        self._read_to(self._file.size)
        return self._sha256.hexdigest()

    def _hash(self) -> None:
        for offset, blob in self._file.placed_blobs():
            with self._changed:
                self._changed.wait_for(lambda offset=offset: offset in self._present or self._stopped)
                if self._stopped and offset not in self._present:
                    return
            self._read_to(offset + blob.size)

    def _read_to(self, end: int) -> None:
        while self._hashed_bytes < end:
            piece = os.pread(self._descriptor, min(READ_BYTES, end - self._hashed_bytes), self._hashed_bytes)
            if not piece:  # cut short behind our back: the digest will not be right
                return
            self._sha256.update(piece)
            self._hashed_bytes += len(piece)
