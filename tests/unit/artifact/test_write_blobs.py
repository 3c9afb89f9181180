"""WriteBlobs: what is acknowledged is stored, and nothing else is."""

import asyncio
import os
from collections.abc import Iterable

import grpc
import pytest

from modelzoo.errors import Unavailable, ZooError
from support.artifact_server import ArtifactServer, Caller, chunk, digest_of, header, refusal, start, upload
from support.faulty_blobs import FaultyBlobs
from support.waiting import eventually
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_artifact.keys import blob_key
from zoo_server.principal import Role

MIB = 1024 * 1024
ONE, TWO = b"one", b"two!"


def begun(data: bytes) -> pb.WriteBlobsRequest:
    return start(digest_of(data), len(data))


async def test_blobs_are_acknowledged_in_order_and_stored(team: Caller, store: FaultyBlobs) -> None:
    blobs = [os.urandom(3 * MIB + 5), ONE, os.urandom(32 * MIB), TWO, b"x", os.urandom(MIB)]
    assert await team.write(*blobs) == [digest_of(blob) for blob in blobs]
    for blob in blobs:
        digest = digest_of(blob)
        assert await store.inner.get(f"blobs/{digest[:2]}/{digest}") == blob


async def test_a_client_may_wait_for_each_blob_before_the_next(team: Caller) -> None:
    call = team.stub.WriteBlobs(metadata=team.metadata)
    await call.write(header())
    for data in (ONE, TWO):
        await call.write(begun(data))
        await call.write(chunk(data))
        assert (await asyncio.wait_for(call.read(), 30)).digest == digest_of(data)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_a_header_alone_stores_nothing_and_is_no_error(team: Caller) -> None:
    assert await team.stream([header()]) == []


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [begun(ONE)],
        [chunk(ONE)],
        [header(), header()],
        [header(), chunk(ONE)],
        [header(), begun(ONE), chunk(ONE), chunk(b"more")],
        [header(), pb.WriteBlobsRequest()],
    ],
    ids=["nothing", "no header", "bytes first", "two headers", "bytes of no blob", "bytes after a blob", "no part"],
)
async def test_messages_out_of_order_are_refused(team: Caller, messages: list[pb.WriteBlobsRequest]) -> None:
    assert await refusal(team.stream(messages)) == ("INVALID_ARGUMENT", "STREAM_ORDER_INVALID")


@pytest.mark.parametrize(
    "messages",
    [
        [start(digest_of(b""), 0)],
        [start(digest_of(ONE), -1)],
        [start(digest_of(ONE), 32 * MIB + 1)],
        [begun(ONE), chunk(ONE + b"x")],
        [begun(ONE), chunk(b"o")],
        [begun(ONE), chunk(b"o"), begun(TWO)],
        [begun(ONE), chunk(b"o"), header()],
    ],
    ids=["empty", "negative", "over 32 MiB", "too many bytes", "stream ends", "next blob begins", "header inside"],
)
async def test_a_blob_of_the_wrong_size_is_refused(team: Caller, messages: list[pb.WriteBlobsRequest]) -> None:
    assert await refusal(team.stream([header(), *messages])) == ("INVALID_ARGUMENT", "BLOB_SIZE_INVALID")


async def test_bytes_of_another_digest_are_refused_and_not_stored(team: Caller, store: FaultyBlobs) -> None:
    lie = [header(), start(digest_of(ONE), 3), chunk(b"eno")]
    assert await refusal(team.stream(lie)) == ("INVALID_ARGUMENT", "BLOB_DIGEST_MISMATCH")
    assert await store.inner.size(f"blobs/{digest_of(ONE)[:2]}/{digest_of(ONE)}") is None
    assert await team.find_missing([digest_of(ONE)]) == [digest_of(ONE)]


