"""GetManifest and ReadFile: every byte that is sent was verified, in memory that has a limit."""

import asyncio
import os

import pytest

from modelzoo.errors import NotFound, OutOfRange, Unavailable
from support.artifact_server import ArtifactServer, Caller, cut, digest_of, refusal
from support.faulty_blobs import FaultyBlobs
from support.waiting import eventually
from zoo_server.principal import Role

MIB = 1024 * 1024
LARGE = os.urandom(70 * MIB + 123)


def key(data: bytes) -> str:
    return f"blobs/{digest_of(data)[:2]}/{digest_of(data)}"


async def test_a_file_of_several_blobs_comes_back_whole_in_chunks(team: Caller) -> None:
    digest = await team.push({"large.bin": LARGE})
    chunks = [chunk async for chunk in team.chunks(digest, "large.bin")]
    assert b"".join(chunks) == LARGE
    assert max(map(len, chunks)) == MIB


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, 1), (32 * MIB - 1, 2), (32 * MIB, 1), (5, 64 * MIB), (len(LARGE) - 1, 1), (64 * MIB + 7, None)],
)
async def test_a_range_is_exactly_what_was_asked(team: Caller, offset: int, length: int | None) -> None:
    digest = await team.push({"large.bin": LARGE})
    end = None if length is None else offset + length
    assert await team.read(digest, "large.bin", offset, length) == LARGE[offset:end]


@pytest.mark.parametrize(("offset", "length"), [(10, 0), (10, None), (0, 10)])
async def test_a_range_may_end_and_begin_at_the_end(team: Caller, offset: int, length: int | None) -> None:
    digest = await team.push({"a": b"0123456789"})
    assert await team.read(digest, "a", offset, length) == b"0123456789"[offset:]


@pytest.mark.parametrize(("offset", "length"), [(11, None), (11, 0), (0, 11), (10, 1), (2**62, 2**62)])
async def test_a_range_beyond_the_end_is_refused_with_the_size(team: Caller, offset: int, length: int | None) -> None:
    digest = await team.push({"a": b"0123456789"})
    with pytest.raises(OutOfRange) as caught:
        await team.read(digest, "a", offset, length)
    assert (caught.value.reason, caught.value.metadata) == ("RANGE_INVALID", {"size_bytes": "10"})


async def test_an_empty_file_has_no_bytes(team: Caller) -> None:
    assert await team.read(await team.push({"a": b"1", "empty": b""}), "empty") == b""


async def test_a_file_that_the_manifest_has_not_is_not_found(team: Caller) -> None:
    digest = await team.push({"a": b"1"})
    assert await refusal(team.read(digest, "A")) == ("NOT_FOUND", "FILE_NOT_FOUND")


async def test_what_is_not_there_and_what_is_not_yours_look_the_same(server: ArtifactServer, team: Caller) -> None:
    digest = await team.push({"a": b"1"})
    stranger = server.caller({"other": Role.ADMIN})
    member = server.caller({"team": Role.VIEWER})
    answers: list[tuple[str, dict[str, str]]] = []
    for asking in (stranger.get(digest), stranger.get("0" * 64), stranger.read(digest, "a"), member.get("0" * 64)):
        with pytest.raises(NotFound) as caught:
            await asking
        known = caught.value.metadata["manifest_digest"]
        answers.append((caught.value.message.replace(known, "?"), {**caught.value.metadata, "manifest_digest": "?"}))
    assert all(answer == answers[0] for answer in answers)
    assert await member.read(digest, "a") == b"1"


async def test_a_manifest_is_visible_in_its_own_namespace_only(server: ArtifactServer) -> None:
    everywhere = server.caller({"*": Role.PUBLISHER})
    digest = await everywhere.push({"a": b"1"})
    assert await refusal(everywhere.get(digest, namespace="other")) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")
    assert await everywhere.get(digest, namespace="TEAM")


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "longer", "absent"])
async def test_damage_is_found_before_a_byte_of_the_blob_is_sent(team: Caller, store: FaultyBlobs, damage: str) -> None:
    digest = await team.push({"large.bin": LARGE})
    good, bad = cut(LARGE)[:2]
    damaged = {"flipped bit": bytes([bad[0] ^ 1]) + bad[1:], "truncated": bad[:-1], "longer": bad + b"x"}
    if damage == "absent":
        await store.inner.delete(key(bad))
    else:
        await store.inner.put(key(bad), damaged[damage])
    received = bytearray()

    async def receive() -> None:
        async for chunk in team.chunks(digest, "large.bin"):
            received.extend(chunk)

    assert await refusal(receive()) == ("DATA_LOSS", "BLOB_CORRUPT")
    assert bytes(received) == good


