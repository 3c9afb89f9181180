"""What is PostgreSQL's own in the promises of `test_sql`: many processes, a network between, a server that dies."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, bindparam, func, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import InvalidArgument, Unavailable
from support.postgresql import PASSWORD, PostgresqlServer, postgresql_server
from support.proxy import BlackHole, CutAfter, Pass, Proxy, proxy_before
from support.waiting import eventually
from zoo_store import postgresql
from zoo_store.sql import Database, now, open_database, ordered_append

metadata = MetaData()
models = Table("models", metadata, Column("name", String(20), primary_key=True))
changes = Table("changes", metadata, Column("sequence", Integer, primary_key=True), Column("what", String(20)))
NAMED = select(models.c.name).where(models.c.name == bindparam("name"))


@pytest.fixture
async def database(postgresql_url: str) -> AsyncIterator[Database]:
    async with open_database(postgresql_url) as database:
        async with database.write() as connection:
            await connection.run_sync(metadata.create_all)
        yield database


@pytest.fixture
async def other(postgresql_url: str, database: Database) -> AsyncIterator[Database]:
    """The same, as another process has it."""
    async with open_database(postgresql_url) as other:
        yield other


@pytest.fixture
async def proxy(postgresql_shared: PostgresqlServer) -> AsyncIterator[Proxy]:
    async with proxy_before(postgresql_shared.port) as proxy:
        yield proxy


@pytest.fixture
async def behind(postgresql_url: str, postgresql_shared: PostgresqlServer, proxy: Proxy) -> str:
    """The URL of the same database through the proxy."""
    return postgresql_url.replace(f":{postgresql_shared.port}/", f":{proxy.port}/")


@asynccontextmanager
async def opened(url: str, **limits: float) -> AsyncIterator[Database]:
    """With other limits than ours."""
    async with postgresql.open_driver(make_url(url), replace(postgresql.LIMITS, **limits)) as driver:
        yield Database(driver, postgresql)


async def add(database: Database, name: str) -> None:
    async with database.write() as connection:
        await connection.execute(insert(models).values(name=name))


async def names(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.scalars(select(models.c.name).order_by(models.c.name))).all())


async def _scalar(connection: AsyncConnection, query: str) -> object:
    return await connection.scalar(text(query))


async def test_a_writer_waits_for_another_process_and_sees_what_it_wrote(database: Database, other: Database) -> None:
    async def follow() -> int:
        async with other.write() as connection:
            return await ordered_append(connection, changes, {"what": "second"})

    async with database.write() as connection:
        second = asyncio.create_task(follow())
        assert await ordered_append(connection, changes, {"what": "first"}) == 1
        async with database.read() as reading:
            await eventually(lambda: _scalar(reading, "SELECT count(*) FROM pg_locks WHERE NOT granted"))
        assert not second.done()
    assert await second == 2


async def test_a_reader_that_follows_two_writing_processes_sees_every_row_in_order(
    database: Database, other: Database
) -> None:
    async def append(writer: Database) -> None:
        async with writer.write() as connection:
            await ordered_append(connection, changes, {"what": ""})
            await connection.execute(text("SELECT pg_sleep(random() * 0.005)"))  # commits that come late

    seen: list[int] = []

    async def follow() -> None:
        while len(seen) < 60:
            async with database.read() as connection:
                later = changes.c.sequence > (seen[-1] if seen else 0)
                seen.extend(await connection.scalars(select(changes.c.sequence).where(later).order_by("sequence")))

    await asyncio.gather(follow(), *(append(writer) for _ in range(30) for writer in (database, other)))
    assert seen == list(range(1, 61))


async def test_who_hangs_in_a_write_is_ended_and_the_others_go_on(postgresql_url: str, database: Database) -> None:
    async def hang(hung: Database) -> None:
        async with hung.write() as connection:
            await connection.execute(insert(models).values(name="hung"))
            await add(database, "next")

    async with opened(postgresql_url, idle_s=0.2) as hung:
        with pytest.raises(Unavailable) as caught:
            await hang(hung)
        assert caught.value.reason == "DEPENDENCY_UNAVAILABLE"
        await add(hung, "again")
    assert await names(database) == ["again", "next"]


@pytest.mark.parametrize("limit", ["lock_s", "statement_s"])
async def test_a_wait_that_is_too_long_is_unavailable(postgresql_url: str, database: Database, limit: str) -> None:
    async with opened(postgresql_url, **{limit: 0.1}) as impatient, database.write():
        with pytest.raises(Unavailable) as caught:
            await add(impatient, "a")
    assert caught.value.reason == "DEPENDENCY_UNAVAILABLE"


async def test_no_answer_is_unavailable(behind: str, database: Database, proxy: Proxy) -> None:
    async with opened(behind, answer_s=0.3) as partitioned:
        await add(partitioned, "a")
        await partitioned.fetch(NAMED, {"name": "a"})
        proxy.fault = BlackHole()
        for call in (add(partitioned, "b"), names(partitioned), partitioned.fetch(NAMED, {"name": "a"})):
            with pytest.raises(Unavailable):
                await asyncio.wait_for(call, 10)
        proxy.fault = Pass()
        await add(partitioned, "c")
        assert await names(partitioned) == ["a", "c"]


async def test_a_commit_whose_answer_is_lost_is_unavailable_and_done(
    behind: str, database: Database, proxy: Proxy
) -> None:
    async def add_and_cut(cut: Database) -> None:
        async with cut.write() as connection:
            await connection.execute(insert(models).values(name="a"))
            proxy.fault = CutAfter(0)

    async with open_database(behind) as cut:
        with pytest.raises(Unavailable):
            await add_and_cut(cut)
        assert await names(database) == ["a"]


async def test_a_server_that_starts_again_is_found_again() -> None:
    with postgresql_server() as server:
        async with open_database(server.url("zoo")) as database:
            async with database.write() as connection:
                await connection.run_sync(metadata.create_all)
            await add(database, "kept")
            assert len(await database.fetch(NAMED, {"name": "kept"})) == 1
            server.kill()
            for call in (add(database, "lost"), names(database), database.fetch(NAMED, {"name": "kept"})):
                with pytest.raises(Unavailable):
                    await call
            server.start()
            assert len(await database.fetch(NAMED, {"name": "kept"})) == 1
            assert await names(database) == ["kept"]
            await add(database, "next")


async def test_connections_that_were_ended_while_nobody_used_them_are_not_noticed(
    database: Database, other: Database
) -> None:
    await add(database, "a")
    await names(database)
    await database.fetch(NAMED, {"name": "a"})
    async with other.write() as connection:
        others = "pid <> pg_backend_pid() AND application_name = 'zoo'"
        await connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))

    async def gone() -> object:
        async with other.write() as connection:
            return await _scalar(connection, f"SELECT count(*) = 0 FROM pg_stat_activity WHERE {others}")

    await eventually(gone)
    assert len(await database.fetch(NAMED, {"name": "a"})) == 1
    assert await names(database) == ["a"]
    await add(database, "b")


async def test_a_statement_prepared_before_a_migration_is_prepared_anew(database: Database, other: Database) -> None:
    await add(database, "a")
    assert await names(database) == ["a"]
    assert len(await database.fetch(NAMED, {"name": "a"})) == 1
    async with other.change_schema() as connection:
        await connection.execute(text("ALTER TABLE models ALTER COLUMN name TYPE text"))
    with pytest.raises(Unavailable):
        await names(database)
    assert await names(database) == ["a"]
    assert len(await database.fetch(NAMED, {"name": "a"})) == 1


async def test_a_server_that_takes_no_writes_is_unavailable(database: Database) -> None:
    async def add_to_standby() -> None:
        async with database.write() as connection:
            await connection.execute(text("SET TRANSACTION READ ONLY"))
            await connection.execute(insert(models).values(name="a"))

    with pytest.raises(Unavailable):
        await add_to_standby()
    await add(database, "b")


@pytest.mark.parametrize("name", ["\0", "longer than twenty characters"])
async def test_a_value_without_a_place_is_the_callers_fault(database: Database, name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await add(database, name)
    assert caught.value.reason == "FIELD_INVALID"


async def test_a_full_disk_is_said(database: Database) -> None:
    with pytest.raises(Exception, match="make room") as caught:
        async with database.write() as connection:
            await connection.execute(text("DO $$ BEGIN RAISE disk_full; END $$"))
    assert caught.value.reason == "DISK_FULL"  # type: ignore[attr-defined]


async def test_the_servers_time_is_the_same_throughout_a_statement(database: Database) -> None:
    async with database.read() as connection:
        first, second = (await connection.execute(select(now(), now()))).one()
        (later,) = (await connection.execute(select(now()).where(func.pg_sleep(0.001).is_(None).is_not(None)))).one()
    assert first == second < later


async def test_a_wrong_password_is_unavailable_and_printed_nowhere(
    postgresql_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Unavailable) as caught:
        async with open_database(postgresql_url.replace(PASSWORD, "hidden")):
            pass
    assert isinstance(caught.value.__cause__.__cause__, asyncpg.InvalidPasswordError)  # type: ignore[union-attr]
    assert "password authentication failed" in caplog.text
    assert "hidden" not in caplog.text + str(caught.value) + repr(caught.value.__cause__)


async def test_sslmode_is_passed_on(postgresql_url: str) -> None:
    async with open_database(f"{postgresql_url}&sslmode=disable"):
        pass
    with pytest.raises(Unavailable) as caught:
        async with open_database(f"{postgresql_url}&sslmode=require"):
            pass
    assert "rejected SSL" in str(caught.value.__cause__)
    with pytest.raises(ValueError, match="sslmode"):
        async with open_database(f"{postgresql_url}&sslmode=perhaps"):
            pass
