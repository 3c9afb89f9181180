"""A file of the artifact service as Python's file objects are: for parsers that read and seek, in other threads."""

import asyncio
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from zoo_catalog.artifacts import Artifacts

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["StoredName", "open_stored"]

# One call of the artifact service each.
BLOCK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredName:
    """A file of a manifest in a namespace."""

    namespace: str
    manifest_digest: str
    path: str


def open_stored(artifacts: Artifacts, name: StoredName, size: int, loop: asyncio.AbstractEventLoop) -> BinaryIO:
    """The file of `size` bytes, open for reading in any thread but `loop`'s: reads block, and raise what `Artifacts`
    raises."""
    return cast(BinaryIO, io.BufferedReader(_Stored(artifacts, name, size, loop), BLOCK_BYTES))


class _Stored(io.RawIOBase):
    def __init__(self, artifacts: Artifacts, name: StoredName, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self._artifacts = artifacts
        self._name = name
        self._size = size
        self._loop = loop
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(f"there is nothing at {start + offset}")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        name = self._name
        length = max(0, min(len(view), self._size - self._at))
        if length == 0:
            return 0
        reading = self._artifacts.read(name.namespace, name.manifest_digest, name.path, length, self._at)
        data = asyncio.run_coroutine_threadsafe(reading, self._loop).result()
        view[:length] = data
        self._at += length
        return length
