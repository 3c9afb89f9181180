"""The cut `tensor/1`: where a file is divided into blobs, so that changing one tensor changes few of them.

- Of a safetensors file (its path ends in `.safetensors`, in any case), the header, its length field included, is cut by
  itself.
- A tensor of 1 MiB or more is cut by itself.
- Neighbouring smaller tensors form runs: each is added to the run before it unless that would exceed 32 MiB.
- Any other file is one piece.

Every piece is divided every 32 MiB from its start; the rest is its last blob. So every byte lies in exactly one blob,
and bytes at the same places of equal files always make the same blobs, whoever cuts them.

The rule is part of the identity of everything stored. A change to it is a new cut with a new name.
"""

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from modelzoo.errors import InvalidArgument
from modelzoo.manifest import BLOB_BYTES_MAX, Blob, File
from modelzoo.safetensors_header import Header, read_header

__all__ = ["Segment", "cut_bytes", "cut_file", "cut_safetensors", "scan_file"]

TENSOR_BYTES_MIN = 1024 * 1024
SAFETENSORS_SUFFIX = ".safetensors"
READ_BYTES = 4 * 1024 * 1024
READS_AHEAD = 4  # so many reads may wait for SHA-256, the slower of the two hashes


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes `offset` to `offset + length` of a file: one blob."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


def cut_bytes(size: int) -> Iterator[Segment]:
    """The segments of a file that is not safetensors."""
    return _divide(0, size)


def cut_safetensors(header: Header) -> Iterator[Segment]:
    """The segments of the safetensors file that this header describes."""
    yield from _divide(0, header.size)
    run = Segment(header.size, 0)
    for tensor in header.tensors:
        size = tensor.size_bytes
        if size < TENSOR_BYTES_MIN and run.length + size <= BLOB_BYTES_MAX:
            run = Segment(run.offset, run.length + size)
            continue
        if run.length:
            yield run
        begin = header.size + tensor.begin
        if size < TENSOR_BYTES_MIN:
            run = Segment(begin, size)
        else:
            yield from _divide(begin, size)
            run = Segment(begin + size, 0)
    if run.length:
        yield run


def cut_file(path: str, file: BinaryIO, size: int) -> Iterator[Segment]:
    """The segments of an open file that the manifest will call `path`.

    A file named `*.safetensors` that is not a valid one raises SAFETENSORS_INVALID: it would fail wherever it is used.
    """
    if not path.lower().endswith(SAFETENSORS_SUFFIX):
        return cut_bytes(size)
    try:
        return cut_safetensors(read_header(file, size))
    except InvalidArgument as error:
        raise InvalidArgument(error.reason, f"{path!a}: {error.message}", metadata={"path": path}) from error


def scan_file(source: Path, path: str, progress: Callable[[int], None] | None = None) -> File:
    """The manifest's entry, named `path`, of the local file `source`, which is read once in bounded memory.

    `progress` is called with every number of bytes done. Raises LOCAL_PATH_INVALID where `source` cannot be read, is no
    regular file, or changes meanwhile; SAFETENSORS_INVALID as `cut_file` does.
    """
    try:
        with _open_regular(source) as file:
            before = os.fstat(file.fileno())
            segments = list(cut_file(path, file, before.st_size))
            file.seek(0)
            with ThreadPoolExecutor(1) if before.st_size > READ_BYTES else nullcontext() as executor:
                hashes = _Hashes(file, executor, progress)
                blobs = tuple(Blob(hashes.of_next(segment.length), segment.length) for segment in segments)
                sha256 = hashes.of_all()
            after = os.fstat(file.fileno())
    except OSError as error:
        raise _unreadable(source, error.strerror or str(error)) from error
    except EOFError as error:
        raise _unreadable(source, "it became shorter while it was read") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _unreadable(source, "it changed while it was read; try again when nothing writes to it")
    return File(path, before.st_size, sha256, blobs)


class _Hashes:
    """Both hashes from one pass over a file: BLAKE3 here, SHA-256 on the executor's only thread where there is one."""

    def __init__(
        self, file: BufferedReader, executor: ThreadPoolExecutor | None, progress: Callable[[int], None] | None
    ) -> None:
        self._file = file
        self._executor = executor
        self._progress = progress
        self._sha256 = hashlib.sha256()
        self._free = deque(memoryview(bytearray(READ_BYTES)) for _ in range(READS_AHEAD if executor else 1))
        self._busy: deque[tuple[Future[None], memoryview]] = deque()

    def of_next(self, length: int) -> str:
        """The BLAKE3 of the next `length` bytes; EOFError if there are fewer."""
        hasher = blake3()
        while length:
            buffer = self._buffer()
            piece = buffer[: min(length, READ_BYTES)]
            if self._file.readinto(piece) != len(piece):
                raise EOFError
            if self._executor is None:
                self._sha256.update(piece)
                self._free.append(buffer)
            else:
                self._busy.append((self._executor.submit(self._sha256.update, piece), buffer))
            hasher.update(piece)
            length -= len(piece)
            if self._progress:
                self._progress(len(piece))
        return hasher.hexdigest()

    def of_all(self) -> str:
        """The SHA-256 of everything so far."""
        while self._busy:
            self._busy.popleft()[0].result()
        return self._sha256.hexdigest()

    def _buffer(self) -> memoryview:
        if not self._free:
            done, buffer = self._busy.popleft()
            done.result()
            self._free.append(buffer)
        return self._free.popleft()


def _open_regular(source: Path) -> BufferedReader:
    # Non-blocking: opening a FIFO would wait for a writer.
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is not a regular file")
    return os.fdopen(descriptor, "rb")


def _unreadable(source: Path, why: str) -> InvalidArgument:
    return InvalidArgument("LOCAL_PATH_INVALID", f"{str(source)!a} cannot be read: {why}.")


def _divide(offset: int, length: int) -> Iterator[Segment]:
    for start in range(offset, offset + length, BLOB_BYTES_MAX):
        yield Segment(start, min(BLOB_BYTES_MAX, offset + length - start))
