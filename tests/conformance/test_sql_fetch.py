"""Single queries by `Database.fetch`: as `read`, only faster."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, bindparam, insert, select
from sqlalchemy.exc import OperationalError

from zoo_store.sql import Database, open_database

metadata = MetaData()
numbers = Table("numbers", metadata, Column("n", Integer, primary_key=True))
ABOVE = select(numbers.c.n).where(numbers.c.n > bindparam("least"))


@pytest.fixture(params=["sqlite"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(f"sqlite:///{tmp_path}/zoo.db") as database:
        async with database.write() as connection:
            await connection.run_sync(metadata.create_all)
        yield database


async def test_a_fetch_sees_what_was_committed_before_it(database: Database) -> None:
    for n in range(1, 4):
        async with database.write() as connection:
            await connection.execute(insert(numbers).values(n=n))
        assert [row.n for row in await database.fetch(ABOVE, {"least": 0})] == list(range(1, n + 1))


async def test_a_fetch_neither_waits_for_a_writer_nor_sees_what_it_has_not_committed(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(numbers).values(n=1))
        assert await asyncio.wait_for(database.fetch(ABOVE, {"least": 0}), 5) == []


async def test_fetches_at_once_get_the_rows_of_their_own_values(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(numbers), [{"n": n} for n in range(50)])
    found = await asyncio.gather(*(database.fetch(ABOVE, {"least": n}) for n in range(50)))
    assert [len(rows) for rows in found] == list(range(49, -1, -1))


async def test_a_fetch_cannot_write(database: Database) -> None:
    with pytest.raises(OperationalError, match="readonly"):
        await database.fetch(insert(numbers).values(n=bindparam("n")).returning(numbers), {"n": 1})  # type: ignore[arg-type]
    assert await database.fetch(ABOVE, {"least": 0}) == []
