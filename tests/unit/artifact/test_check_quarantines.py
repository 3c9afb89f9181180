"""Check of quarantines: what bucket and index disagree about is found, both ways, and the stricter of the two holds."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from support.artifact_server import ArtifactServer, Caller, artifact_server, digest_of, refusal
from support.faulty_blobs import FaultyBlobs
from support.upkeep import checked, kinds
from zoo_artifact.keys import QUARANTINES, Visible, quarantine_key
from zoo_artifact.schema import namespace_blobs, quarantines
from zoo_server.principal import Role
from zoo_store.blobs import BlobInfo
from zoo_store.blobs_memory import MemoryBlobStore

ONE = b"one"
QUARANTINED = ("FAILED_PRECONDITION", "MANIFEST_QUARANTINED")


class ChangingBlobs(MemoryBlobStore):
    """What is done once quarantines are listed comes after the listing, and before who asked for it has it."""

    once_listed: Callable[[], Awaitable[None]] | None = None

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        found = [info async for info in super().list(prefix)]
        if found and prefix == QUARANTINES and self.once_listed is not None:
            await self.once_listed()
        for info in found:
            yield info


@pytest.fixture
def admin(server: ArtifactServer) -> Caller:
    return server.caller({"team": Role.ADMIN}, "user:eve")


@pytest.fixture
async def digest(team: Caller, admin: Caller) -> str:
    """Of a manifest that is quarantined."""
    digest = await team.push({"a.txt": ONE})
    await admin.quarantine(digest, "leaks")
    return digest


async def restore_older_index(server: ArtifactServer) -> None:
    """One that was saved before anything was quarantined."""
    async with server.database.write() as connection:
        await connection.execute(delete(quarantines))
        await connection.execute(insert(namespace_blobs).values(namespace="team", digest=digest_of(ONE)))


@pytest.mark.usefixtures("digest")
async def test_where_both_say_the_same_nothing_is_found(server: ArtifactServer) -> None:
    outcome = await checked(server.upkeep)
    assert outcome.kinds == []
    assert outcome.end is not None
    assert outcome.end.rows == outcome.end.total


async def test_what_an_older_index_gives_out_is_found_and_refused_again(
    server: ArtifactServer, team: Caller, digest: str
) -> None:
    await restore_older_index(server)
    outcome = await checked(server.upkeep, full=False)
    assert [(each.kind.value, each.resource) for each in outcome.findings] == [
        ("QUARANTINE_UNKNOWN", f"quarantines/team/{digest}")
    ]
    assert await team.read(digest, "a.txt") == ONE
    assert [each.repaired for each in (await checked(server.upkeep, repair=True)).findings] == [True]
    assert await refusal(team.get(digest)) == QUARANTINED
    assert await team.find_missing([digest_of(ONE)]) == [digest_of(ONE)]
    assert await kinds(server.upkeep) == []


async def test_what_the_bucket_has_forgotten_is_found_and_stored_again(
    server: ArtifactServer, store: FaultyBlobs, team: Caller, digest: str
) -> None:
    key = quarantine_key(Visible("team", digest))
    await store.delete(key)
    assert await kinds(server.upkeep, full=False) == ["QUARANTINE_MISSING"]
    assert await store.size(key) is None
    await checked(server.upkeep, repair=True)
    assert json.loads(await store.get(key)) == {"reason": "leaks", "subject": "user:eve"}
    assert await refusal(team.get(digest)) == QUARANTINED
    assert await kinds(server.upkeep) == []


async def test_a_record_that_cannot_be_read_is_a_quarantine_all_the_same(
    server: ArtifactServer, store: FaultyBlobs, team: Caller, digest: str
) -> None:
    for damaged in (b"", b"{", b"[]", b'{"reason": "leaks"}'):
        await restore_older_index(server)
        await store.put(quarantine_key(Visible("team", digest)), damaged)
        assert await kinds(server.upkeep, repair=True) == ["QUARANTINE_UNKNOWN"]
        assert await refusal(team.get(digest)) == QUARANTINED


async def test_an_object_of_another_name_is_told_and_left(server: ArtifactServer, store: FaultyBlobs) -> None:
    await store.put("quarantines/team/readme", b"{}")
    outcome = await checked(server.upkeep, repair=True)
    assert [(each.kind.value, each.repaired) for each in outcome.findings] == [("OBJECT_UNKNOWN", False)]


async def test_what_is_released_meanwhile_is_no_finding(tmp_path: Path) -> None:
    store = ChangingBlobs()
    async with artifact_server(store, tmp_path) as server:
        admin = server.caller({"team": Role.ADMIN})
        digest = await admin.push({"a.txt": ONE})
        await admin.quarantine(digest)
        store.once_listed = lambda: admin.release(digest)
        assert await kinds(server.upkeep, repair=True) == []
        assert await admin.read(digest, "a.txt") == ONE
