"""Quarantine: the bytes go to the namespace's admins alone, whichever way they are asked for."""

import json

import grpc
import pytest
from sqlalchemy import delete

from modelzoo.errors import from_rpc_error
from support.artifact_server import ArtifactServer, Caller, digest_of, manifest_of, refusal
from support.faulty_blobs import FaultyBlobs
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_artifact.keys import Visible
from zoo_artifact.schema import namespace_blobs, namespace_manifests, pins, quarantines
from zoo_server.principal import Role

ONE, TWO = b"one", b"two!"
QUARANTINED = ("FAILED_PRECONDITION", "MANIFEST_QUARANTINED")


@pytest.fixture
def admin(server: ArtifactServer) -> Caller:
    return server.caller({"team": Role.ADMIN}, "user:eve")


def base(digest: str, namespace: str = "team") -> pb.ManifestName:
    return pb.ManifestName(namespace=namespace, manifest_digest=digest)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.PUBLISHER, Role.TRAINER])
async def test_only_admins_read_what_is_quarantined(
    server: ArtifactServer, team: Caller, admin: Caller, role: Role
) -> None:
    digest = await team.push({"a.txt": ONE})
    await admin.quarantine(digest)
    reader = server.caller({"TEAM": role})
    assert await refusal(reader.get(digest)) == QUARANTINED
    assert await refusal(reader.read(digest, "a.txt")) == QUARANTINED
    assert await admin.read(digest, "a.txt") == ONE


async def test_the_workers_own_principal_cannot_read_it(server: ArtifactServer, team: Caller, admin: Caller) -> None:
    digest = await team.push({"a.txt": ONE})
    worker = server.caller({"*": Role.VIEWER}, "service:worker")
    assert await worker.read(digest, "a.txt") == ONE
    await admin.quarantine(digest)
    assert await refusal(worker.get(digest)) == QUARANTINED


async def test_it_cannot_be_had_by_naming_its_blobs(team: Caller, admin: Caller) -> None:
    digest = await team.push({"a.txt": ONE})
    await admin.quarantine(digest)
    assert await team.find_missing([digest_of(ONE)]) == [digest_of(ONE)]
    assert await refusal(team.put(manifest_of({"other.txt": ONE}))) == ("FAILED_PRECONDITION", "BLOBS_MISSING")
    assert await refusal(team.find_missing([digest_of(ONE)], bases=[base(digest)])) == QUARANTINED
    assert await refusal(team.put(manifest_of({"b.txt": ONE}), bases=[base(digest)])) == QUARANTINED


async def test_it_cannot_be_put_again_by_anybody(team: Caller, admin: Caller) -> None:
    digest = await team.push({"a.txt": ONE})
    await admin.quarantine(digest)
    await team.write(ONE)
    assert await refusal(team.put(manifest_of({"a.txt": ONE}))) == QUARANTINED
    assert await refusal(admin.put(manifest_of({"a.txt": ONE}))) == QUARANTINED


async def test_others_that_share_blobs_stay_as_they_are(team: Caller, admin: Caller) -> None:
    bad = await team.push({"a.txt": ONE, "shared.txt": TWO})
    good = await team.push({"shared.txt": TWO})
    await admin.quarantine(bad)
    assert await team.read(good, "shared.txt") == TWO
    assert await team.find_missing([digest_of(TWO)], bases=[base(good)]) == []


async def test_another_namespace_decides_for_itself(server: ArtifactServer, team: Caller, admin: Caller) -> None:
    digest = await team.push({"a.txt": ONE})
    other = server.caller({"other": Role.PUBLISHER})
    await other.push({"a.txt": ONE}, namespace="other")
    await admin.quarantine(digest)
    assert await other.read(digest, "a.txt", namespace="other") == ONE


async def test_a_release_gives_everything_back(team: Caller, admin: Caller) -> None:
    digest = await team.push({"a.txt": ONE})
    await admin.release(digest)
    await admin.quarantine(digest)
    await admin.quarantine(digest, "another reason")
    await admin.release(digest)
    await admin.release(digest)
    assert await team.read(digest, "a.txt") == ONE
    assert await team.find_missing([digest_of(ONE)]) == []


async def test_what_is_not_there_is_not_quarantined(admin: Caller) -> None:
    assert await refusal(admin.quarantine("0" * 64)) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")
    await admin.release("0" * 64)


async def test_no_url_is_signed_for_it(server: ArtifactServer, team: Caller, admin: Caller) -> None:
    digest = await team.push({"a.txt": ONE})
    await admin.quarantine(digest)
    request = pb.SignReadsRequest(namespace="team", manifest_digest=digest, digests=[digest_of(ONE)])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await team.stub.SignReads(request, metadata=team.metadata)
    assert from_rpc_error(caught.value).reason == "MANIFEST_QUARANTINED"
    await admin.stub.SignReads(request, metadata=admin.metadata)


async def test_a_rebuilt_index_knows_it(server: ArtifactServer, team: Caller, admin: Caller) -> None:
    digest = await team.push({"a.txt": ONE})
    await admin.quarantine(digest)
    async with server.database.write() as connection:
        for table in (quarantines, pins, namespace_manifests, namespace_blobs):
            await connection.execute(delete(table))
    await server.upkeep.adoption.adopt(Visible("team", digest))
    assert await refusal(team.get(digest)) == QUARANTINED
    assert await team.find_missing([digest_of(ONE)]) == [digest_of(ONE)]
    assert await admin.read(digest, "a.txt") == ONE


async def test_it_outlives_the_manifest(server: ArtifactServer, team: Caller, admin: Caller) -> None:
    digest = await team.push({"a.txt": ONE})
    await admin.quarantine(digest)
    async with server.database.write() as connection:  # as a sweep leaves it
        for table in (pins, namespace_manifests):
            await connection.execute(delete(table))
    assert await refusal(team.push({"a.txt": ONE})) == QUARANTINED
    await admin.release(digest)
    assert await team.push({"a.txt": ONE}) == digest


async def test_it_stands_in_the_object_store_so_that_a_rebuilt_index_can_know_it(
    team: Caller, admin: Caller, store: FaultyBlobs
) -> None:
    digest = await team.push({"a.txt": ONE})
    await admin.quarantine(digest, "leaks")
    key = f"quarantines/team/{digest}"
    assert json.loads(await store.get(key)) == {"reason": "leaks", "subject": "user:eve"}
    await admin.release(digest)
    assert await store.size(key) is None


async def test_an_index_that_forgot_a_swept_one_is_told_by_the_bucket(
    server: ArtifactServer, team: Caller, admin: Caller
) -> None:
    digest = await team.push({"a.txt": ONE})
    await admin.quarantine(digest)
    async with server.database.write() as connection:  # swept, and then the index lost
        for table in (quarantines, pins, namespace_manifests, namespace_blobs):
            await connection.execute(delete(table))
    assert await refusal(team.push({"a.txt": ONE})) == QUARANTINED
    assert await refusal(team.get(digest)) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")
    await admin.release(digest)
    assert await team.push({"a.txt": ONE}) == digest
