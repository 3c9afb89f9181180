"""What every BlobStore promises, asked of each driver."""

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl

import httpx
import pytest

from modelzoo.errors import NotFound, OutOfRange
from support.servers import S3Server
from zoo_store.blobs import PIECE_BYTES, BlobStore, S3Credentials, open_blobs

MIB = 1024 * 1024


@pytest.fixture(params=["memory", "seaweedfs", "given-s3"])
async def blobs(request: pytest.FixtureRequest) -> AsyncIterator[BlobStore]:
    if request.param == "memory":
        opened = open_blobs("memory://")
    elif request.param == "seaweedfs":
        server: S3Server = request.getfixturevalue("s3_server")
        credentials = S3Credentials(server.access_key, server.secret_key)
        opened = open_blobs(request.getfixturevalue("s3_url"), credentials, server.endpoint)
    else:
        base, _, query = os.environ["ZOO_TEST_S3_URL"].partition("?")
        credentials = S3Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        opened = open_blobs(
            f"{base.rstrip('/')}/{uuid.uuid4().hex}?{query}", credentials, dict(parse_qsl(query))["endpoint"]
        )
    async with opened as store:
        yield store


@pytest.mark.parametrize("size_bytes", [0, 1, 5 * MIB + 1, 32 * MIB])
async def test_a_blob_comes_back_whole(blobs: BlobStore, size_bytes: int) -> None:
    data = os.urandom(size_bytes)
    await blobs.put("blobs/ab/one", data)
    assert await blobs.get("blobs/ab/one") == data
    assert await blobs.size("blobs/ab/one") == size_bytes


@pytest.mark.parametrize("size_bytes", [0, 1, PIECE_BYTES, 5 * PIECE_BYTES + 1])
async def test_a_blob_comes_in_pieces_and_in_order(blobs: BlobStore, size_bytes: int) -> None:
    data, pieces = os.urandom(size_bytes), list[bytes]()
    await blobs.put("one", data)
    assert await blobs.read("one", lambda piece: pieces.append(bytes(piece))) == size_bytes
    assert b"".join(pieces) == data
    assert max(map(len, pieces), default=0) <= PIECE_BYTES


async def test_who_wants_no_more_pieces_ends_the_read(blobs: BlobStore) -> None:
    await blobs.put("one", os.urandom(3 * PIECE_BYTES))

    def refuse(piece: memoryview) -> None:
        raise KeyError(len(piece))

    with pytest.raises(KeyError):
        await blobs.read("one", refuse)
    assert await blobs.read("one", len) == 3 * PIECE_BYTES


async def test_pieces_of_an_absent_blob_are_not_found(blobs: BlobStore) -> None:
    with pytest.raises(NotFound) as caught:
        await blobs.read("blobs/none", len)
    assert caught.value.reason == "BLOB_NOT_FOUND"


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 10), (3, 4), (3, None), (9, 1), (10, 0), (0, 0), (10, None), (5, 0)]
)
async def test_a_range_is_exactly_what_was_asked(blobs: BlobStore, offset: int, length: int | None) -> None:
    await blobs.put("one", b"0123456789")
    end = None if length is None else offset + length
    assert await blobs.get("one", offset, length) == b"0123456789"[offset:end]


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (9, 2), (11, None), (11, 0), (10, 1), (2**40, 5)])
async def test_a_range_that_leaves_the_blob_is_refused(blobs: BlobStore, offset: int, length: int | None) -> None:
    await blobs.put("one", b"0123456789")
    with pytest.raises(OutOfRange) as caught:
        await blobs.get("one", offset, length)
    assert (caught.value.reason, caught.value.metadata) == ("RANGE_INVALID", {"size_bytes": "10"})


async def test_a_blob_cut_short_behind_our_back_never_serves_fewer_bytes_than_asked(blobs: BlobStore) -> None:
    await blobs.put("one", b"0123456789")
    await blobs.put("one", b"012")
    assert await blobs.size("one") == 3
    with pytest.raises(OutOfRange):
        await blobs.get("one", 0, 10)


async def test_a_range_of_an_empty_blob_leaves_it(blobs: BlobStore) -> None:
    await blobs.put("one", b"")
    assert await blobs.get("one", 0, 0) == b""
    with pytest.raises(OutOfRange):
        await blobs.get("one", 0, 1)


@pytest.mark.parametrize("offset_length", [(0, None), (3, 4), (0, 0)])
async def test_an_absent_blob_is_not_found(blobs: BlobStore, offset_length: tuple[int, int | None]) -> None:
    with pytest.raises(NotFound) as caught:
        await blobs.get("blobs/none", *offset_length)
    assert caught.value.reason == "BLOB_NOT_FOUND"
    assert await blobs.size("blobs/none") is None


