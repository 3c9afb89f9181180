import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.job_service import JobService, folder_in_memory, job_service


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the service's tables, to be copied: making them takes longer than most tests."""
    path = tmp_path_factory.mktemp("prepared") / "training.db"

    async def prepare() -> None:
        async with job_service(f"sqlite:///{path}"):
            pass

    asyncio.run(prepare())
    return path


@pytest.fixture
def sqlite_url(prepared: Path) -> Iterator[str]:
    """A database of this test's own, with the service's tables."""
    with folder_in_memory() as folder:
        yield f"sqlite:///{shutil.copy(prepared, folder / 'training.db')}"


@pytest.fixture
async def service(sqlite_url: str) -> AsyncIterator[JobService]:
    """On SQLite, with a queue in memory; the log of every job is checked at the end."""
    async with job_service(sqlite_url, migrated=True) as service:
        yield service
