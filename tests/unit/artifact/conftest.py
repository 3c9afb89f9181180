"""One artifact service a test, on blobs in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.artifact_server import ArtifactServer, Caller, artifact_server
from support.faulty_blobs import FaultyBlobs
from zoo_store.blobs_memory import MemoryBlobStore


@pytest.fixture
def store() -> FaultyBlobs:
    return FaultyBlobs(MemoryBlobStore())


@pytest.fixture
async def server(store: FaultyBlobs, tmp_path: Path) -> AsyncIterator[ArtifactServer]:
    async with artifact_server(store, tmp_path) as server:
        yield server


@pytest.fixture
def team(server: ArtifactServer) -> Caller:
    """A publisher of the namespace `team`, and of nothing else."""
    return server.caller()
