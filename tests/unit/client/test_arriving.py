"""A version's small files are there while its weights still come in."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from modelzoo.arriving import hold_arriving
from modelzoo.cache import NodeCache
from modelzoo.cache_contents import CacheContents
from modelzoo.channel import open_channel
from modelzoo.client import Client
from modelzoo.errors import ZooError
from support.front_door import FrontDoor
from support.published import CHAT
from support.weights import weights


@pytest.fixture
def channel(door: FrontDoor) -> Iterator[grpc.Channel]:
    with open_channel(door.url, "admin-key") as channel:
        yield channel


def test_small_files_are_given_while_weights_are_held_up(
    client: Client, door: FrontDoor, channel: grpc.Channel, tree: Callable[..., Path], tmp_path: Path
):
    digest = client.push(tree({**CHAT, "model.safetensors": weights(3 << 20)}), "team/m").digest
    go_on = threading.Event()
    seen: list[str] = []

    def hold_up(method: str) -> None:
        seen.append(method)
        if seen.count("ReadFile") > 2:  # config.json and README.md are through
            assert go_on.wait(20)

    door.on_answer = hold_up
    cache = NodeCache(tmp_path / "cache", 1 << 40)
    with hold_arriving(channel, cache, "team", digest, "team/m@1") as arriving:
        assert {path.name for path in arriving.early.iterdir()} == {"config.json", "README.md"}
        go_on.set()
        assert (arriving.whole() / "model.safetensors").stat().st_size > 3 << 20
    with hold_arriving(channel, cache, "team", digest) as arriving:
        assert arriving.early == arriving.whole()
    (model,) = CacheContents(cache.root, 1 << 40).listing().models
    assert model.names == ("team/m@1",)


def test_what_keeps_weights_from_coming_is_raised_where_they_are_waited_for(
    client: Client, door: FrontDoor, channel: grpc.Channel, tree: Callable[..., Path], tmp_path: Path
):
    digest = client.push(tree({**CHAT, "model.safetensors": weights(2 << 20)}), "team/m").digest
    cache = NodeCache(tmp_path / "cache", 1 << 20)
    with hold_arriving(channel, cache, "team", digest) as arriving, pytest.raises(ZooError) as caught:
        arriving.whole()
    assert caught.value.reason == "DISK_FULL"


def test_a_block_that_ends_early_does_not_wait_for_all_of_the_weights(
    client: Client, door: FrontDoor, channel: grpc.Channel, tree: Callable[..., Path], tmp_path: Path
):
    digest = client.push(tree({**CHAT, "model.safetensors": weights(*[2 << 20] * 8)}), "team/m").digest
    door.bytes_down = 0
    left = threading.Event()
    seen: list[str] = []

    def hold_up(method: str) -> None:
        seen.append(method)
        if seen.count("ReadFile") > 5:
            assert left.wait(20)

    door.on_answer = hold_up
    cache = NodeCache(tmp_path / "cache", 1 << 40)
    with hold_arriving(channel, cache, "team", digest):
        threading.Timer(0.2, left.set).start()
    assert door.bytes_down < 16 << 20
    assert len(cache.files()) == 2