@pytest.mark.parametrize("digest", ["A" * 64, "a" * 63, "a" * 65, "g" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
async def test_what_is_no_digest_is_refused(team: Caller, digest: str) -> None:
    assert await refusal(team.stream([header(), start(digest, 3)])) == ("INVALID_ARGUMENT", "DIGEST_INVALID")


@pytest.mark.parametrize("namespace", ["../team", "te/am", ".", "a" * 96 + "/", "te am", "té"])
async def test_what_is_no_namespace_is_refused(server: ArtifactServer, namespace: str) -> None:
    admin = server.caller({"*": Role.ADMIN})
    assert await refusal(admin.write(ONE, namespace=namespace)) == ("INVALID_ARGUMENT", "FIELD_INVALID")


async def test_blobs_before_the_faulty_one_are_acknowledged_and_stay(team: Caller) -> None:
    acknowledged: list[str] = []
    messages = [*upload([ONE, TWO]), start(digest_of(b"three"), 5), chunk(b"eerht"), *list(upload([b"four"]))[1:]]
    with pytest.raises(ZooError) as caught:
        await team.stream(messages, acknowledged)
    assert caught.value.reason == "BLOB_DIGEST_MISMATCH"
    assert acknowledged == [digest_of(ONE), digest_of(TWO)]
    assert await team.find_missing([*acknowledged, digest_of(b"three")]) == [digest_of(b"three")]


async def test_a_store_that_does_not_answer_is_unavailable_and_the_next_try_succeeds(
    team: Caller, store: FaultyBlobs
) -> None:
    async def fail(operation: str, key: str) -> None:
        raise Unavailable("STORAGE_UNAVAILABLE", "the object store does not answer", retry_after_s=1.0)

    store.before, passing = fail, store.before
    assert await refusal(team.write(ONE)) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    store.before = passing
    assert await team.find_missing([digest_of(ONE)]) == [digest_of(ONE)]
    assert await team.write(ONE) == [digest_of(ONE)]


async def test_a_cancelled_upload_leaves_what_was_acknowledged_and_frees_its_memory(team: Caller) -> None:
    async def endless() -> Iterable[pb.WriteBlobsRequest]:
        for message in [*upload([ONE]), begun(TWO), chunk(b"tw")]:
            yield message
        await asyncio.Event().wait()

    # More often than blobs have places in memory.
    for _ in range(15):
        call = team.stub.WriteBlobs(endless(), metadata=team.metadata)
        assert (await call.read()).digest == digest_of(ONE)
        call.cancel()
    assert await team.find_missing([digest_of(ONE), digest_of(TWO)]) == [digest_of(TWO)]
    assert await asyncio.wait_for(team.write(TWO), 10) == [digest_of(TWO)]


async def test_cancelled_while_stored_blobs_are_kept_and_free_their_memory(team: Caller, store: FaultyBlobs) -> None:
    stuck = asyncio.Event()
    waiting = 0

    async def wait(operation: str, key: str) -> None:
        nonlocal waiting
        waiting += 1
        await stuck.wait()

    store.before, passing = wait, store.before
    sent = [[f"{n}-{m}".encode() for m in range(9)] for n in range(4)]
    calls = [team.stub.WriteBlobs(upload(blobs), metadata=team.metadata) for blobs in sent]

    async def all_places_taken() -> bool:
        return waiting == 12

    await eventually(all_places_taken)
    for call in calls:
        call.cancel()
    store.before = passing
    stuck.set()
    assert await asyncio.wait_for(team.write(ONE, TWO), 10) == [digest_of(ONE), digest_of(TWO)]

    async def the_twelve_are_there() -> bool:
        return len(await team.find_missing([digest_of(blob) for blobs in sent for blob in blobs])) <= 36 - 12

    await eventually(the_twelve_are_there)


async def test_a_blob_that_the_store_refuses_takes_none_of_the_others_along(team: Caller, store: FaultyBlobs) -> None:
    data = [f"blob {number}".encode() for number in range(4)]
    bad, begun_last = blob_key(digest_of(data[0])), asyncio.Event()

    async def fail(operation: str, key: str) -> None:
        if key == blob_key(digest_of(data[-1])):
            begun_last.set()
        if key == bad:
            await begun_last.wait()
            raise Unavailable("STORAGE_UNAVAILABLE", "the object store does not answer")

    store.before, passing = fail, store.before
    assert await refusal(team.write(*data)) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    store.before = passing
    assert await team.find_missing(map(digest_of, data)) == [digest_of(data[0])]


async def test_several_blobs_of_a_stream_are_stored_at_once_but_only_four(team: Caller, store: FaultyBlobs) -> None:
    release = asyncio.Event()
    now = most = 0

    async def wait(operation: str, key: str) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await release.wait()
        now -= 1

    async def four() -> bool:
        return now == 4

    store.before = wait
    writing = asyncio.create_task(team.write(*(f"blob {number}".encode() for number in range(20))))
    await eventually(four)
    release.set()
    assert len(await writing) == 20
    assert most == 4


async def test_twenty_writers_of_one_blob_all_succeed(server: ArtifactServer) -> None:
    data = os.urandom(2 * MIB)
    callers = [server.caller(subject=f"user:{number}") for number in range(20)]
    written = await asyncio.gather(*(caller.write(data) for caller in callers))
    assert written == [[digest_of(data)]] * 20


async def test_writing_again_stores_nothing_again(team: Caller, store: FaultyBlobs) -> None:
    await team.write(ONE)
    put: list[str] = []

    async def note(operation: str, key: str) -> None:
        put.append(key)

    store.before = note
    assert await team.write(ONE) == [digest_of(ONE)]
    assert put == []
