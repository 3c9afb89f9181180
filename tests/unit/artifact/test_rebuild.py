"""The index from the bucket alone: reads at once, pins from their holders, and no sweep before."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from modelzoo.errors import Aborted, FailedPrecondition, NotFound
from support.artifact_server import ArtifactServer, artifact_server, digest_of, manifest_of, refusal
from support.upkeep import AgedBlobs, age, checked, kinds, rebuilt, swept
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import upkeep_service_pb2 as upkeep_pb
from zoo.artifact.v1 import upkeep_service_pb2_grpc as upkeep_rpc
from zoo_artifact.keys import blob_key, manifest_key
from zoo_artifact.main import VERSIONS
from zoo_server.principal import Principal, Role
from zoo_store.migration import migrate, migrate_back
from zoo_store.sql import open_database

FILES = {"a": b"one", "b": b"two"}
OTHERS = {"a": b"one", "c": b"three"}
CATALOG = "service:catalog"


@asynccontextmanager
async def reborn(aged: AgedBlobs, folder: Path) -> AsyncIterator[ArtifactServer]:
    """The service beside a bucket with two manifests, its database empty."""
    async with artifact_server(aged, folder) as server:
        await server.caller().push(FILES)
        await server.caller().push(OTHERS)
    for file in folder.glob("artifact.db*"):
        file.unlink()
    async with artifact_server(aged, folder) as server:
        assert await server.upkeep.prepare()
        yield server


async def test_an_empty_index_beside_a_full_bucket_is_rebuilt_and_equal(tmp_path: Path) -> None:
    async with reborn(AgedBlobs(), tmp_path) as server:
        await rebuilt(server.upkeep)
        assert await kinds(server.upkeep) == []
        team = server.caller()
        for files in (FILES, OTHERS):
            assert {path: await team.read(manifest_of(files).digest(), path) for path in files} == files
        assert await team.find_missing([digest_of(data) for data in (b"one", b"two", b"three")]) == []
        assert not await server.upkeep.prepare()


async def test_a_new_service_beside_an_empty_bucket_rebuilds_nothing(tmp_path: Path) -> None:
    async with artifact_server(AgedBlobs(), tmp_path) as server:
        assert not await server.upkeep.prepare()
        assert (await server.upkeep.sweeping()).reason == ""


async def test_readers_and_holders_need_not_wait_for_the_rebuild(tmp_path: Path) -> None:
    async with reborn(AgedBlobs(), tmp_path) as server:
        team, digest = server.caller(), manifest_of(FILES).digest()
        await team.pin(pb.PinRequest(namespace="team", manifest_digest=digest, holder="h"))
        assert await team.read(digest, "b") == b"two"
        assert await refusal(team.get("f" * 64)) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")
        await rebuilt(server.upkeep)
        assert await kinds(server.upkeep) == []


async def test_nothing_is_swept_until_every_holder_has_confirmed_its_pins(tmp_path: Path) -> None:
    async with reborn(AgedBlobs(), tmp_path) as server:
        old = (await server.upkeep.sweeping()).index_id
        await rebuilt(server.upkeep)
        await age(server.database)
        with pytest.raises(FailedPrecondition, match=CATALOG):
            await swept(server.upkeep)
        catalog = server.caller({"*": Role.PUBLISHER}, CATALOG)
        kept = manifest_of(FILES).digest()
        await catalog.pin(pb.PinRequest(namespace="team", manifest_digest=kept, holder="catalog:team/m"))
        await server.upkeep.state.confirm(CATALOG, old)
        assert (await swept(server.upkeep)).counts.deleted_manifests == 1
        assert await catalog.read(kept, "a") == b"one"


async def test_pins_of_an_index_that_is_gone_cannot_be_confirmed(tmp_path: Path) -> None:
    async with reborn(AgedBlobs(), tmp_path) as server:
        await rebuilt(server.upkeep)
        before = (await server.upkeep.sweeping()).index_id
        await rebuilt(server.upkeep)
        with pytest.raises(Aborted) as caught:
            await server.upkeep.state.confirm(CATALOG, before)
        assert caught.value.reason == "INDEX_CHANGED"
        assert (await server.upkeep.sweeping()).awaited == (CATALOG,)


async def test_who_confirms_early_is_not_enough_while_the_rebuild_goes_on(tmp_path: Path) -> None:
    async with reborn(AgedBlobs(), tmp_path) as server:
        sweeping = await server.upkeep.state.confirm(CATALOG, (await server.upkeep.sweeping()).index_id)
        assert sweeping.reason == "the index is being rebuilt"
        await rebuilt(server.upkeep)
        assert (await server.upkeep.sweeping()).reason == ""


async def test_what_the_bucket_lost_is_damaged_and_the_rest_is_there(tmp_path: Path) -> None:
    aged = AgedBlobs()
    async with reborn(aged, tmp_path) as server:
        await aged.delete(blob_key(digest_of(b"two")))
        await aged.put(manifest_key(manifest_of(OTHERS).digest()), b"damaged")
        await rebuilt(server.upkeep)
        team = server.caller()
        assert await team.read(manifest_of(FILES).digest(), "a") == b"one"
        outcome = await checked(server.upkeep)
        assert outcome.kinds == ["BLOB_LACKING", "OBJECT_UNKNOWN", "OBJECT_UNKNOWN"]
        await team.push(FILES)
        await team.push(OTHERS)
        assert await kinds(server.upkeep) == []


async def test_by_grpc_a_holder_confirms_for_itself_and_an_admin_for_others(tmp_path: Path) -> None:
    async with reborn(AgedBlobs(), tmp_path) as server:
        await rebuilt(server.upkeep)
        request = upkeep_pb.ConfirmPinsRequest(index_id=(await server.upkeep.sweeping()).index_id, holder=CATALOG)
        publisher, admin = (
            (("zoo-principal", server.signer.sign(Principal("user:x", {"*": role}))),)
            for role in (Role.PUBLISHER, Role.ADMIN)
        )
        stub = upkeep_rpc.UpkeepServiceStub(server.channel)
        with pytest.raises(Exception, match="admin"):
            await stub.ConfirmPins(request, metadata=publisher)
        assert (await stub.ConfirmPins(request, metadata=admin)).sweeping.reason == ""


async def test_the_migration_keeps_pins_reads_references_from_the_bucket_and_goes_back(tmp_path: Path) -> None:
    aged, kept = AgedBlobs(), tmp_path / "kept"
    kept.mkdir()
    async with artifact_server(aged, tmp_path) as server:
        digest = await server.caller().push(FILES)
    shutil.copy(tmp_path / "artifact.db", kept)
    async with open_database(f"sqlite:///{kept}/artifact.db") as database:
        await migrate_back(database, VERSIONS, "0001")
        async with database.read() as connection:
            tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
            assert "manifest_blobs" not in tables
            assert len((await connection.execute(text("SELECT * FROM pins"))).all()) == 1
        await migrate(database, VERSIONS)
    async with artifact_server(aged, kept) as server:
        assert await server.upkeep.prepare()
        assert (await server.upkeep.sweeping()).reason == "the index is being rebuilt"
        await rebuilt(server.upkeep)
        assert (await server.upkeep.sweeping()).reason == ""
        assert await kinds(server.upkeep) == []
        assert (await swept(server.upkeep)).counts.hidden_manifests == 0
        assert await server.caller().read(digest, "a") == b"one"


async def test_outside_of_a_rebuild_a_mark_in_the_bucket_makes_nothing_visible(tmp_path: Path) -> None:
    aged = AgedBlobs()
    async with reborn(aged, tmp_path) as server:
        await rebuilt(server.upkeep)
        await aged.put("namespaces/elsewhere/" + manifest_of(FILES).digest(), b"")
        with pytest.raises(NotFound):
            await server.caller({"elsewhere": Role.VIEWER}).get(manifest_of(FILES).digest(), "elsewhere")
