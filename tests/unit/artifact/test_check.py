"""Check: whatever index and bucket disagree about is found, in both directions; what can be mended is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import delete, select, update

from modelzoo.errors import DataLoss, Unavailable
from support.artifact_server import ArtifactServer, Caller, artifact_server, digest_of, manifest_of
from support.faulty_blobs import FaultyBlobs
from support.upkeep import AgedBlobs, checked, kinds
from zoo_artifact.keys import Visible, blob_key, manifest_key, mark_key
from zoo_artifact.schema import blobs, manifest_blobs

FILES = {"a": b"one", "b": b"two"}
DIGEST = manifest_of(FILES).digest()
ONE = digest_of(b"one")


@pytest.fixture
def aged() -> AgedBlobs:
    return AgedBlobs()


@pytest.fixture
def store(aged: AgedBlobs) -> FaultyBlobs:
    return FaultyBlobs(aged)


@pytest.fixture
async def server(store: FaultyBlobs, tmp_path: Path) -> AsyncIterator[ArtifactServer]:
    async with artifact_server(store, tmp_path) as server:
        yield server


@pytest.fixture
async def pushed(team: Caller) -> str:
    return await team.push(FILES)


@pytest.mark.usefixtures("pushed")
async def test_a_sound_store_has_no_findings_and_every_byte_is_read(server: ArtifactServer) -> None:
    outcome = await checked(server.upkeep)
    assert outcome.kinds == []
    assert outcome.end is not None
    assert outcome.end.read_bytes == 6 + len(manifest_of(FILES).to_bytes())
    assert outcome.end.rows == outcome.end.total == 4


@pytest.mark.usefixtures("pushed")
async def test_s6_a_row_without_its_blob_is_found_and_counted(server: ArtifactServer, aged: AgedBlobs) -> None:
    await aged.delete(blob_key(ONE))
    assert await kinds(server.upkeep, full=False) == ["BLOB_MISSING"]
    assert REGISTRY.get_sample_value("zoo_artifact_check_findings", {"kind": "blob_missing"}) == 1


async def test_s6_a_blob_without_its_row_is_found_and_mended_if_sound(server: ArtifactServer, aged: AgedBlobs) -> None:
    await aged.put(blob_key(ONE), b"one")
    await aged.put(blob_key(digest_of(b"two")), b"owt")
    await aged.put("blobs/zz/what", b"?")
    found = (await checked(server.upkeep, repair=True)).findings
    assert sorted((each.resource, each.repaired) for each in found) == sorted(
        [(blob_key(ONE), True), (blob_key(digest_of(b"two")), False), ("blobs/zz/what", False)]
    )
    assert await kinds(server.upkeep) == ["OBJECT_UNKNOWN", "OBJECT_UNKNOWN"]


async def test_s11_an_object_deleted_behind_our_back_is_found_and_pushed_again(
    server: ArtifactServer, team: Caller, aged: AgedBlobs, pushed: str
) -> None:
    await aged.delete(blob_key(ONE))
    assert await team.find_missing([ONE]) == []
    assert await kinds(server.upkeep, repair=True) == ["BLOB_MISSING"]
    assert await kinds(server.upkeep) == ["BLOB_LACKING"]
    assert await team.find_missing([ONE]) == [ONE]
    assert await team.push(FILES) == pushed
    assert await team.read(pushed, "a") == b"one"
    assert await kinds(server.upkeep) == []


@pytest.mark.parametrize("damage", [b"eno", b"on", b""], ids=["other bytes", "too short", "empty"])
async def test_s16_a_damaged_blob_is_sent_again_by_the_next_push_and_sound_then(
    server: ArtifactServer, team: Caller, aged: AgedBlobs, pushed: str, damage: bytes
) -> None:
    await aged.put(blob_key(ONE), damage)
    assert await kinds(server.upkeep) == ["BLOB_CORRUPT"]
    assert await team.find_missing([ONE]) == []
    assert await kinds(server.upkeep, repair=True) == ["BLOB_CORRUPT"]
    with pytest.raises(DataLoss):
        await team.read(pushed, "a")
    assert await team.push(FILES) == pushed
    assert await team.read(pushed, "a") == b"one"
    assert await kinds(server.upkeep) == []


async def test_a_blob_that_only_seemed_damaged_is_sound_again_after_a_repair(
    server: ArtifactServer, team: Caller, pushed: str
) -> None:
    async with server.database.write() as connection:
        await connection.execute(update(blobs).where(blobs.c.digest == ONE).values(state="damaged"))
    assert await kinds(server.upkeep, repair=True) == []
    assert await team.find_missing([ONE]) == []


@pytest.mark.parametrize(
    ("damage", "kind"), [(None, "MANIFEST_MISSING"), (b"{}", "MANIFEST_CORRUPT")], ids=["gone", "damaged"]
)
async def test_a_manifest_gone_or_damaged_is_found_and_mended_by_a_push(
    server: ArtifactServer, team: Caller, aged: AgedBlobs, pushed: str, damage: bytes | None, kind: str
) -> None:
    await aged.delete(manifest_key(pushed))
    if damage is not None:
        await aged.put(manifest_key(pushed), damage)
    assert await kinds(server.upkeep, repair=True) == [kind]
    await team.push(FILES)
    assert await kinds(server.upkeep) == []


async def test_a_mark_that_is_missing_is_put_back(server: ArtifactServer, aged: AgedBlobs, pushed: str) -> None:
    await aged.delete(mark_key(Visible("team", pushed)))
    assert await kinds(server.upkeep, repair=True) == ["MARK_MISSING"]
    assert await kinds(server.upkeep) == []


@pytest.mark.usefixtures("pushed")
async def test_wrong_counts_and_references_are_mended(server: ArtifactServer) -> None:
    async with server.database.write() as connection:
        await connection.execute(delete(manifest_blobs).where(manifest_blobs.c.blob == ONE))
        await connection.execute(update(blobs).where(blobs.c.digest != ONE).values(reference_count=5))
    assert await kinds(server.upkeep) == ["REFERENCES_WRONG"] * 3
    await kinds(server.upkeep, repair=True)
    assert await kinds(server.upkeep) == []
    async with server.database.read() as connection:
        assert set(await connection.scalars(select(blobs.c.reference_count))) == {1}


@pytest.mark.usefixtures("pushed")
async def test_a_store_that_does_not_answer_ends_the_check_and_nothing_is_marked(
    server: ArtifactServer, team: Caller, store: FaultyBlobs
) -> None:
    async def fail(operation: str, key: str) -> None:
        if operation in ("get", "read"):
            raise Unavailable("STORAGE_UNAVAILABLE", "the object store does not answer")

    passing, store.before = store.before, fail
    with pytest.raises(Unavailable):
        await kinds(server.upkeep, repair=True)
    store.before = passing
    assert await team.find_missing([ONE]) == []


async def test_uploads_that_go_on_meanwhile_are_no_findings(
    server: ArtifactServer, team: Caller, store: FaultyBlobs
) -> None:
    found: list[str] = []

    async def look(operation: str, key: str) -> None:
        if operation == "put":
            store.after = passing
            found.extend(await kinds(server.upkeep))

    passing, store.after = store.after, look
    await team.write(b"one")
    assert found == []
