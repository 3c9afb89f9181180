"""Single queries by `Database.fetch`: as `read`, only faster."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    insert,
    literal,
    or_,
    select,
)
from sqlalchemy.exc import DBAPIError

from zoo_store.sql import Database, UtcTime, open_database

metadata = MetaData()
things = Table(
    "things",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("facts", JSON),
    Column("digest", LargeBinary),
    Column("made", UtcTime),
)
numbers = Table("numbers", metadata, Column("n", Integer, primary_key=True))
ABOVE = select(numbers.c.n).where(numbers.c.n > bindparam("least"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as database:
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
        assert await asyncio.wait_for(database.fetch(ABOVE, {"least": 0}), 30) == []


async def test_a_fetch_that_began_before_a_commit_is_not_the_answer_after_it(database: Database) -> None:
    for n in range(20):
        begun = [asyncio.create_task(database.fetch(ABOVE, {"least": -1})) for _ in range(4)]
        async with database.write() as connection:
            await connection.execute(insert(numbers).values(n=n))
        assert len(await database.fetch(ABOVE, {"least": -1})) == n + 1
        await asyncio.gather(*begun)
        assert len(await database.fetch(ABOVE, {"least": -1})) == n + 1


async def failing_write(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(numbers).values(n=1))
        raise KeyError


async def test_what_a_rolled_back_write_would_have_changed_is_as_before(database: Database) -> None:
    assert await database.fetch(ABOVE, {"least": -1}) == []
    with pytest.raises(KeyError):
        await failing_write(database)
    assert await database.fetch(ABOVE, {"least": -1}) == []


async def test_fetches_at_once_get_the_rows_of_their_own_values(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(numbers), [{"n": n} for n in range(50)])
    found = await asyncio.gather(*(database.fetch(ABOVE, {"least": n}) for n in range(50)))
    assert [len(rows) for rows in found] == list(range(49, -1, -1))


async def test_a_fetch_cannot_write(database: Database) -> None:
    with pytest.raises(DBAPIError, match=r"read-?only"):
        await database.fetch(insert(numbers).values(n=bindparam("n")).returning(numbers), {"n": 1})  # type: ignore[arg-type]
    assert await database.fetch(ABOVE, {"least": 0}) == []


async def test_a_fetch_gives_what_a_read_gives(database: Database) -> None:
    rows = [
        {
            "name": "a",
            "facts": {"labels": ["ä", "\ud7ff"], "size": 2**40},
            "digest": b"\0\xff",
            "made": datetime.now(UTC),
        },
        {"name": "b", "facts": None, "digest": None, "made": None},
    ]
    query = select(things, literal(1).label("weight")).where(
        things.c.name.in_(["a", "b"]), or_(things.c.made.is_(None), things.c.made < bindparam("before"))
    )
    query = query.order_by(things.c.name).limit(2)
    values = {"before": datetime(2100, 1, 1, tzinfo=UTC)}
    async with database.write() as connection:
        await connection.execute(insert(things), rows)
    async with database.read() as connection:
        read = (await connection.execute(query, values)).all()
    fetched = await database.fetch(query, values)
    assert (
        [row._asdict() for row in fetched] == [row._asdict() for row in read] == [{**row, "weight": 1} for row in rows]
    )


async def test_a_cancelled_fetch_leaves_nothing_behind_for_the_next(database: Database) -> None:
    for n in range(8):
        task = asyncio.create_task(database.fetch(ABOVE, {"least": 0}))
        for _ in range(n):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.wait_for(database.fetch(ABOVE, {"least": 0}), 30) == []


async def test_a_number_may_be_larger_than_the_column_it_is_compared_with(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(numbers).values(n=1))
    below = select(numbers.c.n).where(numbers.c.n < bindparam("most"))
    async with database.read() as connection:
        assert (await connection.scalars(below, {"most": 2**40})).all() == [1]
    assert [row.n for row in await database.fetch(below, {"most": 2**40})] == [1]
