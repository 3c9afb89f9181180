"""A file of the artifact service as Python's file objects are: for parsers that read and seek, in other threads."""

import asyncio
import io
from dataclasses import dataclass
from typing import BinaryIO, cast

from zoo_catalog.artifacts import Artifacts
from zoo_server.ranged_file import RangedFile

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

    def read(at: int, length: int) -> bytes:
        reading = artifacts.read(name.namespace, name.manifest_digest, name.path, length, at)
        return asyncio.run_coroutine_threadsafe(reading, loop).result()

    return cast(BinaryIO, io.BufferedReader(RangedFile(size, read), BLOCK_BYTES))
