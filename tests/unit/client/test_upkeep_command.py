"""`zoo sweep`, `zoo fsck` and `zoo usage`: what they print, and how they end."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from typer.testing import Result

from modelzoo.client import Client
from modelzoo.errors import FailedPrecondition, PermissionDenied
from support.front_door import FrontDoor
from support.zoo_in_process import zoo_in_process
from zoo_store.blobs_memory import MemoryBlobStore

Tree = Callable[..., Path]
Zoo = Callable[..., Result]


@pytest.fixture
def store() -> MemoryBlobStore:
    return MemoryBlobStore()


@pytest.fixture
def door(tmp_path: Path, store: MemoryBlobStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[FrontDoor]:
    services = tmp_path / "services"
    services.mkdir()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    with zoo_in_process(services, store=store) as door:
        yield door


@pytest.fixture
def pushed(client: Client, tree: Tree) -> str:
    return client.push(tree({"a.bin": b"a" * 1000, "b.bin": b"a" * 1000}), "team/m").digest


@pytest.mark.usefixtures("pushed")
def test_usage_shows_logical_and_stored_bytes(zoo: Zoo) -> None:
    shown = zoo("usage").stdout.splitlines()
    assert shown[0].split() == ["NAMESPACE", "MANIFESTS", "LOGICAL", "BLOBS", "STORED", "ITS", "ALONE"]
    assert shown[1].split() == ["team", "1", "2.0", "kB", "1", "1.0", "kB", "1.0", "kB"]
    one = json.loads(zoo("usage", "team", "--json").stdout)
    assert (one["logical_bytes"], one["physical_bytes"], one["exclusive_bytes"]) == (2000, 1000, 1000)


@pytest.mark.usefixtures("pushed")
def test_a_sweep_says_what_it_freed_and_what_is_held_stays(zoo: Zoo, client: Client) -> None:
    assert "0 B would be free" in zoo("sweep", "--dry-run").stdout
    assert json.loads(zoo("sweep", "--json").stdout)["deleted_blobs"] == 0
    assert client.pull("team/m").is_dir()


@pytest.mark.usefixtures("pushed")
def test_frozen_a_sweep_is_refused_with_the_reason_until_it_is_let_go_on(zoo: Zoo, client: Client) -> None:
    assert "moving house" in zoo("sweep", "--freeze", "--reason", "moving house").stdout
    refused = zoo("sweep")
    assert (refused.exit_code, "moving house" in refused.stderr, "--unfreeze" in refused.stderr) == (6, True, True)
    with pytest.raises(FailedPrecondition):
        client.upkeep.sweep()
    assert zoo("sweep", "--unfreeze").stdout.startswith("sweeping is on")
    assert zoo("sweep").exit_code == 0
    assert zoo("sweep", "--dry-run", "--status").exit_code == 2


@pytest.mark.usefixtures("pushed")
def test_fsck_ends_with_7_until_what_it_found_is_mended(
    zoo: Zoo, client: Client, tree: Tree, store: MemoryBlobStore
) -> None:
    sound = zoo("fsck", "--full", "--json")
    assert (sound.exit_code, json.loads(sound.stdout)["findings"]) == (0, [])
    digest = blake3(b"a" * 1000).hexdigest()
    asyncio.run(store.delete(f"blobs/{digest[:2]}/{digest}"))
    found = zoo("fsck")
    assert (found.exit_code, "blob missing" in found.stdout, digest in found.stdout) == (7, True, True)
    assert json.loads(zoo("fsck", "--repair", "--json").stdout)["findings"][0]["repaired"]
    assert zoo("fsck").exit_code == 7
    client.push(tree({"a.bin": b"a" * 1000, "b.bin": b"a" * 1000}), "team/m")
    assert zoo("fsck").exit_code == 0


@pytest.mark.usefixtures("pushed")
def test_after_a_rebuild_of_the_index_holders_are_waited_for(zoo: Zoo, client: Client) -> None:
    rebuilt = client.upkeep.rebuild_index()
    assert (rebuilt.manifest_count, rebuilt.sweeping.awaited_holders) == (1, ("service:catalog",))
    assert "service:catalog" in zoo("sweep", "--status").stdout
    assert client.upkeep.confirm_pins(rebuilt.sweeping.index_id, "service:catalog").reason == ""


def test_upkeep_is_for_admins_of_the_cluster(door: FrontDoor, zoo: Zoo, client: Client) -> None:
    with Client(door.url, "viewer-key") as viewer:
        assert viewer.upkeep.usage("team").manifest_count == 0
        for refused in (viewer.upkeep.sweep, viewer.upkeep.check, viewer.upkeep.usages):
            with pytest.raises(PermissionDenied):
                refused()
