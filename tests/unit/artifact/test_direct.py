"""SignReads, SignWrites, CommitBlobs on SeaweedFS: what a URL can do, and what it can not."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from blake3 import blake3

from support.artifact_server import ArtifactServer, Caller, artifact_server, digest_of, refusal
from support.credulous_s3 import credulous_s3
from support.servers import S3Server
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_server.principal import Role
from zoo_store.blobs import BlobStore, S3Credentials, open_blobs

RIGHT, WRONG = b"right" * 1000, b"wrong" * 1000


@pytest.fixture
async def blobs(s3_server: S3Server, s3_url: str) -> AsyncIterator[BlobStore]:
    credentials = S3Credentials(s3_server.access_key, s3_server.secret_key)
    async with open_blobs(s3_url, credentials, s3_server.endpoint) as store:
        yield store


@pytest.fixture
async def zoo(blobs: BlobStore, tmp_path: Path) -> AsyncIterator[ArtifactServer]:
    async with artifact_server(blobs, tmp_path) as server:
        yield server


async def put(write: pb.SignedWrite, data: bytes) -> int:
    async with httpx.AsyncClient() as anyone:
        headers = {**write.headers, "Content-Length": str(len(data))}
        return (await anyone.put(write.url, content=data, headers=headers)).status_code


def proof(write: pb.SignedWrite, data: bytes) -> bytes:
    return blake3(data, key=write.proof_key).digest()


def as_blob(name: bytes, content: bytes) -> pb.BlobToWrite:
    """`content` under the name of other bytes."""
    return pb.BlobToWrite(digest=digest_of(name), size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


async def test_what_was_put_counts_once_it_is_committed(zoo: ArtifactServer) -> None:
    team = zoo.caller()
    (write,) = await team.sign_writes(RIGHT)
    assert await put(write, RIGHT) == 200
    assert await team.find_missing([digest_of(RIGHT)]) == [digest_of(RIGHT)]
    assert await team.commit({RIGHT: proof(write, RIGHT)}) == []
    assert await team.find_missing([digest_of(RIGHT)]) == []
    digest = await team.push({"a": RIGHT})
    assert await team.read(digest, "a") == RIGHT
    (url,) = await team.sign_reads(digest, RIGHT)
    async with httpx.AsyncClient() as anyone:
        assert (await anyone.get(url)).content == RIGHT


async def test_a_url_can_do_nothing_to_a_blob_that_is_committed(zoo: ArtifactServer) -> None:
    team = zoo.caller()
    (write,) = await team.sign_writes(RIGHT)
    await put(write, RIGHT)
    await team.commit({RIGHT: proof(write, RIGHT)})
    assert [await put(write, RIGHT), await put(write, WRONG)] in ([412, 412], [412, 400])
    assert await team.read(await team.push({"a": RIGHT}), "a") == RIGHT


async def test_other_bytes_under_a_name_never_count_and_give_way_to_the_right_ones(zoo: ArtifactServer) -> None:
    team = zoo.caller()
    (evil,) = await team.sign([as_blob(RIGHT, WRONG)])
    assert await put(evil, WRONG) == 200
    assert await team.commit({RIGHT: proof(evil, WRONG)}) == [digest_of(RIGHT)]
    assert await team.commit({RIGHT: proof(evil, RIGHT)}) == [digest_of(RIGHT)]
    await team.write(RIGHT)
    assert await put(evil, WRONG) == 412
    assert await team.read(await team.push({"a": RIGHT}), "a") == RIGHT


async def test_who_knows_only_the_name_gets_no_blob_by_committing_it(zoo: ArtifactServer) -> None:
    team, other = zoo.caller(), zoo.caller({"other": Role.PUBLISHER}, "user:eve")
    (write,) = await team.sign_writes(RIGHT)
    (eves,) = await other.sign([as_blob(RIGHT, RIGHT)], "other")
    await put(write, RIGHT)
    for guess in (b"", proof(eves, WRONG), proof(write, RIGHT)):
        assert await other.commit({RIGHT: guess}, "other") == [digest_of(RIGHT)]
    assert await other.find_missing([digest_of(RIGHT)], "other") == [digest_of(RIGHT)]
    assert await team.commit({RIGHT: proof(write, RIGHT)}) == []


async def test_no_put_is_signed_for_what_is_stored(zoo: ArtifactServer) -> None:
    everywhere = zoo.caller({"*": Role.PUBLISHER})
    await everywhere.write(RIGHT)
    assert await everywhere.sign_writes(RIGHT) == []
    assert await everywhere.sign_writes(RIGHT, WRONG, namespace="other") != []
    assert [write.digest for write in await everywhere.sign_writes(RIGHT, WRONG)] == [digest_of(WRONG)]


async def test_committing_what_nobody_put_says_so(zoo: ArtifactServer) -> None:
    team = zoo.caller()
    (write,) = await team.sign_writes(RIGHT)
    assert await team.commit({RIGHT: proof(write, RIGHT)}) == [digest_of(RIGHT)]


async def test_reads_are_signed_for_the_manifests_own_blobs_alone(zoo: ArtifactServer) -> None:
    team = zoo.caller()
    digest = await team.push({"a": RIGHT})
    await team.write(WRONG)
    assert await refusal(team.sign_reads(digest, WRONG)) == ("NOT_FOUND", "BLOB_NOT_FOUND")
    assert await refusal(zoo.caller({"x": Role.ADMIN}).sign_reads(digest, RIGHT)) == (
        "NOT_FOUND",
        "MANIFEST_NOT_FOUND",
    )


@pytest.mark.parametrize(
    ("digest", "size_bytes", "reason"), [("A" * 64, 1, "DIGEST_INVALID"), ("a" * 64, 0, "BLOB_SIZE_INVALID")]
)
async def test_what_is_no_blob_is_refused(zoo: ArtifactServer, digest: str, size_bytes: int, reason: str) -> None:
    wanted = pb.BlobToWrite(digest=digest, size_bytes=size_bytes, sha256="0" * 64)
    assert await refusal(zoo.caller().sign([wanted])) == ("INVALID_ARGUMENT", reason)


async def test_a_store_without_urls_signs_nothing(team: Caller) -> None:
    digest = await team.push({"a": RIGHT})
    assert (await team.sign_reads(digest, RIGHT), await team.sign_writes(WRONG)) == ([], [])


@pytest.fixture
def credulous_store() -> Iterator[str]:
    with credulous_s3() as endpoint:
        yield endpoint


async def test_nothing_is_signed_for_writing_where_the_store_takes_anything(credulous_store: str) -> None:
    async with open_blobs(f"s3://b?endpoint={credulous_store}", S3Credentials("a", "b"), credulous_store) as store:
        assert store.sign_put("one", 1, "0" * 64, 60) is None
        assert store.sign_get("one", 60) is not None
