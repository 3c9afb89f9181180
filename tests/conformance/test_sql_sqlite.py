"""What is SQLite's own in the promises of `test_sql`: a file that one process has."""

import asyncio
import gc
import sqlite3
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Executable, MetaData, String, Table, insert, select, text

from modelzoo.errors import ResourceExhausted, Unavailable
from zoo_store.sql import Database, open_database
from zoo_store.sqlite import DatabaseInUse, SqliteDriver

metadata = MetaData()
models = Table("models", metadata, Column("name", String(20), primary_key=True))


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/zoo.db"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as database:
        async with database.write() as connection:
            await connection.run_sync(metadata.create_all)
        yield database


async def write(database: Database, *statements: Executable) -> None:
    async with database.write() as connection:
        for statement in statements:
            await connection.execute(statement)


def model(name: str) -> Executable:
    return insert(models).values(name=name)


async def names(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.scalars(select(models.c.name).order_by(models.c.name))).all())


async def test_a_full_disk_is_said(database: Database) -> None:
    async with database.write() as connection:
        pages = await connection.scalar(text("PRAGMA page_count"))
        await connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(ResourceExhausted) as caught:
        await write(database, *(model(f"{number:020}") for number in range(1000)))
    assert caught.value.reason == "DISK_FULL"
    assert await names(database) == []


async def test_a_statement_that_outlives_its_caller_leaves_no_connection_open(database_url: str) -> None:
    asked: list[asyncio.Task[None]] = []
    async with open_database(database_url) as database:
        for transaction in (database.read, database.write):
            count = (
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT max(i) FROM n"
            )
            begun = asyncio.Event()

            async def ask(transaction: Any = transaction, begun: asyncio.Event = begun, query: str = count) -> None:
                async with transaction() as connection:
                    begun.set()
                    await connection.execute(text(query))

            asking = asyncio.create_task(ask())
            await begun.wait()
            asking.cancel()
            asked.append(asking)
    await asyncio.wait(asked)
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always", ResourceWarning)
        gc.collect()
    assert [str(warning.message) for warning in left] == []


async def test_a_second_process_is_refused(database_url: str, database: Database) -> None:
    with pytest.raises(DatabaseInUse, match="another process uses the database"):
        async with open_database(database_url):
            pass


async def test_a_database_that_others_hold_is_unavailable(database_url: str, database: Database) -> None:
    with sqlite3.connect(database_url.removeprefix("sqlite:///")) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        assert isinstance(database._driver, SqliteDriver)
        async with database._driver.writers.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            await driver.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(Unavailable) as caught:
            await write(database, model("a"))
    foreign.close()
    assert caught.value.reason == "DEPENDENCY_UNAVAILABLE"
    await write(database, model("b"))
    assert await names(database) == ["b"]
