"""FindMissingBlobs: deduplication within what the caller may read, and no further."""

import pytest

from support.artifact_server import ArtifactServer, Caller, digest_of, manifest_of, refusal
from support.faulty_blobs import FaultyBlobs
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_server.principal import Role

ONE, TWO = b"one", b"two!"


def name(digest: str, namespace: str) -> pb.ManifestName:
    return pb.ManifestName(namespace=namespace, manifest_digest=digest)


async def test_missing_blobs_come_in_the_order_asked_each_once(team: Caller) -> None:
    await team.write(TWO)
    asked = [digest_of(data) for data in (b"c", ONE, TWO, b"c", b"a", ONE)]
    assert await team.find_missing(asked) == [digest_of(data) for data in (b"c", ONE, b"a")]
    assert await team.find_missing([]) == []


async def test_more_digests_than_a_statement_takes_are_all_looked_up(team: Caller) -> None:
    await team.write(ONE)
    asked = [digest_of(str(number).encode()) for number in range(2500)]
    assert await team.find_missing([*asked, digest_of(ONE)]) == asked


@pytest.mark.parametrize("digest", ["A" * 64, "", "a" * 63])
async def test_what_is_no_digest_is_refused(team: Caller, digest: str) -> None:
    assert await refusal(team.find_missing([digest])) == ("INVALID_ARGUMENT", "DIGEST_INVALID")


async def test_a_blob_of_another_namespace_must_be_sent_but_is_not_stored_twice(
    server: ArtifactServer, team: Caller, store: FaultyBlobs
) -> None:
    other = server.caller({"other": Role.PUBLISHER})
    await other.write(ONE, namespace="other")
    put: list[str] = []

    async def note(operation: str, key: str) -> None:
        put.append(key)

    store.before = note
    assert await team.find_missing([digest_of(ONE)]) == [digest_of(ONE)]
    assert await team.write(ONE) == [digest_of(ONE)]
    assert await team.find_missing([digest_of(ONE)]) == []
    assert put == []


async def test_naming_a_blob_without_having_its_bytes_gives_nothing(server: ArtifactServer, team: Caller) -> None:
    other = server.caller({"other": Role.PUBLISHER})
    await other.push({"secret.txt": ONE}, namespace="other")
    assert await refusal(team.put(manifest_of({"mine.txt": ONE}))) == ("FAILED_PRECONDITION", "BLOBS_MISSING")


async def test_blobs_of_a_base_need_not_be_sent(server: ArtifactServer) -> None:
    owner = server.caller({"other": Role.PUBLISHER})
    base = name(await owner.push({"base.txt": ONE}, namespace="other"), "other")
    both = server.caller({"team": Role.PUBLISHER, "other": Role.VIEWER})
    assert await both.find_missing([digest_of(ONE), digest_of(TWO)], bases=[base]) == [digest_of(TWO)]
    await both.write(TWO)
    digest = await both.put(manifest_of({"base.txt": ONE, "new.txt": TWO}), bases=[base])
    assert await both.read(digest, "base.txt") == ONE
    # From now on the namespace has it by itself.
    assert await server.caller().find_missing([digest_of(ONE)]) == []


async def test_a_base_that_the_caller_may_not_read_is_refused(server: ArtifactServer, team: Caller) -> None:
    owner = server.caller({"other": Role.PUBLISHER})
    base = name(await owner.push({"base.txt": ONE}, namespace="other"), "other")
    denied = ("PERMISSION_DENIED", "ROLE_MISSING")
    assert await refusal(team.find_missing([digest_of(ONE)], bases=[base])) == denied
    assert await refusal(team.put(manifest_of({"a": ONE}), bases=[base])) == denied


async def test_a_base_that_is_not_there_is_not_found(team: Caller) -> None:
    bases = [name("0" * 64, "team")]
    assert await refusal(team.find_missing([digest_of(ONE)], bases=bases)) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")


async def test_namespaces_compare_without_case(server: ArtifactServer, team: Caller) -> None:
    await team.write(ONE, namespace="TEAM")
    assert await team.find_missing([digest_of(ONE)], namespace="Team") == []
