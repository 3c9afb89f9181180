"""Directories up and down again, through the real services."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from modelzoo.channel import open_channel
from modelzoo.client import Client
from modelzoo.errors import InvalidArgument, NotFound
from modelzoo.upload import Base
from support.front_door import FrontDoor
from support.weights import weights
from zoo_trainer.pushing import ArtifactPushes

Tree = Callable[..., Path]
MIB = 1024 * 1024

ODD = {
    "empty": b"",
    "with space/and ünïcode/名前.txt": "größe".encode(),
    "a/b/c/d/deep.json": b"{}",
    "same-1.bin": b"same" * 1000,
    "same-2.bin": b"same" * 1000,
    "model.safetensors": weights(2 * MIB, 10, 20, 3 * MIB),
}


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_odd_directory_comes_back_byte_for_byte(client: Client, tree: Tree, tmp_path: Path):
    pushed = client.push(tree(ODD), "team/odd")
    assert pushed.reference == "team/odd@1"
    assert pushed.bytes_total == sum(map(len, ODD.values()))
    assert contents(client.pull("team/odd", tmp_path / "back")) == ODD
    assert contents(client.pull(f"team/odd@sha256:{pushed.digest}")) == ODD


def test_pushing_the_same_again_sends_nothing_and_publishes_nothing(client: Client, tree: Tree):
    root = tree(ODD)
    first, second = client.push(root, "team/odd"), client.push(root, "team/odd")
    assert (second.reference, second.digest, second.bytes_sent) == (first.reference, first.digest, 0)


def test_one_changed_tensor_sends_that_tensor_alone(client: Client, door: FrontDoor, tree: Tree):
    root = tree({"model.safetensors": weights(5 * MIB, 5 * MIB, 5 * MIB)})
    client.push(root, "team/m")
    content = bytearray((root / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (root / "model.safetensors").write_bytes(content)
    before = door.bytes_up
    pushed = client.push(root, "team/m")
    assert (pushed.reference, pushed.bytes_sent) == ("team/m@2", 5 * MIB)
    assert door.bytes_up - before < 5 * MIB + 4096


def test_base_in_another_namespace_saves_sending(client: Client, tree: Tree):
    client.create_namespace("other")
    root = tree({"model.safetensors": weights(5 * MIB)})
    client.push(root, "team/m")
    pushed = client.push(root, "other/m", bases=["team/m"])
    assert pushed.bytes_sent == 0
    assert contents(client.pull("other/m")) == contents(root)


def test_push_broken_off_in_mid_stream_goes_on_by_itself(client: Client, door: FrontDoor, tree: Tree):
    root = tree({"model.safetensors": weights(*[2 * MIB] * 10)})
    door.cut_after, door.cuts = {"WriteBlobs": 4}, 1
    pushed = client.push(root, "team/m")
    assert door.cuts == 0
    assert door.requests["FindMissingBlobs"] >= 2
    assert contents(client.pull("team/m")) == contents(root)
    assert pushed.bytes_sent >= pushed.bytes_total


def test_what_a_checkpoint_sent_twice_is_not_new(client: Client, door: FrontDoor, tree: Tree):
    client.push(tree({"model.safetensors": weights(100)}, "base"), "team/m")
    base = Base("team", client.version("team/m").manifest_digest)
    folder = tree({"model.safetensors": weights(*range(2 * MIB, 2 * MIB + 10))}, "checkpoint")
    door.cut_after, door.cuts = {"WriteBlobs": 4}, 1
    with open_channel(door.url, "admin-key") as channel:
        pushed = ArtifactPushes(channel, "team", base).push(folder, "transformers")
    assert (door.cuts, pushed.sent_bytes) == (0, pushed.size_bytes)


def test_push_killed_half_way_sends_only_what_was_missing_when_repeated(client: Client, door: FrontDoor, tree: Tree):
    root = tree({"model.safetensors": weights(*[2 * MIB] * 10)})
    half_way, killed = threading.Event(), threading.Event()
    door.on_answer = lambda method: hold_after(5, door, half_way, killed) if method == "WriteBlobs" else None
    # What has not been answered yet may be stored, too: of the last tensors nothing arrives.
    door.on_request = lambda method: killed.wait(30) if door.bytes_up > 8 * 2 * MIB else None
    zoo = [str(Path(sys.executable).with_name("zoo")), "--url", door.url, "--key", "admin-key"]
    with subprocess.Popen([*zoo, "push", str(root), "team/m"]) as process:
        assert half_way.wait(30)
        process.kill()
    killed.set()
    with pytest.raises(NotFound):
        client.version("team/m")
    pushed = client.push(root, "team/m")
    assert 0 < pushed.bytes_sent <= pushed.bytes_total - 5 * 2 * MIB
    assert contents(client.pull("team/m")) == contents(root)


def test_what_a_progress_raises_ends_the_push(client: Client, tree: Tree):
    class Refuses(Counting):
        def advance(self, count_bytes: int) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        client.push(tree(ODD), "team/odd", progress=Refuses())


def test_progress_adds_up_to_the_total_even_where_streams_break(client: Client, door: FrontDoor, tree: Tree):
    progress = Counting()
    door.cut_after, door.cuts = {"WriteBlobs": 2, "ReadFile": 3}, 1
    client.push(tree(ODD), "team/odd", progress=progress)
    assert progress.done == progress.total == sum(map(len, ODD.values()))
    door.cuts = 1
    progress = Counting()
    pulled = client.download("team/odd", progress=progress)
    assert door.cuts == 0
    assert progress.done == progress.total == pulled.bytes_total


def test_pull_receives_only_what_the_cache_lacks(client: Client, tree: Tree):
    first = {"a.bin": b"a" * 100_000, "b.bin": b"b" * 100_000}
    client.push(tree(first, "one"), "team/m")
    client.push(tree({**first, "b.bin": b"c" * 50_000}, "two"), "team/m")
    assert client.download("team/m@1").bytes_received == 200_000
    assert client.download("team/m@2").bytes_received == 50_000
    assert client.download("team/m@2").bytes_received == 0


def test_pull_of_chosen_files_brings_those_alone(client: Client, tree: Tree, tmp_path: Path):
    client.push(tree(ODD), "team/odd")
    pulled = client.download("team/odd", tmp_path / "some", only=["*.json", "empty"])
    assert sorted(contents(pulled.path)) == ["a/b/c/d/deep.json", "empty"]
    with pytest.raises(NotFound, match="No file of this version"):
        client.download("team/odd", only=["*.onnx"])


def test_pull_into_a_directory_refuses_to_replace_what_it_did_not_write(client: Client, tree: Tree, tmp_path: Path):
    client.push(tree({"a": b"1", "b": b"2"}), "team/m")
    mine = tree({"a": b"mine", "c": b"3"}, "mine")
    with pytest.raises(InvalidArgument) as caught:
        client.pull("team/m", mine)
    assert caught.value.reason == "LOCAL_PATH_INVALID"
    assert contents(mine) == {"a": b"mine", "c": b"3"}
    client.download("team/m", mine, force=True)
    assert contents(mine) == {"a": b"1", "b": b"2", "c": b"3"}
    client.pull("team/m", mine)


def test_writing_to_a_pulled_directory_leaves_the_cache_alone(client: Client, tree: Tree, tmp_path: Path):
    client.push(tree({"a": b"1"}), "team/m")
    (client.pull("team/m", tmp_path / "mine") / "a").write_bytes(b"changed")
    assert (client.pull("team/m") / "a").read_bytes() == b"1"


def test_file_that_changes_while_it_is_pushed_stops_the_push(client: Client, tree: Tree):
    root = tree({"a.bin": b"a" * 3 * MIB, "z.bin": b"z"})
    written = threading.Event()

    class WritesMeanwhile:
        def start(self, total_bytes: int) -> None: ...
        def skip(self, count_bytes: int) -> None: ...
        def advance(self, count_bytes: int) -> None:
            if not written.is_set():
                written.set()
                (root / "a.bin").write_bytes(b"b" * 3 * MIB)

    with pytest.raises(InvalidArgument) as caught:
        client.push(root, "team/m", progress=WritesMeanwhile())
    assert caught.value.reason == "LOCAL_PATH_INVALID"
    assert "a.bin" in caught.value.message


def test_push_makes_model_and_namespace_and_moves_the_alias(client: Client, tree: Tree):
    client.push(tree({"a": b"1"}), "fresh/m", create_namespace=True, alias="prod", source="made here")
    assert client.version("fresh/m@prod").source == "made here"
    assert [target.version for target in client.alias("fresh/m", "prod").targets] == [1]


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


def hold_after(count: int, door: FrontDoor, reached: threading.Event, released: threading.Event) -> None:
    """Let so many answers pass, then say so and hold the next until it is released."""
    door.answers += 1
    if door.answers == count + 1:
        reached.set()
        released.wait(30)