async def test_pushing_again_repairs_damage(team: Caller, store: FaultyBlobs) -> None:
    digest = await team.push({"a": b"right"})
    await store.inner.put(key(b"right"), b"wrong")
    assert await refusal(team.read(digest, "a")) == ("DATA_LOSS", "BLOB_CORRUPT")
    await team.push({"a": b"right"})
    assert await team.read(digest, "a") == b"right"


async def test_a_damaged_manifest_is_data_loss(team: Caller, store: FaultyBlobs) -> None:
    digest = await team.push({"a": b"1"})
    await store.inner.put(f"manifests/{digest[:2]}/{digest}.json", b"{}")
    assert await refusal(team.get(digest)) == ("DATA_LOSS", "BLOB_CORRUPT")


@pytest.mark.parametrize("failing", ["blobs/", "manifests/"])
async def test_a_store_that_does_not_answer_is_unavailable_and_not_damage(
    team: Caller, store: FaultyBlobs, failing: str
) -> None:
    digest = await team.push({"a": b"1"})

    async def fail(operation: str, key: str) -> None:
        if not key.startswith(failing):
            return
        raise Unavailable("STORAGE_UNAVAILABLE", "the object store does not answer", retry_after_s=1.0)

    store.before, passing = fail, store.before
    assert await refusal(team.read(digest, "a")) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    store.before = passing
    assert await team.find_missing([digest_of(b"1")]) == []


async def test_the_next_blob_is_read_while_one_is_sent_and_no_more(team: Caller, store: FaultyBlobs) -> None:
    digest = await team.push({"large.bin": os.urandom(4 * 32 * MIB)})
    read: list[str] = []

    async def note(operation: str, key: str) -> None:
        if key.startswith("blobs/"):
            read.append(key)

    async def two() -> bool:
        return len(read) >= 2

    store.before = note
    chunks = team.chunks(digest, "large.bin")
    await anext(chunks)
    await eventually(two)
    # The reader stands still: flow control stops the stream within its first blob.
    await asyncio.wait_for(team.find_missing([]), 30)
    assert len(read) == 2
    await chunks.aclose()


async def test_cancelled_readers_free_their_memory(team: Caller) -> None:
    digest = await team.push({"large.bin": LARGE})
    # More often than blobs have places in memory.
    for _ in range(15):
        chunks = team.chunks(digest, "large.bin")
        await anext(chunks)
        await chunks.aclose()
    assert await asyncio.wait_for(team.read(digest, "large.bin"), 20) == LARGE


async def test_more_readers_than_places_in_memory_all_finish(team: Caller) -> None:
    digest = await team.push({"large.bin": LARGE})
    lengths = await asyncio.wait_for(
        asyncio.gather(*(team.read(digest, "large.bin", 0, 33 * MIB) for _ in range(20))), 60
    )
    assert {len(length) for length in lengths} == {33 * MIB}


async def test_thirty_two_readers_that_stand_still_hold_twelve_blobs_and_no_more(
    team: Caller, store: FaultyBlobs
) -> None:
    digest = await team.push({"large.bin": LARGE})
    read: list[str] = []

    async def note(operation: str, key: str) -> None:
        if key.startswith("blobs/"):
            read.append(key)

    async def twelve() -> bool:
        return len(read) >= 12

    store.before = note
    readers = [team.chunks(digest, "large.bin") for _ in range(32)]
    first = [asyncio.create_task(anext(reader)) for reader in readers]
    await eventually(twelve)
    await asyncio.wait_for(team.find_missing([]), 30)
    assert len(read) == 12
    for task in first:
        task.cancel()
    await asyncio.gather(*first, return_exceptions=True)
    for reader in readers:
        await reader.aclose()
