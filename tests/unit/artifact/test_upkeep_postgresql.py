"""All of upkeep on PostgreSQL, where its statements are others than on SQLite."""

from pathlib import Path

import pytest
from sqlalchemy import update

from modelzoo.errors import Aborted
from support.artifact_server import artifact_server, manifest_of
from support.upkeep import AgedBlobs, age, kinds, rebuilt, swept
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_artifact.main import VERSIONS
from zoo_artifact.schema import blobs
from zoo_artifact.usage import NamespaceUsage
from zoo_store.migration import migrate_back
from zoo_store.sql import open_database

KEPT = {"a": b"shared", "b": b"kept"}
GOING = {"a": b"shared", "c": b"going"}


async def test_what_is_held_stays_all_else_goes_and_the_index_comes_back(postgresql_url: str, tmp_path: Path) -> None:
    aged = AgedBlobs()
    async with artifact_server(aged, tmp_path, postgresql_url) as server:
        team, kept = server.caller(), manifest_of(KEPT).digest()
        await team.push(GOING)
        await team.push(KEPT)
        await team.pin(pb.PinRequest(namespace="team", manifest_digest=kept, holder="h"))
        await aged.put("blobs/aa/" + "a" * 64, b"left")
        await age(server.database, aged)
        told = (await swept(server.upkeep, dry_run=True)).counts
        assert (await swept(server.upkeep)).counts == told
        assert (told.deleted_manifests, told.deleted_blobs, told.deleted_leftovers) == (1, 1, 1)
        assert await server.upkeep.usages.of_namespaces() == [NamespaceUsage("team", 1, 10, 2, 10, 10)]
        async with server.database.write() as connection:
            await connection.execute(update(blobs).values(reference_count=7))
        assert await kinds(server.upkeep, repair=True) == ["REFERENCES_WRONG"] * 2
        assert await kinds(server.upkeep) == []
        async with server.upkeep.state.lease():
            with pytest.raises(Aborted):
                await swept(server.upkeep)
    async with open_database(postgresql_url) as database:
        await migrate_back(database, VERSIONS, "base")
    async with artifact_server(aged, tmp_path, postgresql_url) as server:
        assert await server.upkeep.prepare()
        await rebuilt(server.upkeep)
        assert await server.caller().read(kept, "b") == b"kept"
        assert await kinds(server.upkeep) == []
