"""A zoo with a history, and a backup of it."""

import asyncio
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelzoo.client import Client
from support.backups import backed_up, client_of
from zoo_store.blobs_memory import MemoryBlobStore


@dataclass
class Saved:
    """A zoo of the folder `zoo`, its bucket `store`, and a `backup` of it that has the versions `files`."""

    zoo: Path
    store: MemoryBlobStore
    backup: Path
    files: dict[str, dict[str, bytes]]

    def push(self, client: Client, reference: str, **files: bytes) -> str:
        """Publish; the reference of the version."""
        folder = self._folder("tree")
        for name, content in files.items():
            (folder / f"{name}.json").write_bytes(content)
        return client.push(folder, reference, create_namespace=True).reference

    def reads_back(self, client: Client) -> None:
        """Every version of the backup, byte for byte, from the store."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ZOO_CACHE", str(self._folder("cache")))
            pulled = {reference: client.pull(reference) for reference in self.files}
        for reference, files in self.files.items():
            assert {path.stem: path.read_bytes() for path in pulled[reference].glob("*.json")} == files

    def _folder(self, kind: str) -> Path:
        path = self.zoo.parent / f"{kind}-{uuid.uuid4().hex}"
        path.mkdir()
        return path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Made once; tests work on copies."""
    root = tmp_path_factory.mktemp("prepared")
    saved = Saved(root / "zoo", MemoryBlobStore(), root / "backup", {})
    with pytest.MonkeyPatch.context() as patch, client_of(saved.zoo, saved.store) as client:
        patch.setenv("ZOO_CACHE", str(root / "cache"))
        for model, files in {
            "team/m": {"weights": b"[1]" * 999, "config": b"{}"},
            "other/m": {"weights": b"[1]" * 999},
        }.items():
            saved.files[saved.push(client, model, **files)] = files
        client.set_alias("team/m", "prod", 1)
        asyncio.run(backed_up(saved.zoo, saved.store, saved.backup))
    return saved


@pytest.fixture
def saved(prepared: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Saved:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for folder in ("zoo", "backup"):
        shutil.copytree(prepared.zoo.parent / folder, tmp_path / folder)
    store = MemoryBlobStore()
    store._entries = dict(prepared.store._entries)
    return Saved(tmp_path / "zoo", store, tmp_path / "backup", dict(prepared.files))
