"""The artifact service with its index in PostgreSQL: the statements of every method, once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.artifact_server import ArtifactServer, artifact_server, digest_of, refusal
from support.faulty_blobs import FaultyBlobs
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_server.principal import Role

FILES = {"config.json": b"{}", "weights.bin": b"\x01" * 100}


@pytest.fixture
async def replicas(
    store: FaultyBlobs, tmp_path: Path, postgresql_url: str
) -> AsyncIterator[tuple[ArtifactServer, ArtifactServer]]:
    async with (
        artifact_server(store, tmp_path, postgresql_url) as first,
        artifact_server(store, tmp_path, postgresql_url) as second,
    ):
        yield first, second


async def test_what_one_replica_takes_the_other_gives(replicas: tuple[ArtifactServer, ArtifactServer]) -> None:
    team, other = (replica.caller() for replica in replicas)
    digest = await team.push(FILES)
    assert {path: await other.read(digest, path) for path in FILES} == FILES
    assert await other.find_missing([digest_of(data) for data in FILES.values()]) == []
    stranger = replicas[1].caller({"else": Role.PUBLISHER})
    assert (await refusal(stranger.get(digest, "else")))[0] == "NOT_FOUND"
    await other.pin(pb.PinRequest(namespace="team", manifest_digest=digest, holder="h"))
    await team.unpin(digest, "h")


async def test_the_same_files_pushed_through_both_at_once_are_one_manifest(
    replicas: tuple[ArtifactServer, ArtifactServer],
) -> None:
    pushing = [replica.caller().push(FILES) for _ in range(4) for replica in replicas]
    (digest,) = set(await asyncio.gather(*pushing))
    assert await replicas[1].caller().read(digest, "weights.bin") == FILES["weights.bin"]


async def test_a_list_longer_than_a_statement_takes_is_looked_up(
    replicas: tuple[ArtifactServer, ArtifactServer],
) -> None:
    unknown = [digest_of(str(number).encode()) for number in range(2500)]
    assert await replicas[0].caller().find_missing(unknown) == unknown
