"""What docs/reference/storage.md promises about what is not known: later releases may add."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelzoo.errors import InvalidArgument
from modelzoo.manifest import Manifest
from support.artifact_server import ArtifactServer, artifact_server, manifest_of
from support.upkeep import AgedBlobs, age, kinds, swept
from zoo_artifact.keys import Visible, quarantine_key
from zoo_artifact.storage import Quarantine, Storage

ELSEWHERE = {f"later/ab/{'c' * 64}", "blobs2/x", "notes.txt"}
AMONG_OURS = {"namespaces/team/later", f"manifests/aa/{'a' * 64}.cbor"}


@pytest.fixture
def aged() -> AgedBlobs:
    return AgedBlobs()


@pytest.fixture
async def server(aged: AgedBlobs, tmp_path: Path) -> AsyncIterator[ArtifactServer]:
    async with artifact_server(aged, tmp_path) as server:
        yield server


async def test_keys_that_nobody_knows_are_left_alone_however_old(server: ArtifactServer, aged: AgedBlobs) -> None:
    for key in ELSEWHERE | AMONG_OURS:
        await aged.put(key, b"of a later release")
    await server.caller().push({"a": b"one"})
    await age(server.database, aged)
    await swept(server.upkeep)
    assert await kinds(server.upkeep, repair=True) == ["OBJECT_UNKNOWN"] * len(AMONG_OURS)
    assert {info.key async for info in aged.list("")} - {"clock/now"} == ELSEWHERE | AMONG_OURS


async def test_a_quarantine_with_members_of_a_later_release_is_one(aged: AgedBlobs) -> None:
    visible = Visible("team", "a" * 64)
    said = {"reason": "leaks", "subject": "user:eve", "version": 7, "until": "tomorrow"}
    await aged.put(quarantine_key(visible), json.dumps(said).encode())
    assert await Storage(aged).get_quarantine(visible) == Quarantine("leaks", "user:eve")


@pytest.mark.parametrize("change", [("manifest/1", "manifest/2"), ('"schema"', '"note":"x","schema"')])
def test_a_manifest_of_another_schema_or_with_other_members_is_refused(change: tuple[str, str]) -> None:
    data = manifest_of({"a": b"one"}).to_bytes().decode()
    with pytest.raises(InvalidArgument) as caught:
        Manifest.from_bytes(data.replace(*change).encode())
    assert caught.value.reason == "MANIFEST_INVALID"
