"""Sweep: what nobody holds goes, after its grace and not before; what somebody holds never does."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, update

from modelzoo.errors import Aborted, FailedPrecondition, NotFound, Unavailable
from support.artifact_server import ArtifactServer, Caller, artifact_server, digest_of, manifest_of, refusal
from support.faulty_blobs import FaultyBlobs
from support.upkeep import AgedBlobs, age, kinds, swept
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_artifact.keys import Visible, blob_key, manifest_key, mark_key
from zoo_artifact.schema import blobs, manifests, namespace_blobs, pins, upkeep
from zoo_server.principal import Role

FILES = {"a": b"one", "b": b"two"}
HOLDER = "catalog:team/model"


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


async def keys(aged: AgedBlobs) -> set[str]:
    return {info.key async for info in aged.list("")} - {"clock/now"}


def pin(digest: str) -> pb.PinRequest:
    return pb.PinRequest(namespace="team", manifest_digest=digest, holder=HOLDER)


async def test_what_nobody_holds_goes_after_its_grace_with_objects_and_rows(
    server: ArtifactServer, team: Caller, aged: AgedBlobs
) -> None:
    digest = await team.push(FILES)
    await age(server.database, aged)
    counts = (await swept(server.upkeep)).counts
    assert (counts.expired_pins, counts.hidden_manifests, counts.deleted_manifests) == (1, 1, 1)
    assert (counts.deleted_blobs, counts.deleted_bytes, counts.failed) == (2, 6, 0)
    assert await keys(aged) == set()
    assert await refusal(team.get(digest)) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")
    async with server.database.read() as connection:
        for table in (blobs, manifests, namespace_blobs, pins):
            assert (await connection.execute(select(table))).all() == []


async def test_s1_nothing_goes_within_its_grace_however_often_is_swept(server: ArtifactServer, team: Caller) -> None:
    await team.write(b"one")
    counts = (await swept(server.upkeep)).counts
    await team.write(b"two")
    assert (await swept(server.upkeep)).counts == counts
    digest = await team.put(manifest_of(FILES))
    await swept(server.upkeep)
    assert await team.read(digest, "a") == b"one"


async def test_s1_sweeps_during_pushes_delete_nothing_of_them(server: ArtifactServer, team: Caller) -> None:
    stop = asyncio.Event()

    async def keep_sweeping() -> int:
        sweeps = 0
        while not stop.is_set():
            await swept(server.upkeep)
            sweeps += 1
        return sweeps

    sweeping = asyncio.create_task(keep_sweeping())
    pushed = {n: await team.push({"a": os.urandom(100), "b": b"shared"}) for n in range(20)}
    stop.set()
    assert await sweeping > 3
    assert await kinds(server.upkeep) == []
    assert len(set(pushed.values())) == 20


async def test_s2_pushed_deleted_swept_and_pushed_again_it_is_there(server: ArtifactServer, team: Caller) -> None:
    digest = await team.push(FILES)
    assert await team.read(digest, "a") == b"one"
    await age(server.database)
    await swept(server.upkeep)
    assert await team.push(FILES) == digest
    assert {path: await team.read(digest, path) for path in FILES} == FILES
    assert await kinds(server.upkeep) == []


async def test_s3_acknowledged_blobs_without_a_manifest_are_kept_for_their_grace(
    server: ArtifactServer, team: Caller
) -> None:
    await team.write(*FILES.values())
    await swept(server.upkeep)
    assert await team.find_missing([digest_of(data) for data in FILES.values()]) == []
    await team.put(manifest_of(FILES))


async def test_s4_whoever_asks_for_a_blob_again_keeps_it(server: ArtifactServer, team: Caller, aged: AgedBlobs) -> None:
    await team.write(b"one", b"two")
    await age(server.database, aged)
    assert await team.find_missing([digest_of(b"one")]) == []
    assert (await swept(server.upkeep)).counts.deleted_blobs == 1
    assert await team.find_missing([digest_of(b"one"), digest_of(b"two")]) == [digest_of(b"two")]


async def test_s4_sent_again_while_it_is_deleted_a_blob_waits_and_is_stored_anew(
    server: ArtifactServer, team: Caller, store: FaultyBlobs
) -> None:
    await team.write(b"one")
    await age(server.database)
    told: list[tuple[str, str]] = []

    async def send_it_again(operation: str, key: str) -> None:
        if operation == "delete" and key.startswith("blobs/"):
            store.before = passing
            told.append(await refusal(team.write(b"one")))

    passing, store.before = store.before, send_it_again
    await swept(server.upkeep)
    assert told == [("UNAVAILABLE", "STORAGE_UNAVAILABLE")]
    assert await team.write(b"one") == [digest_of(b"one")]
    assert await kinds(server.upkeep) == []


async def test_s4_put_again_while_it_is_deleted_a_manifest_waits_and_is_put_anew(
    server: ArtifactServer, team: Caller, store: FaultyBlobs
) -> None:
    await team.push(FILES)
    await age(server.database)
    told: list[tuple[str, str]] = []

    async def put_it_again(operation: str, key: str) -> None:
        if operation == "delete" and key.startswith(("namespaces/", "manifests/")):
            told.append(await refusal(team.put(manifest_of(FILES))))

    passing, store.before = store.before, put_it_again
    await swept(server.upkeep)
    store.before = passing
    assert told == [("UNAVAILABLE", "STORAGE_UNAVAILABLE")] * 2
    digest = await team.push(FILES)
    assert await team.read(digest, "b") == b"two"
    assert await kinds(server.upkeep) == []


async def test_s5_one_failing_delete_of_a_hundred_is_told_and_tried_again(
    server: ArtifactServer, team: Caller, store: FaultyBlobs, aged: AgedBlobs
) -> None:
    data = [f"blob {number}".encode() for number in range(100)]
    await team.write(*data)
    await age(server.database, aged)
    bad = blob_key(digest_of(data[7]))

    async def fail(operation: str, key: str) -> None:
        if (operation, key) == ("delete", bad):
            raise Unavailable("STORAGE_UNAVAILABLE", "the object store answered 500 to a deletion")

    passing, store.before = store.before, fail
    first = await swept(server.upkeep)
    assert (first.counts.deleted_blobs, first.counts.failed) == (99, 1)
    assert first.failures == (f"{bad}: the object store answered 500 to a deletion",)
    assert await keys(aged) == {bad}
    store.before = passing
    assert (await swept(server.upkeep)).counts.deleted_blobs == 1
    assert await keys(aged) == set()


async def test_s7_an_error_while_looking_is_never_taken_for_absence(
    server: ArtifactServer, team: Caller, store: FaultyBlobs, aged: AgedBlobs
) -> None:
    await team.push(FILES)
    before = await keys(aged)
    async with server.database.write() as connection:  # an index that forgot it, as one restored from a backup
        for table in (pins, namespace_blobs):
            await connection.execute(table.delete())
        for name in ("namespace_manifests", "manifest_blobs", "manifests", "blobs"):
            await connection.execute(manifests.metadata.tables[name].delete())
    await aged.grow_old()

    async def fail(operation: str, key: str) -> None:
        if operation == "get":
            raise Unavailable("STORAGE_UNAVAILABLE", "the object store does not answer")

    passing, store.before = store.before, fail
    with pytest.raises(Unavailable):
        await swept(server.upkeep)
    assert await keys(aged) == before
    store.before = passing
    assert (await swept(server.upkeep)).counts.adopted_manifests == 1
    assert await keys(aged) == before
    assert await team.read(manifest_of(FILES).digest(), "a") == b"one"


async def test_s15_whatever_is_pinned_stays_be_it_a_version_a_draft_or_a_checkpoint(
    server: ArtifactServer, team: Caller
) -> None:
    digest = await team.push(FILES)
    await team.pin(pin(digest))
    for _ in range(2):
        await age(server.database)
        await swept(server.upkeep)
    assert await team.read(digest, "a") == b"one"
    await team.unpin(digest, HOLDER)
    assert (await swept(server.upkeep)).counts.deleted_manifests == 1


async def test_a_manifest_that_another_namespace_keeps_is_hidden_here_alone(server: ArtifactServer) -> None:
    both = server.caller({"team": Role.PUBLISHER, "other": Role.PUBLISHER})
    digest = await both.push(FILES)
    await both.push(FILES, namespace="other")
    await both.pin(pin(digest))
    await age(server.database)
    counts = (await swept(server.upkeep)).counts
    assert (counts.hidden_manifests, counts.deleted_manifests, counts.deleted_blobs) == (1, 0, 0)
    assert await both.read(digest, "a") == b"one"
    assert await refusal(both.get(digest, "other")) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")
    assert await both.find_missing([digest_of(b"one")], "other") == [digest_of(b"one")]
    assert await kinds(server.upkeep) == []


async def test_a_blob_of_two_manifests_stays_for_the_second(server: ArtifactServer, team: Caller) -> None:
    await team.push({"a": b"shared", "b": b"alone"})
    kept = await team.push({"a": b"shared"})
    await team.pin(pin(kept))
    await age(server.database)
    counts = (await swept(server.upkeep)).counts
    assert (counts.deleted_manifests, counts.deleted_blobs, counts.deleted_bytes) == (1, 1, 5)
    assert await team.read(kept, "a") == b"shared"


async def test_a_wrong_count_costs_no_blob(server: ArtifactServer, team: Caller) -> None:
    digest = await team.push(FILES)
    await team.pin(pin(digest))
    async with server.database.write() as connection:
        await connection.execute(update(blobs).values(reference_count=0))
    await age(server.database)
    assert (await swept(server.upkeep)).counts.deleted_blobs == 0
    assert await team.read(digest, "a") == b"one"


async def test_objects_of_uploads_that_died_go_when_they_are_old_and_not_before(
    server: ArtifactServer, aged: AgedBlobs
) -> None:
    left = {blob_key(digest_of(b"left")): b"left", manifest_key("a" * 64): b"{}"}
    for key, data in left.items():
        await aged.put(key, data)
    await aged.put(mark_key(Visible("team", "b" * 64)), b"")
    assert (await swept(server.upkeep)).counts.deleted_leftovers == 0
    await aged.grow_old()
    counts = (await swept(server.upkeep)).counts
    assert (counts.deleted_leftovers, counts.leftover_bytes) == (3, 4)
    assert await keys(aged) == set()
    async with server.database.read() as connection:
        assert (await connection.execute(select(blobs))).all() == []
        assert (await connection.execute(select(manifests))).all() == []


async def test_where_a_manifest_cannot_be_read_no_blob_counts_as_left_over(
    server: ArtifactServer, aged: AgedBlobs
) -> None:
    blob = blob_key(digest_of(b"of whom?"))
    await aged.put(blob, b"of whom?")
    await aged.put(manifest_key("a" * 64), b"damaged")
    await aged.put(mark_key(Visible("team", "a" * 64)), b"")
    await aged.grow_old()
    result = await swept(server.upkeep)
    assert result.counts.failed == 1
    assert blob in await keys(aged)


async def test_a_dry_run_says_what_a_sweep_does_and_does_nothing(
    server: ArtifactServer, team: Caller, aged: AgedBlobs
) -> None:
    await team.push({"a": b"shared", "b": b"alone"})
    await team.pin(pin(await team.push({"a": b"shared"})))
    await team.write(b"never put")
    await aged.put(blob_key(digest_of(b"left")), b"left")
    await age(server.database, aged)
    before = await keys(aged)
    told = await swept(server.upkeep, dry_run=True)
    assert told.dry_run
    assert await keys(aged) == before
    assert (await swept(server.upkeep)).counts == told.counts
    assert told.counts.deleted_bytes == len(b"alone" + b"never put")


async def test_frozen_nothing_is_swept_and_the_reason_is_told(server: ArtifactServer, team: Caller) -> None:
    digest = await team.push(FILES)
    await age(server.database)
    await server.upkeep.state.set_frozen(True, "moving house")
    with pytest.raises(FailedPrecondition, match="moving house") as caught:
        await swept(server.upkeep)
    assert caught.value.reason == "SWEEPING_OFF"
    assert (await swept(server.upkeep, dry_run=True)).counts.deleted_manifests == 1
    await server.upkeep.state.set_frozen(False, "")
    assert (await swept(server.upkeep)).counts.deleted_manifests == 1
    with pytest.raises(NotFound):
        await team.get(digest)


async def test_a_sweep_that_is_frozen_in_its_course_stops_at_its_next_step(
    server: ArtifactServer, team: Caller, store: FaultyBlobs
) -> None:
    await team.push(FILES)
    await age(server.database)

    async def freeze(operation: str, key: str) -> None:
        if operation == "delete" and key.startswith("namespaces/"):
            await server.upkeep.state.set_frozen(True, "")

    store.before = freeze
    with pytest.raises(FailedPrecondition):
        await swept(server.upkeep)
    async with server.database.read() as connection:
        assert len((await connection.execute(select(blobs))).all()) == 2
        assert await connection.scalar(select(upkeep.c.lease_owner)) is None


async def test_one_sweeps_at_a_time_and_a_dead_ones_lease_lapses(server: ArtifactServer) -> None:
    async with server.upkeep.state.lease() as dead:
        with pytest.raises(Aborted) as caught:
            await swept(server.upkeep)
        assert caught.value.reason == "UPKEEP_RUNNING"
        async with server.database.write() as connection:
            await connection.execute(update(upkeep).values(lease_expire_time=datetime(1970, 1, 1, tzinfo=UTC)))
        await swept(server.upkeep)
        with pytest.raises(Aborted):
            await dead.keep()