async def test_deleting_twice_leaves_it_absent(blobs: BlobStore) -> None:
    await blobs.put("blobs/ab/one", b"1")
    await blobs.put("blobs/ab/two", b"2")
    await blobs.delete("blobs/ab/one")
    await blobs.delete("blobs/ab/one")
    assert await blobs.size("blobs/ab/one") is None
    assert await blobs.get("blobs/ab/two") == b"2"


async def test_a_deleted_blob_can_be_written_again(blobs: BlobStore) -> None:
    await blobs.put("one", b"old")
    await blobs.delete("one")
    await blobs.put("one", b"new!")
    assert await blobs.get("one") == b"new!"


async def test_listing_names_each_blob_below_the_prefix_once(blobs: BlobStore) -> None:
    keys = {f"blobs/{number % 7:02x}/{number}" for number in range(60)} | {"manifests/00/a.json"}
    await asyncio.gather(*(blobs.put(key, b"x" * len(key)) for key in keys))
    listed = [info async for info in blobs.list("blobs/")]
    assert sorted(info.key for info in listed) == sorted(key for key in keys if key.startswith("blobs/"))
    assert all(info.size_bytes == len(info.key) and info.modified.utcoffset() is not None for info in listed)
    assert {info.key async for info in blobs.list("")} >= keys


async def test_listing_goes_on_after_its_first_page(blobs: BlobStore) -> None:
    keys = [f"many/{number:04}" for number in range(1100)]
    for start in range(0, len(keys), 100):
        await asyncio.gather(*(blobs.put(key, b"") for key in keys[start : start + 100]))
    assert sorted([info.key async for info in blobs.list("many/")]) == keys


async def test_listing_under_a_prefix_without_blobs_is_empty(blobs: BlobStore) -> None:
    assert [info async for info in blobs.list("nothing/here/")] == []


async def test_twenty_writers_of_one_blob_all_succeed(blobs: BlobStore) -> None:
    data = os.urandom(2 * MIB)
    await asyncio.gather(*(blobs.put("blobs/same", data) for _ in range(20)))
    assert await blobs.get("blobs/same") == data
    assert [info.size_bytes async for info in blobs.list("blobs/")] == [len(data)]


async def test_a_reader_beside_writers_sees_all_or_nothing(blobs: BlobStore) -> None:
    versions = [bytes([number]) * (3 * MIB + number) for number in range(4)]
    await blobs.put("one", versions[0])

    async def write() -> None:
        for data in versions * 3:
            await blobs.put("one", data)

    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(write())
        while not writing.done():
            assert await blobs.get("one") in versions


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".a", "a b", "é", "a\n", "a?b"])
async def test_what_is_no_key_is_refused(blobs: BlobStore, key: str) -> None:
    with pytest.raises(ValueError, match="not a blob key"):
        await blobs.put(key, b"")


async def test_a_signed_url_reads_a_range_without_credentials(blobs: BlobStore) -> None:
    await blobs.put("one", b"0123456789")
    url = blobs.sign_get("one", 60)
    if url is None:  # this store has no URLs
        return
    async with httpx.AsyncClient() as anyone:
        answer = await anyone.get(url, headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"234")


RIGHT, WRONG = b"0123456789", b"987654321!"


async def signed_put(blobs: BlobStore, body: bytes, **headers: str) -> int:
    """The status of a PUT of `body` to the URL for RIGHT under `one`; 0 where this store signs none."""
    signed = blobs.sign_put("one", len(RIGHT), hashlib.sha256(RIGHT).hexdigest(), 60)
    if signed is None:
        return 0
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient() as anyone:
        sent = {**signed.headers, "Content-Length": str(len(body)), **more}
        return (await anyone.put(signed.url, content=body, headers=sent)).status_code


@pytest.mark.parametrize("body", [WRONG, RIGHT + b"x", RIGHT[:-1], b""])
async def test_a_signed_url_writes_no_other_bytes_than_it_was_signed_for(blobs: BlobStore, body: bytes) -> None:
    assert await signed_put(blobs, body) in (0, 400, 403)
    assert await blobs.size("one") is None


async def test_a_signed_url_writes_once_and_never_over_what_is_there(blobs: BlobStore) -> None:
    if await signed_put(blobs, RIGHT) == 0:
        return
    assert await blobs.get("one") == RIGHT
    assert await signed_put(blobs, RIGHT) == 412
    assert await signed_put(blobs, WRONG) in (400, 403, 412)
    await blobs.put("one", b"by others")
    assert await signed_put(blobs, RIGHT) == 412
    assert await blobs.get("one") == b"by others"


@pytest.mark.parametrize(
    "header",
    [
        {"x_amz_copy_source": "/zoo-test/other"},
        {"x_amz_content_sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
        {"x_amz_meta_a": "b"},
        {"x_amz_checksum_sha256": "AAAA"},
        {"If_None_Match": "other"},
    ],
)
async def test_a_signed_url_takes_no_more_orders(blobs: BlobStore, header: dict[str, str]) -> None:
    assert await signed_put(blobs, RIGHT, **header) in (0, 400, 403)
    assert await blobs.size("one") is None
