"""Wherever the artifact service dies in a push, nothing half-done is visible, and doing it again succeeds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from modelzoo.errors import NotFound, Unavailable
from modelzoo.manifest import Manifest
from support.artifact_server import digest_of, file_of, safetensors
from support.crashes import Crash, Crashes, CrashingBlobs, CrashingDatabase, Phase
from support.tables import open_migrated
from zoo_artifact.artifacts import Artifacts, ManifestName
from zoo_artifact.index import Index
from zoo_artifact.main import VERSIONS
from zoo_artifact.schema import STORED, blobs, manifests
from zoo_artifact.storage import Storage
from zoo_artifact.upload import BlobStart, Part, UploadHeader
from zoo_server.principal import Principal, Role
from zoo_store.blobs_memory import MemoryBlobStore
from zoo_store.sql import Database

HEAD, DATA = safetensors({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, b"\x01\x02\x03\x04")
CONFIG = b'{"model_type": "none"}'
PARTS = [HEAD, DATA, CONFIG]
MANIFEST = Manifest.of("transformers", [file_of("model.safetensors", HEAD, DATA), file_of("config.json", CONFIG)])
NAME = ManifestName("team", MANIFEST.digest())
# More than one push calls drivers; `test_the_sweep_covers_every_call` holds it to that.
CALLS_MOST = 24
ANN = Principal("user:ann", {"team": Role.PUBLISHER})


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Database]:
    async with open_migrated(f"sqlite:///{folder}/artifact.db", VERSIONS) as database:
        yield database


def service(store: MemoryBlobStore, database: Database, crashes: Crashes) -> Artifacts:
    return Artifacts(Storage(CrashingBlobs(store, crashes)), Index(CrashingDatabase(database, crashes)))


async def parts() -> AsyncIterator[Part]:
    yield UploadHeader("team")
    for data in PARTS:
        yield BlobStart(digest_of(data), len(data))
        yield data


async def push(artifacts: Artifacts, acknowledged: list[str]) -> None:
    async for digest in artifacts.write_blobs(parts()):
        acknowledged.append(digest)
    await artifacts.put_manifest("team", MANIFEST.to_bytes(), [], ANN)


async def read(artifacts: Artifacts, path: str) -> bytes:
    return b"".join([chunk async for chunk in await artifacts.open_file(NAME, path, 0, None, ANN)])


async def check(database: Database, store: MemoryBlobStore, acknowledged: list[str]) -> bool:
    """What must hold whenever the service is opened again; whether the manifest is visible."""
    artifacts = service(store, database, Crashes())
    assert not set(await artifacts.find_missing("team", [digest_of(data) for data in PARTS], [], ANN)) & set(
        acknowledged
    )
    async with database.read() as connection:
        counts = {row.digest: row.reference_count for row in await connection.execute(select(blobs))}
        known = len((await connection.execute(select(manifests).where(manifests.c.state == STORED))).all())
        stored = (await connection.scalars(select(blobs.c.digest).where(blobs.c.state == STORED))).all()
    assert all([await store.size(f"blobs/{digest[:2]}/{digest}") for digest in stored])
    assert set(counts.values()) <= {known, 0}
    with suppress(NotFound):
        assert await artifacts.get_manifest(NAME, ANN) == MANIFEST.to_bytes()
        assert await read(artifacts, "model.safetensors") == HEAD + DATA
        assert await read(artifacts, "config.json") == CONFIG
        return True
    assert known == 0
    return False


async def test_the_sweep_covers_every_call(tmp_path: Path) -> None:
    crashes = Crashes()
    async with opened(tmp_path) as database:
        await push(service(MemoryBlobStore(), database, crashes), [])
    assert 10 < len(crashes.calls) <= CALLS_MOST


@pytest.mark.parametrize("phase", ["before", "after", "lost"])
@pytest.mark.parametrize("at", range(1, CALLS_MOST + 1))
async def test_a_push_that_dies_anywhere_leaves_nothing_half_done(tmp_path: Path, at: int, phase: Phase) -> None:
    store, acknowledged, crashes = MemoryBlobStore(), list[str](), Crashes(at, phase)
    async with opened(tmp_path) as database:
        with suppress(Crash, Unavailable):
            await push(service(store, database, crashes), acknowledged)
    async with opened(tmp_path) as database:
        visible = await check(database, store, acknowledged)
        assert visible or crashes.dead or phase == "lost"
        await push(service(store, database, Crashes()), [])
        assert await check(database, store, [digest_of(data) for data in PARTS])
