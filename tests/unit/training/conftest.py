"""The training service's parts on real artifact and catalog services."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.training_zoo import TrainingZoo, training_zoo
from zoo_store.sql import Database, open_database
from zoo_training.schema import metadata


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def zoo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TrainingZoo]:
    """One for all tests of a file: each uses names of its own."""
    async with training_zoo(tmp_path_factory.mktemp("zoo")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """With the service's tables."""
    async with open_database(f"sqlite:///{tmp_path}/training.db") as database:
        await make_tables(database)
        yield database


@pytest.fixture
async def any_database(database_url: str) -> AsyncIterator[Database]:
    """The same on every engine, for tests on a loop of their own."""
    async with open_database(database_url) as database:
        await make_tables(database)
        yield database


async def make_tables(database: Database) -> None:
    async with database.change_schema() as connection:
        await connection.run_sync(metadata.create_all)
