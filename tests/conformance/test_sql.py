"""What every SQL engine promises to services. A driver is a URL."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from sqlalchemy import (
    Column,
    Executable,
    ForeignKey,
    Insert,
    Integer,
    MetaData,
    String,
    Table,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, StatementError

from zoo_store.sql import Conflict, Database, UtcTime, now, open_database, ordered_append

metadata = MetaData()
models = Table("models", metadata, Column("name", String(20), primary_key=True), Column("made", UtcTime))
versions = Table("versions", metadata, Column("model", ForeignKey("models.name"), nullable=False))
changes = Table(
    "changes", metadata, Column("sequence", Integer, primary_key=True), Column("what", String(20), nullable=False)
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as database:
        async with database.write() as connection:
            await connection.run_sync(metadata.create_all)
        yield database


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """What is left for it to close stays open."""
    gc.disable()
    yield
    gc.enable()


async def write(database: Database, *statements: Executable, then: Exception | None = None) -> None:
    """All in one transaction, and `then` raise."""
    async with database.write() as connection:
        for statement in statements:
            await connection.execute(statement)
        if then is not None:
            raise then


def model(name: str) -> Insert:
    return insert(models).values(name=name)


async def names(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.scalars(select(models.c.name).order_by(models.c.name))).all())


async def test_a_committed_write_is_read_by_everyone(database: Database) -> None:
    await write(database, model("a"))
    assert await names(database) == ["a"]


async def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(KeyError):
        await write(database, model("a"), then=KeyError())
    assert await names(database) == []


async def test_a_cancelled_block_leaves_nothing_and_the_next_writer_goes_on(database: Database) -> None:
    inside = asyncio.Event()

    async def stuck() -> None:
        async with database.write() as connection:
            await connection.execute(model("a"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stuck())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await write(database, model("b"))
    assert await names(database) == ["b"]


async def test_a_write_cancelled_at_any_moment_holds_up_nobody(database: Database, no_garbage_collection: None) -> None:
    moments = Random(1)
    kept: list[object] = []
    for number in range(60):
        cancelled = asyncio.create_task(write(database, model(f"a{number}").returning(models.c.name)))
        for most in (200, 20):  # a second time while it ends
            for _ in range(moments.randrange(most)):
                await asyncio.sleep(0)
            cancelled.cancel()
        kept += await asyncio.gather(cancelled, return_exceptions=True)  # with all that their tracebacks hold
        await write(database, model(f"b{number}"))
    assert len([name for name in await names(database) if name.startswith("b")]) == 60


async def test_a_writer_cancelled_while_it_waits_does_not_hold_up_others(database: Database) -> None:
    async with database.write():
        tasks = [asyncio.create_task(write(database, model(name))) for name in "abc"]
        await asyncio.sleep(0)
        tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await names(database) == ["b", "c"]


async def test_readers_see_the_state_before_an_open_write(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(models).values(name="a"))
        assert await names(database) == []
    assert await names(database) == ["a"]


async def test_a_reader_sees_one_state_throughout(database: Database) -> None:
    count = select(func.count()).select_from(models)
    async with database.read() as reading:
        assert await reading.scalar(count) == 0
        await write(database, model("a"))
        assert await reading.scalar(count) == 0


async def test_a_reader_cannot_write(database: Database) -> None:
    async with database.read() as connection:
        with pytest.raises(DBAPIError):
            await connection.execute(model("a"))
    assert await names(database) == []


async def test_fifty_increments_at_once_are_all_counted(database: Database) -> None:
    async def increment() -> None:
        async with database.write() as connection:
            highest = await connection.scalar(select(func.count()).select_from(models))
            await connection.execute(insert(models).values(name=f"{highest:02}"))

    await asyncio.gather(*(increment() for _ in range(50)))
    assert await names(database) == [f"{number:02}" for number in range(50)]


@pytest.mark.parametrize(
    "breaking",
    [model("a"), insert(versions).values(model="none"), insert(versions).values(model=None)],
    ids=["unique", "foreign key", "not null"],
)
async def test_a_broken_constraint_is_a_conflict(database: Database, breaking: Executable) -> None:
    await write(database, model("a"))
    with pytest.raises(Conflict):
        await write(database, model("b"), breaking)
    assert await names(database) == ["a"]


async def test_sequences_rise_in_the_order_of_commits(database: Database) -> None:
    seen: list[int] = []

    async def append(number: int) -> None:
        async with database.write() as connection:
            await ordered_append(connection, changes, {"what": str(number)})
            await asyncio.sleep(0)

    async def follow() -> None:
        while len(seen) < 40:
            async with database.read() as connection:
                after = changes.c.sequence > (seen[-1] if seen else 0)
                seen.extend(await connection.scalars(select(changes.c.sequence).where(after).order_by("sequence")))

    await asyncio.gather(follow(), *(append(number) for number in range(40)))
    assert seen == list(range(1, 41))


async def test_an_append_that_is_rolled_back_leaves_no_gap(database: Database) -> None:
    with pytest.raises(KeyError):
        await write(database, insert(changes).values(what="lost"), then=KeyError())
    async with database.write() as connection:
        assert await ordered_append(connection, changes, {"what": "kept"}) == 1


async def test_the_next_number_is_the_one_after_the_newest_row_left(database: Database) -> None:
    await write(database, insert(changes).values(sequence=41, what="newest"))
    async with database.write() as connection:
        assert await ordered_append(connection, changes, {"what": "next"}) == 42


async def test_the_database_stamps_time(database: Database) -> None:
    await write(database, insert(models).values(name="a", made=now()))
    async with database.read() as connection:
        made = await connection.scalar(select(models.c.made))
        assert (await connection.scalar(select(models.c.name).where(models.c.made <= now()))) == "a"
        stored = await connection.scalar(text("SELECT made FROM models"))
    assert made.tzinfo is UTC
    assert abs(made - datetime.now(UTC)) < timedelta(seconds=10)
    assert stored == round(made.timestamp() * 1_000_000)


async def test_a_time_comes_back_to_the_microsecond(database: Database) -> None:
    time = datetime(2031, 2, 3, 4, 5, 6, 789_123, tzinfo=UTC)
    async with database.write() as connection:
        await connection.execute(insert(models).values(name="a", made=time))
        assert await connection.scalar(select(models.c.made)) == time
        assert await connection.scalar(select(models.c.name).where(models.c.made > time)) is None


async def test_a_wrong_statement_is_no_outage(database: Database) -> None:
    with pytest.raises(DBAPIError, match=r"no such table|does not exist"):
        await write(database, text("DELETE FROM nowhere"))


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="without a zone"):
        await write(database, insert(models).values(name="a", made=datetime(2031, 1, 1)))


WRITER = """
import asyncio, sys
from sqlalchemy import text
from zoo_store.sql import open_database
async def main():
    async with open_database(sys.argv[1]) as database:
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE written (number INTEGER)"))
        for number in range(100_000):
            async with database.write() as connection:
                await connection.execute(text(f"INSERT INTO written VALUES ({number})"))
            print(number, flush=True)
asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9_and_the_locks_go_with_the_process(database_url: str) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, database_url], stdout=subprocess.PIPE, text=True) as process:
        acknowledged = [int(process.stdout.readline()) for _ in range(100)][-1]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
    async with open_database(database_url) as database, database.write() as connection:
        written = (await connection.scalars(text("SELECT number FROM written ORDER BY number"))).all()
    assert written == list(range(len(written)))
    assert len(written) > acknowledged


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://host/zoo",
        "postgresql+psycopg://zoo@host/zoo",
        "postgresql://host",
        "zoo.db",
        "",
    ],
)
async def test_a_url_of_no_engine_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="a database URL is"):
        async with open_database(url):
            pass


@pytest.mark.parametrize("url", ["mysql://zoo:hidden@host/zoo", "postgresql://zoo:hidden@host/zoo?schema=A-B"])
async def test_a_password_in_a_wrong_url_is_not_printed(url: str) -> None:
    with pytest.raises(ValueError, match=r"a database URL is|a schema is") as caught:
        async with open_database(url):
            pass
    assert "hidden" not in str(caught.value)


def test_statements_with_the_database_s_time_are_compiled_once() -> None:
    # Without a key of its own in SQLAlchemy's cache, an element has every statement with it compiled at each execution.
    for statement in (select(now()), insert(models).values(name="a", made=now())):
        assert statement._generate_cache_key() is not None
