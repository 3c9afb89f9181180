"""Push and pull straight to and from SeaweedFS, and over a bad way there: the right bytes arrive anyhow."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from modelzoo import object_store
from modelzoo.client import Client
from support.front_door import FrontDoor
from support.proxy import AnswerHttp, BlackHole, CutAfter, Fault, FlipBit, Pass, Proxy, Reset, proxy_before
from support.servers import S3Server
from support.weights import weights
from support.zoo_in_process import zoo_in_process
from zoo_store.blobs import BlobStore, S3Credentials, open_blobs

MIB = 1024 * 1024
CONTENT = {"config.json": b"{}", "model.safetensors": weights(3 * MIB, 5 * MIB, 10, 2 * MIB)}
LARGE_BYTES = 10 * MIB

FAULTS: dict[str, Fault] = {
    "reset": Reset(),
    "silent": BlackHole(),
    "cut": CutAfter(200_000),
    "flipped": FlipBit(),
    "403": AnswerHttp(403),
    "500": AnswerHttp(500),
    "503": AnswerHttp(503),
    "200 and nothing done": AnswerHttp(200),
}
every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


@pytest.fixture
def direct_store(s3_server: S3Server, s3_url: str) -> Iterator[tuple[BlobStore, Proxy]]:
    """SeaweedFS; clients reach it by a proxy, the service does not. On an event loop of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    async def enter() -> tuple[BlobStore, Proxy]:
        proxy = await stack.enter_async_context(proxy_before(int(s3_server.endpoint.rpartition(":")[2])))
        credentials = S3Credentials(s3_server.access_key, s3_server.secret_key)
        return await stack.enter_async_context(open_blobs(s3_url, credentials, proxy.endpoint)), proxy

    try:
        yield asyncio.run_coroutine_threadsafe(enter(), loop).result(30)
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


@pytest.fixture
def proxy(direct_store: tuple[BlobStore, Proxy]) -> Proxy:
    return direct_store[1]


@pytest.fixture
def door(tmp_path: Path, direct_store: tuple[BlobStore, Proxy], monkeypatch: pytest.MonkeyPatch) -> Iterator[FrontDoor]:
    services = tmp_path / "services"
    services.mkdir()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    with zoo_in_process(services, store=direct_store[0]) as door:
        yield door


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_large_blobs_pass_the_service_by_both_ways(
    client: Client, door: FrontDoor, proxy: Proxy, tree: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    pushed = client.push(tree(CONTENT), "team/m")
    assert door.bytes_up < MIB
    assert proxy.sent_bytes > LARGE_BYTES
    assert pushed.bytes_sent == pushed.bytes_total
    pulled = client.download("team/m")
    assert contents(pulled.path) == CONTENT
    assert pulled.bytes_received == pulled.bytes_total
    assert door.requests["ReadFile"] == 1  # config.json
    assert client.push(tree(CONTENT), "team/m").bytes_sent == 0


@every_fault
def test_push_arrives_whole_over_a_bad_way(
    client: Client, proxy: Proxy, tree: Callable[..., Path], fault: Fault
) -> None:
    progress = Counting()
    proxy.fault = fault
    started = time.monotonic()
    client.push(tree(CONTENT), "team/m", progress=progress)
    assert time.monotonic() - started < 60
    assert progress.done == progress.total
    proxy.fault = Pass()
    assert contents(client.pull("team/m")) == CONTENT


# Not silence: a store that answered before is waited for.
@pytest.mark.parametrize("fault", [fault for name, fault in FAULTS.items() if name != "silent"])
def test_pull_arrives_whole_over_a_bad_way(
    client: Client, proxy: Proxy, tree: Callable[..., Path], fault: Fault
) -> None:
    client.push(tree(CONTENT), "team/m")
    progress = Counting()
    proxy.fault = fault
    started = time.monotonic()
    pulled = client.download("team/m", progress=progress)
    assert time.monotonic() - started < 60
    assert contents(pulled.path) == CONTENT
    assert progress.done == progress.total


def test_a_read_that_breaks_off_goes_on_where_it_was(
    client: Client, door: FrontDoor, proxy: Proxy, tree: Callable[..., Path]
) -> None:
    client.push(tree(CONTENT), "team/m")
    proxy.fault = CutAfter(700_000)
    pulled = client.download("team/m")
    assert contents(pulled.path) == CONTENT
    assert door.requests["ReadFile"] == 1
    assert pulled.bytes_received < pulled.bytes_total + MIB


def test_a_store_that_is_out_of_reach_is_asked_once(
    client: Client, door: FrontDoor, proxy: Proxy, tree: Callable[..., Path], tmp_path: Path
) -> None:
    client.push(tree(CONTENT), "team/m")
    proxy.fault = Reset()
    client.pull("team/m", tmp_path / "one")
    asked = proxy.connections
    client.push(tree({"a.bin": bytes(2 * MIB)}, "more"), "team/more")
    client.pull("team/more", tmp_path / "two")
    assert proxy.connections == asked
    assert object_store.is_off(proxy.endpoint)
    assert door.requests["ReadFile"] > 1


class Counting:
    def __init__(self) -> None:
        self.total = self.done = 0
        self._lock = threading.Lock()

    def start(self, total_bytes: int) -> None:
        self.total = total_bytes

    def skip(self, count_bytes: int) -> None:
        self.advance(count_bytes)

    def advance(self, count_bytes: int) -> None:
        with self._lock:
            self.done += count_bytes
