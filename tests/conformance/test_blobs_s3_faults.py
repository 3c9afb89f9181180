"""An S3 store that fails is never read as one that has nothing: each fault is STORAGE_UNAVAILABLE, in bounded time."""

import asyncio
import dataclasses
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import pytest

from modelzoo.errors import Unavailable
from support.credulous_s3 import credulous_s3
from support.proxy import AnswerHttp, BlackHole, CutAfter, Pass, Proxy, Reset, proxy_before
from support.servers import S3Server
from zoo_store.blobs import BlobStore, S3Credentials, open_blobs
from zoo_store.blobs_s3 import S3BlobStore, S3Settings
from zoo_store.s3_requests import RetryBudget

# A busy machine answers within it.
READ_TIMEOUT_S = 2.0
DATA = os.urandom(300_000)
XML_ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code></Error>"

Call = Callable[[BlobStore], Awaitable[object]]


async def _list(blobs: BlobStore) -> list[object]:
    return [info async for info in blobs.list("")]


CALLS: dict[str, Call] = {
    "put": lambda blobs: blobs.put("one", DATA),
    "get": lambda blobs: blobs.get("one"),
    "read": lambda blobs: blobs.read("one", len),
    "get_range": lambda blobs: blobs.get("one", 1000, 200_000),
    "size": lambda blobs: blobs.size("one"),
    "delete": lambda blobs: blobs.delete("one"),
    "list": _list,
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
async def proxy(s3_server: S3Server) -> AsyncIterator[Proxy]:
    async with proxy_before(urlsplit(s3_server.endpoint).port) as proxy:
        yield proxy


@pytest.fixture
def settings(s3_url: str, proxy: Proxy) -> S3Settings:
    return dataclasses.replace(S3Settings.from_url(s3_url), endpoint=proxy.endpoint, read_timeout_s=READ_TIMEOUT_S)


@pytest.fixture
def credentials(s3_server: S3Server) -> S3Credentials:
    return S3Credentials(s3_server.access_key, s3_server.secret_key)


@pytest.fixture
async def blobs(settings: S3Settings, credentials: S3Credentials) -> AsyncIterator[S3BlobStore]:
    async with S3BlobStore.open(settings, credentials) as store:
        await store.put("one", DATA)
        yield store


async def assert_unavailable(doing: Awaitable[object]) -> None:
    with pytest.raises(Unavailable) as caught:
        await doing
    assert caught.value.reason == "STORAGE_UNAVAILABLE"
    assert "127.0.0.1" not in caught.value.message


@every_call
@pytest.mark.parametrize("status", [403, 500, 503])
async def test_an_error_status_is_unavailable(blobs: S3BlobStore, proxy: Proxy, call: Call, status: int) -> None:
    proxy.fault = AnswerHttp(status, XML_ERROR % b"SlowDown")
    await assert_unavailable(call(blobs))
    proxy.fault = Pass()
    await call(blobs)


def test_f17_a_store_that_refuses_everything_is_asked_half_as_often_again_at_most() -> None:
    budget = RetryBudget(burst=2)
    spent = 0
    for _ in range(100):
        budget.earn()
        while budget.spend():
            spent += 1
    assert 49 <= spent <= 100 * RetryBudget.PER_REQUEST + 2


@pytest.mark.parametrize("body", [b"", b"<html>no route</html>", XML_ERROR % b"NoSuchBucket"])
@every_call
async def test_a_404_that_names_no_key_is_not_absence(
    blobs: S3BlobStore, proxy: Proxy, call: Call, body: bytes
) -> None:
    proxy.fault = AnswerHttp(404, body)
    await assert_unavailable(call(blobs))


@every_call
async def test_a_store_that_never_answers_is_unavailable_in_time(blobs: S3BlobStore, proxy: Proxy, call: Call) -> None:
    proxy.fault = BlackHole()
    started = time.monotonic()
    await assert_unavailable(call(blobs))
    assert time.monotonic() - started < READ_TIMEOUT_S * 4


@pytest.mark.parametrize("kept_bytes", [0, 10, len(DATA) - 1])
async def test_a_write_of_which_the_store_kept_a_part_is_not_believed(
    blobs: S3BlobStore, proxy: Proxy, kept_bytes: int
) -> None:
    proxy.fault = AnswerHttp(200, DATA[:kept_bytes])  # to the write, and to the question how much there is
    await assert_unavailable(blobs.put("two", DATA))


async def test_s9_what_a_store_that_checks_nothing_kept_otherwise_is_not_believed() -> None:
    with credulous_s3() as endpoint:
        async with open_blobs(f"s3://b?endpoint={endpoint}", S3Credentials("a", "b")) as store:
            await store.put("sound", DATA)
            assert await store.get("sound") == DATA
            await assert_unavailable(store.put("damaged", DATA))


async def test_s9_a_store_is_asked_at_start_whether_it_checks_what_it_takes(blobs: S3BlobStore) -> None:
    assert blobs.quirks is not None
    assert blobs.quirks.checked_put


@every_call
async def test_a_reset_connection_is_unavailable(blobs: S3BlobStore, proxy: Proxy, call: Call) -> None:
    proxy.fault = Reset()
    await assert_unavailable(call(blobs))


@pytest.mark.parametrize("answer_bytes", [10, 1000, len(DATA)])
async def test_a_body_that_breaks_off_under_status_200_is_unavailable(
    blobs: S3BlobStore, proxy: Proxy, answer_bytes: int
) -> None:
    proxy.fault = CutAfter(answer_bytes)
    await assert_unavailable(blobs.get("one"))
    proxy.fault = CutAfter(answer_bytes * 2 // 3)
    await assert_unavailable(blobs.get("one", 1000, 200_000))


async def test_a_slow_store_that_keeps_answering_is_not_given_up(blobs: S3BlobStore, proxy: Proxy) -> None:
    proxy.fault = Pass(delay_s=READ_TIMEOUT_S / 4)
    assert await blobs.get("one") == DATA


async def test_a_connection_closed_while_idle_is_replaced_unnoticed(blobs: S3BlobStore, proxy: Proxy) -> None:
    accepted = proxy.connections
    await proxy.close()
    assert await blobs.get("one") == DATA
    assert proxy.connections == accepted + 1


async def test_nothing_listening_is_unavailable_at_once(settings: S3Settings, credentials: S3Credentials) -> None:
    nobody = dataclasses.replace(settings, endpoint="http://127.0.0.1:1")
    with pytest.raises(Unavailable) as caught:
        async with S3BlobStore.open(nobody, credentials):
            pass
    assert caught.value.reason == "STORAGE_UNAVAILABLE"


async def test_wrong_keys_are_found_at_start(s3_url: str, s3_server: S3Server) -> None:
    with pytest.raises(Unavailable, match="answered 403"):
        async with open_blobs(s3_url, S3Credentials(s3_server.access_key, "wrong")):
            pass


async def test_a_stuck_store_leaves_the_loop_free(blobs: S3BlobStore, proxy: Proxy) -> None:
    proxy.fault = BlackHole()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(assert_unavailable(blobs.get("one"))) for _ in range(40)]
        await asyncio.sleep(0)
        # A call that had kept the loop would have come to its end by now.
        assert not any(task.done() for task in tasks)


def test_a_secret_key_is_not_printed() -> None:
    assert "hidden" not in repr(S3Credentials("name", "hidden"))


@pytest.mark.parametrize(
    "url", ["s3://", "http://bucket/x", "s3://bucket?endpiont=x", "s3://bucket?addressing=dns", "bucket"]
)
def test_a_url_with_a_mistake_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="an S3 URL is"):
        S3Settings.from_url(url)


def test_a_url_sets_bucket_prefix_and_how_to_ask() -> None:
    settings = S3Settings.from_url("s3://zoo/a/b/?endpoint=http://127.0.0.1:1234&region=eu-west-1")
    assert settings == S3Settings("zoo", "a/b", "http://127.0.0.1:1234", "eu-west-1", "path")
    assert S3Settings.from_url("s3://zoo").addressing == "virtual"
