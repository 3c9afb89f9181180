"""Wherever the artifact service dies in a sweep or a rebuild: what is held reads back byte for byte, and all else goes.

The state before holds everything that a sweep meets: manifests pinned and not, in one namespace and in two, a blob of
both kinds of them, an upload that was never put, and objects that the index does not know. Each operation runs once to
count its calls of drivers; then it dies before each of them that writes, and after the last, or loses only the reply of
any. (Dead after a write is dead before the next, and dead before one that reads is dead after the write before it.)
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from modelzoo.errors import ZooError
from support.artifact_server import digest_of, manifest_of
from support.crashes import Crash, Crashes, CrashingBlobs, CrashingDatabase
from support.upkeep import AgedBlobs, age, checked, rebuilt, swept
from zoo_artifact.artifacts import Artifacts, ManifestName
from zoo_artifact.index import Index, Pin
from zoo_artifact.keys import Visible, blob_key, manifest_key, mark_key
from zoo_artifact.main import VERSIONS
from zoo_artifact.schema import blobs, metadata, upkeep
from zoo_artifact.storage import Storage
from zoo_artifact.upkeep import Upkeep
from zoo_artifact.upload import BlobStart, Part, UploadHeader
from zoo_server.principal import Principal, Role
from zoo_store.blobs import BlobStore
from zoo_store.migration import migrate
from zoo_store.sql import Database, open_database

HELD = {"a": b"shared", "b": b"held"}
GOING = {"a": b"shared", "c": b"going"}
HALF = {"d": b"half"}
KEPT = {
    *(blob_key(digest_of(data)) for data in (*HELD.values(), *HALF.values())),
    *(manifest_key(manifest_of(files).digest()) for files in (HELD, HALF)),
    mark_key(Visible("team", manifest_of(HELD).digest())),
    mark_key(Visible("team", manifest_of(HALF).digest())),
    "clock/now",
}
ANN = Principal("user:ann", {"*": Role.ADMIN})
CATALOG = "service:catalog"
WRITES = ("write", "put ", "delete ")
Operation = Callable[[Upkeep], Awaitable[object]]


class Service:
    """The artifact service on these drivers."""

    def __init__(self, store: BlobStore, database: Database) -> None:
        storage = Storage(store)
        self.upkeep = Upkeep(store, storage, database)
        self.artifacts = Artifacts(storage, Index(database), self.upkeep.adoption)

    async def push(self, files: dict[str, bytes], *namespaces: str) -> None:
        for namespace in namespaces:
            async for _ in self.artifacts.write_blobs(_parts(namespace, *files.values())):
                pass
            await self.artifacts.put_manifest(namespace, manifest_of(files).to_bytes(), [], ANN)

    async def hold(self, files: dict[str, bytes]) -> None:
        await self.artifacts.pin(ManifestName("team", manifest_of(files).digest()), Pin(CATALOG, "catalog:m", None))


async def _parts(namespace: str, *blobs: bytes) -> AsyncIterator[Part]:
    yield UploadHeader(namespace)
    for data in blobs:
        yield BlobStart(digest_of(data), len(data))
        yield data


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Database]:
    async with open_database(f"sqlite:///{folder}/artifact.db") as database:
        yield database


async def prepare(folder: Path) -> AgedBlobs:
    store = AgedBlobs()
    async with opened(folder) as database:
        await migrate(database, VERSIONS)
        service = Service(store, database)
        await service.push(HELD, "team")
        await service.push(GOING, "team", "other")
        await service.push(HALF, "team", "other")
        for files in (HELD, HALF):
            await service.hold(files)
        async for _ in service.artifacts.write_blobs(_parts("team", b"never put")):
            pass
        await store.put(blob_key(digest_of(b"left")), b"left")
        await store.put(manifest_key("a" * 64), b"{}")
        await age(database, store)
    return store


async def forget(folder: Path) -> None:
    """The index is lost."""
    async with opened(folder) as database, database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            if table is not upkeep:
                await connection.execute(delete(table))


async def after_all(store: AgedBlobs, database: Database) -> None:
    """The next process: what is held is there, and after two more sweeps nothing else is."""
    async with database.write() as connection:
        await connection.execute(update(upkeep).values(lease_expire_time=datetime(1970, 1, 1, tzinfo=UTC)))
    service = Service(store, database)
    rebuilding = await service.upkeep.prepare()
    for files in (HELD, HALF):
        await service.hold(files)
        name = ManifestName("team", manifest_of(files).digest())
        for path, content in files.items():
            assert b"".join([c async for c in await service.artifacts.open_file(name, path, 0, None, ANN)]) == content
    if rebuilding:
        await rebuilt(service.upkeep)
    await service.upkeep.state.confirm(CATALOG, (await service.upkeep.sweeping()).index_id)
    for _ in range(2):
        await age(database, store)
        assert (await swept(service.upkeep)).counts.failed == 0
    assert {info.key async for info in store.list("")} == KEPT
    assert (await checked(service.upkeep)).kinds == []
    async with database.read() as connection:
        assert len((await connection.execute(select(blobs))).all()) == 3


async def sweep(upkeep: Upkeep) -> None:
    await swept(upkeep)


async def rebuild(upkeep: Upkeep) -> None:
    if await upkeep.prepare():
        await rebuilt(upkeep)


@pytest.mark.parametrize("operation", [sweep, rebuild])
async def test_wherever_it_dies_what_is_held_stays_and_all_else_goes(operation: Operation, tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    store = await prepare(tmp_path / "prepared")
    if operation is rebuild:
        await forget(tmp_path / "prepared")
    whole = Crashes()
    await run(operation, whole, store, tmp_path)
    assert len(whole.calls) > 15
    for at, call in enumerate(whole.calls, 1):
        await run(operation, Crashes(at, "lost"), store, tmp_path)
        if call.startswith(WRITES):
            await run(operation, Crashes(at, "before"), store, tmp_path)
    await run(operation, Crashes(len(whole.calls), "after"), store, tmp_path)


async def run(operation: Operation, crashes: Crashes, prepared: AgedBlobs, folder: Path) -> None:
    """Asserts what must hold afterwards."""
    store, mine = prepared.copy(), folder / "mine"
    shutil.rmtree(mine, ignore_errors=True)
    shutil.copytree(folder / "prepared", mine)
    async with opened(mine) as database:
        with suppress(Crash, ZooError):
            await operation(Service(CrashingBlobs(store, crashes), CrashingDatabase(database, crashes)).upkeep)
        await after_all(store, database)
