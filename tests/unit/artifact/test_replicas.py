"""Two replicas of the artifact service on one PostgreSQL and one bucket: what one says, holds for the other."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelzoo.errors import Aborted, FailedPrecondition, Unavailable
from support.artifact_server import ArtifactServer, artifact_server, digest_of, manifest_of, refusal
from support.faulty_blobs import FaultyBlobs
from support.upkeep import AgedBlobs, age, checked, kinds, rebuilt, swept
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_artifact.keys import blob_key
from zoo_server.principal import Role

FILES = {"a": b"one", "b": b"two"}
PICKLE = b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94."


@pytest.fixture
def aged() -> AgedBlobs:
    return AgedBlobs()


@pytest.fixture
def store(aged: AgedBlobs) -> FaultyBlobs:
    """The bucket, as the replica A reaches it."""
    return FaultyBlobs(aged)


@pytest.fixture
async def a(store: FaultyBlobs, tmp_path: Path, postgresql_url: str) -> AsyncIterator[ArtifactServer]:
    async with artifact_server(store, tmp_path, postgresql_url) as server:
        yield server


@pytest.fixture
async def b(a: ArtifactServer, aged: AgedBlobs, tmp_path: Path, postgresql_url: str) -> AsyncIterator[ArtifactServer]:
    async with artifact_server(aged, tmp_path, postgresql_url) as server:
        yield server


async def test_s2_pushed_and_read_by_one_swept_by_the_other_and_pushed_again_it_is_there(
    a: ArtifactServer, b: ArtifactServer, aged: AgedBlobs
) -> None:
    for pusher, sweeper in ((a, b), (b, a), (a, a)):
        digest = await pusher.caller().push(FILES)
        assert [await each.caller().read(digest, "a") for each in (a, b)] == [b"one"] * 2
        await age(a.database, aged)
        assert (await swept(sweeper.upkeep)).counts.deleted_manifests == 1
        for each in (a, b):
            assert await refusal(each.caller().read(digest, "a")) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")
        assert await pusher.caller().find_missing([digest_of(b"one")]) == [digest_of(b"one")]
        assert await pusher.caller().push(FILES) == digest
        assert [await each.caller().read(digest, path) for each in (a, b) for path in FILES] == [b"one", b"two"] * 2
        await age(a.database, aged)
        await swept(sweeper.upkeep)
    assert await kinds(b.upkeep) == []


async def test_s1_one_sweeps_while_the_other_takes_pushes_and_nothing_of_them_goes(
    a: ArtifactServer, b: ArtifactServer, aged: AgedBlobs
) -> None:
    old = [{"a": f"old {number}".encode(), "b": b"shared"} for number in range(10)]
    for files in old:
        await a.caller().push(files)
    await age(a.database, aged)
    stop = asyncio.Event()

    async def keep_sweeping() -> int:
        deleted = 0
        while not stop.is_set():
            deleted += (await swept(b.upkeep)).counts.deleted_blobs
        return deleted

    sweeping = asyncio.create_task(keep_sweeping())
    new = [{"a": os.urandom(50), "b": b"shared" if number % 2 else b"old 3"} for number in range(20)]
    pushed = [await _until_done(a, files) for files in new]
    stop.set()
    assert await sweeping > 0
    for digest, files in zip(pushed, new, strict=True):
        assert {path: await b.caller().read(digest, path) for path in files} == files
    assert await kinds(a.upkeep) == []


async def test_s4_a_writer_on_one_waits_for_what_the_other_is_deleting_and_stores_it_anew(
    a: ArtifactServer, b: ArtifactServer, store: FaultyBlobs, aged: AgedBlobs
) -> None:
    await b.caller().write(b"one")
    await age(a.database, aged)
    told: list[tuple[str, str]] = []

    async def send_it_by_the_other(operation: str, key: str) -> None:
        if (operation, key) == ("delete", blob_key(digest_of(b"one"))):
            told.append(await refusal(b.caller().write(b"one")))
            assert await b.caller().find_missing([digest_of(b"one")]) == [digest_of(b"one")]

    store.before = send_it_by_the_other
    assert (await swept(a.upkeep)).counts.deleted_blobs == 1
    assert told == [("UNAVAILABLE", "STORAGE_UNAVAILABLE")]
    assert await b.caller().write(b"one") == [digest_of(b"one")]
    assert await kinds(a.upkeep) == []


async def test_s4_whoever_asks_on_one_keeps_it_from_the_other_even_as_it_sweeps(
    a: ArtifactServer, b: ArtifactServer, store: FaultyBlobs, aged: AgedBlobs
) -> None:
    await a.caller().push({"a": b"first to go"})
    await b.caller().write(b"one")
    await age(a.database, aged)

    async def ask_the_other(operation: str, key: str) -> None:
        if operation == "delete" and key.startswith("namespaces/"):
            assert await b.caller().find_missing([digest_of(b"one")]) == []

    store.before = ask_the_other
    await swept(a.upkeep)
    assert await b.caller().find_missing([digest_of(b"one")]) == []
    assert await aged.get(blob_key(digest_of(b"one"))) == b"one"


async def test_a_pin_set_through_one_holds_against_the_others_sweep_until_it_ends(
    a: ArtifactServer, b: ArtifactServer, aged: AgedBlobs
) -> None:
    digest = await a.caller().push(FILES)
    await b.caller().pin(pb.PinRequest(namespace="team", manifest_digest=digest, holder="h"))
    await age(a.database, aged)
    assert (await swept(a.upkeep)).counts.deleted_manifests == 0
    assert await b.caller().read(digest, "a") == b"one"
    await b.caller().unpin(digest, "h")
    assert (await swept(a.upkeep)).counts.deleted_manifests == 1
    assert await refusal(b.caller().get(digest)) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")


async def test_a_freeze_by_one_holds_the_other_and_stops_the_sweep_that_it_is_in(
    a: ArtifactServer, b: ArtifactServer, store: FaultyBlobs, aged: AgedBlobs
) -> None:
    digest = await a.caller().push(FILES)
    await age(a.database, aged)

    async def freeze(operation: str, key: str) -> None:
        if operation == "delete" and key.startswith("namespaces/"):
            await b.upkeep.state.set_frozen(True, "moving house")

    store.before = freeze
    for _ in range(2):
        with pytest.raises(FailedPrecondition) as caught:
            await swept(a.upkeep)
        assert caught.value.reason == "SWEEPING_OFF"
    assert "moving house" in caught.value.message
    assert await aged.size(blob_key(digest_of(b"one"))) == 3
    await a.upkeep.state.set_frozen(False, "")
    await swept(b.upkeep)
    assert await refusal(a.caller().get(digest)) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")


async def test_only_one_of_them_sweeps_or_rebuilds_at_a_time(a: ArtifactServer, b: ArtifactServer) -> None:
    async with a.upkeep.state.lease():
        for doing in (swept(b.upkeep), rebuilt(b.upkeep)):
            with pytest.raises(Aborted) as caught:
                await doing
            assert caught.value.reason == "UPKEEP_RUNNING"
    await swept(b.upkeep)


async def test_a_quarantine_by_one_is_refused_by_the_other_at_once_and_so_is_its_end(
    a: ArtifactServer, b: ArtifactServer
) -> None:
    digest = await a.caller().push(FILES)
    admin = a.caller({"team": Role.ADMIN})
    assert await b.caller().read(digest, "a") == b"one"
    await admin.quarantine(digest)
    refused = ("FAILED_PRECONDITION", "MANIFEST_QUARANTINED")
    other = b.caller()
    assert await refusal(other.read(digest, "a")) == refused
    assert await refusal(other.get(digest)) == refused
    assert await refusal(other.sign_reads(digest, b"one")) == refused
    assert await refusal(other.push(FILES)) == refused
    assert await b.caller({"team": Role.ADMIN}).read(digest, "a") == b"one"
    await b.caller({"team": Role.ADMIN}).release(digest)
    assert await a.caller().read(digest, "a") == b"one"


async def test_a_policy_set_through_one_holds_for_the_next_push_to_the_other(
    a: ArtifactServer, b: ArtifactServer
) -> None:
    admin, team = a.caller({"team": Role.ADMIN}), b.caller()
    assert await refusal(team.push({"model.pkl": PICKLE})) == ("INVALID_ARGUMENT", "PICKLE_REFUSED")
    await admin.allow_opaque()
    await team.push({"model.pkl": PICKLE})
    await admin.allow_opaque(allow=False)
    assert await refusal(team.push({"other.pkl": PICKLE})) == ("INVALID_ARGUMENT", "PICKLE_REFUSED")


async def test_damage_that_one_finds_is_sent_again_through_the_other(
    a: ArtifactServer, b: ArtifactServer, aged: AgedBlobs
) -> None:
    digest = await a.caller().push(FILES)
    await aged.put(blob_key(digest_of(b"one")), b"eno")
    assert await refusal(a.caller().read(digest, "a")) == ("DATA_LOSS", "BLOB_CORRUPT")
    assert await b.caller().find_missing([digest_of(b"one"), digest_of(b"two")]) == [digest_of(b"one")]
    await b.caller().push(FILES)
    assert await a.caller().read(digest, "a") == b"one"
    assert (await checked(b.upkeep)).kinds == []


async def test_calls_dropped_at_any_moment_on_one_leave_the_other_free_to_write_at_once(
    a: ArtifactServer, b: ArtifactServer
) -> None:
    for number in range(20):
        files = {"a": b"one", "b": f"number {number}".encode()}
        put = pb.PutManifestRequest(namespace="team", manifest=manifest_of(files).to_bytes())
        await a.caller().write(*files.values())
        dropped = a.caller().stub.PutManifest(put, metadata=a.caller().metadata)
        await asyncio.wait([asyncio.ensure_future(dropped.code())], timeout=number * 0.001)
        dropped.cancel()
        digest = await asyncio.wait_for(b.caller().push(files), 30)
        assert await a.caller().read(digest, "b") == files["b"]
    assert await kinds(a.upkeep) == []


async def _until_done(server: ArtifactServer, files: dict[str, bytes]) -> str:
    """Push until nothing of it is being deleted any more, as a client does."""
    while True:
        with contextlib.suppress(FailedPrecondition, Unavailable):
            return await server.caller().push(files)
