"""Wherever a restore dies, sweeping is off from its first row on, and the same restore once more ends as if it had not.

Into nothing, and, for its transactions, over a zoo that is there. It runs once to count its calls of drivers; then it
dies before each of them that writes, or loses only its reply. (Dead before one that reads is dead after the write
before it, and dead after a write is dead before the next.)
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from modelzoo.errors import ZooError
from support.artifact_server import digest_of, manifest_of
from support.backups import backed_up, opened_targets, quiet
from support.crashes import Crash, Crashes, CrashingBlobs, CrashingDatabase, Phase
from zoo_artifact.artifacts import Artifacts, ManifestName
from zoo_artifact.index import Index, Pin
from zoo_artifact.storage import Storage
from zoo_artifact.upkeep import Upkeep
from zoo_artifact.upkeep_state import UpkeepState
from zoo_artifact.upload import BlobStart, Part, UploadHeader
from zoo_backup.folder import Folder
from zoo_backup.listing import Listing
from zoo_backup.restore import Restored, Target, restore_backup
from zoo_backup.source import ARTIFACT, CATALOG, SOURCES
from zoo_catalog.schema import namespaces
from zoo_server.principal import Principal, Role
from zoo_store.blobs_memory import MemoryBlobStore
from zoo_store.migration import migrate
from zoo_store.rows import export_rows
from zoo_store.sql import now

FILES = {"a": b"one", "b": b"two"}
ANN = Principal("user:ann", {"*": Role.ADMIN})
WRITES = ("write", "put ", "delete ")
# Each restore migrates real tables, which takes a third of a second: where two deaths leave the same, one will do.
PLACES: dict[str, tuple[tuple[str, ...], Phase]] = {"nothing": (WRITES, "before"), "a zoo": (("write schema",), "lost")}


async def _parts() -> AsyncIterator[Part]:
    yield UploadHeader("team")
    for data in FILES.values():
        yield BlobStart(digest_of(data), len(data))
        yield data


async def prepare(zoo: Path) -> MemoryBlobStore:
    """A zoo with a pinned manifest and a namespace."""
    store = MemoryBlobStore()
    async with opened_targets(zoo) as (training, catalog, artifact):
        for target in (training, catalog, artifact):
            await migrate(target.database, target.source.versions)
        storage = Storage(store)
        adoption = Upkeep(store, storage, artifact.database).adoption
        artifacts = Artifacts(storage, Index(artifact.database), adoption)
        async for _ in artifacts.write_blobs(_parts()):
            pass
        await artifacts.put_manifest("team", manifest_of(FILES).to_bytes(), [], ANN)
        name = ManifestName("team", manifest_of(FILES).digest())
        await artifacts.pin(name, Pin("service:catalog", "catalog:m", None))
        async with catalog.database.write() as connection:
            row = {"key": "team", "name": "Team", "description": "", "create_time": now(), "policy": {}}
            await connection.execute(insert(namespaces).values(row))
    return store


async def restore(folder: Path, targets: list[Target], store: MemoryBlobStore, crashes: Crashes) -> Restored:
    crashing = [Target(target.source, CrashingDatabase(target.database, crashes)) for target in targets]
    force = [source.name for source in SOURCES]
    return await restore_backup(Folder(folder), crashing, CrashingBlobs(store, crashes), quiet, force=force)


@pytest.mark.parametrize("over", ["nothing", "a zoo"])
async def test_wherever_a_restore_dies_the_next_one_ends_it(over: str, tmp_path: Path) -> None:
    store = await prepare(tmp_path / "zoo")
    await backed_up(tmp_path / "zoo", store, tmp_path / "backup")
    if over == "a zoo":
        shutil.copytree(tmp_path / "zoo", tmp_path / "begin")
    else:
        (tmp_path / "begin").mkdir()
    whole = Crashes()
    begin = store if over == "a zoo" else MemoryBlobStore()
    await run(tmp_path, whole, begin)
    assert len(whole.calls) > 25
    places, phase = PLACES[over]
    # Before its first note in the bucket a restore only counts rows: the last of those calls stands for all.
    counted = next(at for at, call in enumerate(whole.calls, 1) if call.startswith("get "))
    for at, call in enumerate(whole.calls, 1):
        if call.startswith(places) and at >= counted - 1:
            await run(tmp_path, Crashes(at, phase), begin)


async def run(folder: Path, crashes: Crashes, begin: MemoryBlobStore) -> None:
    """Asserts what must hold after the crash, and after the next restore."""
    store, zoo = MemoryBlobStore(), folder / "mine"
    store._entries = dict(begin._entries)
    shutil.rmtree(zoo, ignore_errors=True)
    shutil.copytree(folder / "begin", zoo)
    async with opened_targets(zoo) as targets:
        with suppress(Crash, ZooError):
            await restore(folder / "backup", targets, store, crashes)
        await sweeping_is_off(targets, crashes)
        assert (await restore(folder / "backup", targets, store, Crashes())).findings == ()
        await is_the_backup(targets, store, folder)


async def sweeping_is_off(targets: list[Target], crashes: Crashes) -> None:
    """From the first transaction of the restore on, which is the index's; those before it count rows."""
    index = next(target.database for target in targets if target.source is ARTIFACT)
    if crashes.calls[:-1].count("write schema") > len(SOURCES):
        reason = (await UpkeepState(index, timedelta(days=1), ("service:catalog",)).get()).reason
        assert reason


async def is_the_backup(targets: list[Target], store: MemoryBlobStore, folder: Path) -> None:
    backup = Folder(folder / "backup")
    record = backup.record()
    listing = Listing.from_lines(backup.lines(record.objects.file))
    for key in (*listing.content, *listing.small):
        assert await store.get(key) == (listing.small[key] if key in listing.small else backup.read(key))
    catalog = next(target.database for target in targets if target.source is CATALOG)
    async with catalog.read() as connection:
        rows = [line async for line in export_rows(connection)]
    assert rows == list(backup.lines(next(rows.file for rows in record.rows if rows.service == "catalog")))
