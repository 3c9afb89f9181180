"""Who stops in the middle of a stream is given up, so that the memory it holds serves others."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelzoo.errors import DeadlineExceeded
from modelzoo.manifest import Blob
from support.artifact_server import digest_of, file_of
from support.faulty_blobs import FaultyBlobs
from zoo_artifact.download import Downloads, Range
from zoo_artifact.index import Index
from zoo_artifact.keys import blob_key
from zoo_artifact.main import VERSIONS
from zoo_artifact.storage import LARGE_AT_ONCE, LARGE_BYTES, Storage
from zoo_artifact.upload import BlobStart, Part, UploadHeader, Uploads
from zoo_store.migration import migrate
from zoo_store.sql import open_database


async def stalled() -> AsyncIterator[Part]:
    yield UploadHeader("team")
    yield BlobStart(digest_of(b"1234"), 4)
    yield b"12"
    await asyncio.Event().wait()


async def test_a_sender_that_stops_inside_a_blob_is_given_up(store: FaultyBlobs, tmp_path: Path) -> None:
    async with open_database(f"sqlite:///{tmp_path}/artifact.db") as database:
        await migrate(database, VERSIONS)
        uploads = Uploads(Storage(store), Index(database), stall_s=0.05)
        with pytest.raises(DeadlineExceeded):
            await anext(uploads.write(stalled()))


async def test_a_reader_that_takes_nothing_is_given_up_and_frees_its_memory(store: FaultyBlobs) -> None:
    storage = Storage(store)
    await storage.put_blob(Blob(digest_of(b"1234"), 4), b"1234")
    file = file_of("a", b"1234")

    async def no_damage(digest: str) -> None:
        raise AssertionError(digest)

    downloads = Downloads(storage, no_damage, stall_s=0.05)

    async def read_and_stop() -> None:
        async for _ in downloads.read(file, Range.of(file, 0, None)):
            await asyncio.Event().wait()

    stopped = await asyncio.gather(*(read_and_stop() for _ in range(30)), return_exceptions=True)
    assert {type(error) for error in stopped} == {asyncio.CancelledError}


async def test_f18_blobs_that_the_store_is_stuck_over_keep_no_others_out(store: FaultyBlobs) -> None:
    storage, stuck, other = Storage(store, patience_s=0.05), bytes(LARGE_BYTES), b"x" * LARGE_BYTES
    for data in (stuck, other):
        await storage.put_blob(Blob(digest_of(data), len(data)), data)

    async def hang(operation: str, key: str) -> None:
        if key == blob_key(digest_of(stuck)):
            await asyncio.Event().wait()

    store.before = hang
    waiting = [asyncio.create_task(storage.get_blob(Blob(digest_of(stuck), len(stuck)))) for _ in range(LARGE_AT_ONCE)]
    assert await asyncio.wait_for(storage.get_blob(Blob(digest_of(other), len(other))), 30) == other
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
