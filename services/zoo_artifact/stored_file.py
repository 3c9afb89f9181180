"""A stored file as Python's file objects are: for parsers that read and seek, in threads of their own."""

import asyncio
import bisect
import io
from collections import OrderedDict
from itertools import accumulate

from modelzoo.errors import Unavailable
from modelzoo.manifest import Blob, File
from zoo_artifact.storage import Storage
from zoo_server.ranged_file import RangedFile

__all__ = ["StoredFile"]

# Parsers go back and forth in the first and the last bytes; each page is one request to the object store.
PAGE_BYTES = 64 * 1024
PAGES_KEPT = 16
# A little more than the object store's own limits: for a loop that is gone.
READ_LIMIT_S = 60.0


class StoredFile:
    """A file read from its blobs, not verified; `open` gives a file object each time. `looked_at` gets those it read.

    Its reads block: they are for threads other than the loop's, one at a time. Reading more than `limit_bytes` in all
    raises OSError; what the storage raises is raised.
    """

    def __init__(
        self, file: File, storage: Storage, loop: asyncio.AbstractEventLoop, limit_bytes: int, looked_at: set[Blob]
    ) -> None:
        self.size = file.size
        self._looked_at = looked_at
        self._blobs = file.blobs
        self._storage = storage
        self._loop = loop
        self._left_bytes = limit_bytes
        self._ends = list(accumulate(blob.size for blob in file.blobs))
        self._pages: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def open(self) -> io.BufferedReader:
        return io.BufferedReader(RangedFile(self.size, self._read_some))

    def _read_some(self, at: int, length: int) -> bytes:
        number = bisect.bisect_right(self._ends, at)
        blob = self._blobs[number]
        offset = at - (self._ends[number] - blob.size)
        if length >= PAGE_BYTES:
            return self._get(blob, offset, length)
        begin = offset - offset % PAGE_BYTES
        page = self._pages.get((number, begin))
        if page is None:
            page = self._pages[number, begin] = self._get(blob, begin, PAGE_BYTES)
            if len(self._pages) > PAGES_KEPT:
                self._pages.popitem(last=False)
        return page[offset - begin : offset - begin + length]

    def _get(self, blob: Blob, offset: int, length: int) -> bytes:
        length = min(length, blob.size - offset)
        self._looked_at.add(blob)
        self._left_bytes -= length
        if self._left_bytes < 0:
            raise OSError("this is more than may be read of it")
        reading = asyncio.run_coroutine_threadsafe(self._storage.get_part(blob, offset, length), self._loop)
        try:
            return reading.result(READ_LIMIT_S)
        except TimeoutError as error:
            reading.cancel()
            raise Unavailable("STORAGE_UNAVAILABLE", "the object store does not answer; try again") from error
