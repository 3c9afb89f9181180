"""Safetensors headers kept in the node cache's folder, so that looking at a version's tensors again asks for no bytes.

    headers/<digest of the header's first blob>     the header's blobs, one behind the other

A header is believed only if its blobs have their digests, each time that it is read.
"""

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from modelzoo.manifest import Blob, File
from modelzoo.safetensors_header import HEADER_BYTES_MAX, LENGTH_BYTES, Header, parse_header

__all__ = ["HeaderCache"]

BUDGET_BYTES = 256 * 1024 * 1024

Read = Callable[[File, int, int], bytes | bytearray]


class HeaderCache:
    """Headers by content; those used longest ago leave when they take more than `budget_bytes`."""

    def __init__(self, root: Path, budget_bytes: int = BUDGET_BYTES) -> None:
        self._folder = root / "headers"
        self._budget_bytes = budget_bytes

    def header(self, file: File, read: Read) -> Header:
        """The header of a safetensors file, by `read` (file, offset, length) where it is not here.

        Raises SAFETENSORS_INVALID and what `read` raises.
        """
        if not file.blobs:
            return parse_header(b"", 0)
        data = self._kept(file)
        if data is None:
            data = _read(file, read)
            self._keep(file.blobs[0].digest, data)
        return parse_header(bytes(data), file.size)

    def _kept(self, file: File) -> bytes | None:
        path = self._folder / file.blobs[0].digest
        with suppress(OSError):
            data = path.read_bytes()
            at = 0
            for blob in _blobs(file, len(data)):
                if blake3(data[at : at + blob.size]).hexdigest() != blob.digest:
                    return None
                at += blob.size
            if at == len(data):
                os.utime(path)
                return data
        return None

    def _keep(self, name: str, data: bytes | bytearray) -> None:
        # A cache that cannot be written only means that the header is asked for again.
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = self._folder / f".{uuid.uuid4().hex}"
            fresh.write_bytes(data)
            fresh.replace(self._folder / name)
            self._shrink()

    def _shrink(self) -> None:
        kept = [(entry.stat(), Path(entry.path)) for entry in os.scandir(self._folder)]
        used_bytes = sum(status.st_size for status, _ in kept)
        for status, path in sorted(kept, key=lambda each: each[0].st_mtime_ns):
            if used_bytes <= self._budget_bytes:
                return
            path.unlink(missing_ok=True)
            used_bytes -= status.st_size


def _read(file: File, read: Read) -> bytearray:
    """The blobs that hold the header: the first, nearly always, as the cut cuts the header by itself."""
    data = bytearray(read(file, 0, file.blobs[0].size))
    length = min(LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little"), HEADER_BYTES_MAX + LENGTH_BYTES)
    for blob in file.blobs[1:]:
        if len(data) >= min(length, file.size):
            break
        data += read(file, len(data), blob.size)
    return data


def _blobs(file: File, size: int) -> list[Blob]:
    """The file's first blobs, up to `size` bytes."""
    found: list[Blob] = []
    for offset, blob in file.placed_blobs():
        if offset >= size:
            break
        found.append(blob)
    return found
