"""What a push really sends to S3, counted by a proxy in front of it; and that 300 MB come back byte for byte."""

import asyncio
import filecmp
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from modelzoo.client import Client
from modelzoo.errors import NotFound
from support.cluster import ZOO
from support.front_door import FrontDoor
from support.proxy import Proxy, proxy_before
from support.servers import S3Server
from support.waiting import eventually
from support.zoo_in_process import zoo_in_process
from zoo_store.blobs import BlobStore, S3Credentials, open_blobs

MIB = 1024 * 1024
TENSORS = 75
TENSOR_BYTES = 4 * MIB
HEADER_BYTES = 64 * 1024
MANIFEST_BYTES = 64 * 1024
# Blobs that the service keeps in memory, for all streams.
ON_THEIR_WAY = 12


def write_model(directory: Path, *, changed: int | None = None) -> Path:
    """300 MiB in 75 tensors of seeded noise; `changed` is the number of one that differs."""
    directory.mkdir()
    tensors: dict[str, numpy.ndarray] = {}
    for number in range(TENSORS):
        seed = 1000 if number == changed else number
        values = numpy.random.default_rng(seed).integers(0, 1 << 31, TENSOR_BYTES // 4, dtype=numpy.int32)
        tensors[f"layer.{number:02d}.weight"] = values
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text('{"model_type": "bert"}')
    return directory


@pytest.fixture
def counted_store(s3_server: S3Server, s3_url: str) -> Iterator[tuple[BlobStore, Proxy]]:
    """SeaweedFS behind a proxy, both on an event loop of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    async def enter() -> tuple[BlobStore, Proxy]:
        proxy = await stack.enter_async_context(proxy_before(int(s3_server.endpoint.rpartition(":")[2])))
        url = s3_url.replace(s3_server.endpoint, proxy.endpoint)
        credentials = S3Credentials(s3_server.access_key, s3_server.secret_key)
        return await stack.enter_async_context(open_blobs(url, credentials)), proxy

    try:
        yield asyncio.run_coroutine_threadsafe(enter(), loop).result(30)
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


@pytest.fixture
def counted(tmp_path: Path, counted_store: tuple[BlobStore, Proxy]) -> Iterator[tuple[FrontDoor, Proxy]]:
    store, proxy = counted_store
    folder = tmp_path / "services"
    folder.mkdir()
    with zoo_in_process(folder, store=store) as door:
        yield door, proxy


def test_a_changed_tensor_sends_itself_and_little_more(
    counted: tuple[FrontDoor, Proxy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door, proxy = counted
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    first, second = write_model(tmp_path / "first"), write_model(tmp_path / "second", changed=40)
    with Client(door.url, "admin-key") as client:
        client.create_namespace("team")
        client.push(first, "team/model")
        before = proxy.sent_bytes
        assert before > TENSORS * TENSOR_BYTES

        client.push(second, "team/model")

        assert proxy.sent_bytes - before <= TENSOR_BYTES + MIB + HEADER_BYTES + MANIFEST_BYTES
        for version, original in ((1, first), (2, second)):
            back = client.pull(f"team/model@{version}", tmp_path / f"back-{version}")
            names = [path.name for path in original.iterdir()]
            assert filecmp.cmpfiles(original, back, names, shallow=False) == (names, [], [])


async def test_a_push_that_was_killed_and_is_repeated_sends_what_was_missing(
    counted: tuple[FrontDoor, Proxy], tmp_path: Path
) -> None:
    door, proxy = counted
    model = write_model(tmp_path / "model")

    async def half_of_it_is_stored() -> bool:
        return proxy.sent_bytes > TENSORS * TENSOR_BYTES / 2

    with Client(door.url, "admin-key") as client:
        client.create_namespace("team")
        argv = [ZOO, "--url", door.url, "--key", "admin-key", "push", str(model), "team/model"]
        with subprocess.Popen(argv) as process:
            await eventually(half_of_it_is_stored, within_s=60)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        with pytest.raises(NotFound):
            client.version("team/model")
        stored = proxy.sent_bytes

        repeated = client.push(model, "team/model")

        # Those that were on their way when it died may go twice.
        assert repeated.bytes_sent <= TENSORS * TENSOR_BYTES - stored + ON_THEIR_WAY * TENSOR_BYTES
        assert proxy.sent_bytes <= (TENSORS + ON_THEIR_WAY) * TENSOR_BYTES
