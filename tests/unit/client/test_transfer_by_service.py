"""Push and pull through the service, over a bad way from it to SeaweedFS: the right bytes arrive anyhow, or it is told.

Straight ways to the store have test_direct_transfer; what the service itself answers, test_damage.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import random
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelzoo.cache import NodeCache
from modelzoo.client import Client
from modelzoo.errors import DataLoss, NotFound, ZooError
from modelzoo.progress import Silence
from support.artifact_server import digest_of
from support.faulty_s3 import Fault, FaultyS3, at, faulty_s3, healthy, times
from support.front_door import FrontDoor
from support.s3_faults import (
    answers,
    cuts_answer,
    empties_answer,
    flips_answer,
    flips_request,
    loses_answer,
    loses_request,
    shortens_answer,
    shortens_request,
    some_of,
)
from support.servers import S3Server
from support.weights import weights
from support.zoo_in_process import zoo_in_process
from zoo_artifact.keys import blob_key
from zoo_store.blobs import S3Credentials
from zoo_store.blobs_s3 import S3BlobStore, S3Settings

MIB = 1024 * 1024
# More than a request is repeated by the service itself.
A_WHILE = 6

READING: dict[str, Fault] = {
    "s17 flipped bits": flips_answer,
    "f19 bodies cut at n-1 bytes": cuts_answer,
    "s12 bodies of n-1 bytes as if that were all": shortens_answer,
    "f21 objects of no bytes": empties_answer,
    "404 that name no key": answers(404),
    "500": answers(500),
    "f17 503": answers(503),
    "connections that close": loses_request,
}
WRITING: dict[str, Fault] = {
    "s9 flipped bits": flips_request,
    "s9 bodies cut at n-1 bytes": shortens_request,
    "500": answers(500),
    "f17 503": answers(503),
    "s9 200 and nothing done": answers(200),
    "connections that close": loses_request,
    "f22 replies that are lost": loses_answer,
}

Tree = Callable[..., Path]


@dataclass(frozen=True, slots=True)
class Standing:
    door: FrontDoor
    s3: FaultyS3


@pytest.fixture(scope="module")
def standing(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A zoo whose artifact service reaches SeaweedFS by a way that can be made bad, with the namespace `team`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    async def enter() -> tuple[FaultyS3, S3BlobStore]:
        s3 = await stack.enter_async_context(faulty_s3(s3_server.endpoint))
        url = f"s3://zoo-test/{uuid.uuid4().hex}?endpoint={s3.endpoint}"
        settings = dataclasses.replace(S3Settings.from_url(url), read_timeout_s=2.0)
        credentials = S3Credentials(s3_server.access_key, s3_server.secret_key)
        return s3, await stack.enter_async_context(S3BlobStore.open(settings, credentials))

    try:
        s3, store = asyncio.run_coroutine_threadsafe(enter(), loop).result(30)
        with zoo_in_process(tmp_path_factory.mktemp("services"), store=store) as door:
            with Client(door.url, "admin-key") as client:
                client.create_namespace("team")
            yield Standing(door, s3)
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


@pytest.fixture
def s3(standing: Standing) -> FaultyS3:
    standing.s3.fault, standing.s3.requests = healthy, 0
    return standing.s3


@pytest.fixture
def client(standing: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The administrator's, with an empty cache."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    with Client(standing.door.url, "admin-key") as client:
        yield client


@pytest.fixture
def model() -> str:
    return f"team/{uuid.uuid4().hex}"


def some_content() -> dict[str, bytes]:
    return {"config.json": b"{}", "notes.txt": os.urandom(10_000), "model.safetensors": weights(MIB, 10, MIB)}


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("fault", WRITING.values(), ids=WRITING)
def test_a_push_survives_a_while_of(client: Client, s3: FaultyS3, tree: Tree, model: str, fault: Fault) -> None:
    content = some_content()
    s3.fault = at("PUT", "", times(A_WHILE, fault))
    client.push(tree(content), model)
    s3.fault = healthy
    assert contents(client.pull(model)) == content


@pytest.mark.parametrize("fault", READING.values(), ids=READING)
def test_a_pull_brings_right_bytes_or_an_error_after_a_while_of(
    client: Client, s3: FaultyS3, tree: Tree, model: str, fault: Fault
) -> None:
    content = some_content()
    client.push(tree(content), model)
    s3.fault = at("GET", "/blobs/", times(A_WHILE, fault))
    if fault in (flips_answer, shortens_answer, empties_answer):
        with pytest.raises(DataLoss, match="push the files again"):
            client.pull(model)
        s3.fault = healthy
    assert contents(client.pull(model)) == content


def test_f17_three_requests_of_ten_refused_cost_not_much_more_and_all_arrives(
    client: Client, s3: FaultyS3, tree: Tree, model: str, tmp_path: Path
) -> None:
    def push_and_pull(name: str) -> int:
        s3.requests = 0
        content = {f"{number}.bin": os.urandom(20_000) for number in range(40)}
        client.push(tree(content, name), f"{model}-{name}")
        assert contents(client.pull(f"{model}-{name}", tmp_path / f"back-{name}")) == content
        return s3.requests

    healthy_requests = push_and_pull("healthy")
    s3.fault = some_of(0.3, random.Random(1).random, answers(503))
    assert push_and_pull("refused") <= 1.6 * healthy_requests


def test_f20_a_damaged_blob_is_told_never_cached_and_the_next_push_mends_it(
    client: Client, s3: FaultyS3, tree: Tree, model: str, tmp_path: Path
) -> None:
    content = some_content()
    client.push(tree(content), model)
    notes = blob_key(digest_of(content["notes.txt"]))
    s3.fault = at("GET", notes, flips_answer)
    with pytest.raises(DataLoss) as caught:
        client.pull(model)
    assert caught.value.reason == "BLOB_CORRUPT"
    s3.fault = healthy
    sha256 = hashlib.sha256(content["notes.txt"]).hexdigest()
    assert sha256 not in NodeCache(tmp_path / "cache", 1 << 30).files()
    assert client.push(tree(content), model).bytes_sent >= len(content["notes.txt"])
    assert contents(client.pull(model)) == content


def test_nothing_is_seen_of_a_push_whose_manifest_cannot_be_stored(
    client: Client, s3: FaultyS3, tree: Tree, model: str
) -> None:
    content = some_content()
    s3.fault = at("PUT", "/manifests/", answers(500))
    with pytest.raises(ZooError) as caught:
        client.push(tree(content), model)
    assert caught.value.reason == "STORAGE_UNAVAILABLE"
    with pytest.raises(NotFound):
        client.version(model)
    s3.fault = healthy
    assert client.push(tree(content), model).bytes_sent == 0
    assert contents(client.pull(model)) == content


def test_s18_a_pull_broken_off_at_ten_moments_goes_on_and_fetches_little_twice(
    client: Client, tree: Tree, model: str
) -> None:
    content = {f"{number}.bin": os.urandom(50_000) for number in range(100)}
    client.push(tree(content), model)
    total, dice, fetched = sum(map(len, content.values())), random.Random(18), 0
    for _ in range(10):
        broken_off = BreaksOff(dice.randrange(1, total // 10))
        with contextlib.suppress(KeyboardInterrupt):
            client.pull(model, progress=broken_off)
        fetched += broken_off.received
    last = client.download(model)
    assert contents(last.path) == content
    assert total <= fetched + last.bytes_received <= 1.1 * total


class BreaksOff(Silence):
    """Ctrl-C after so many bytes."""

    def __init__(self, after_bytes: int) -> None:
        self._after_bytes = after_bytes
        self.received = 0

    def advance(self, count_bytes: int) -> None:
        self.received += max(0, count_bytes)
        if self.received >= self._after_bytes:
            raise KeyboardInterrupt
