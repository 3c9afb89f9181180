"""Bytes that are read in ranges, as Python's file objects are: for parsers that read and seek."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["RangedFile"]


class RangedFile(io.RawIOBase):
    """A file of `size` bytes.

    `read(at, length)` gives some of the `length` bytes from `at` on, at least one. It is never asked for what lies
    beyond the end; what it raises is raised.
    """

    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._read = read
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(f"there is nothing at {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        length = min(len(view), self._size - self._at)
        if length <= 0:
            return 0
        data = self._read(self._at, length)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
