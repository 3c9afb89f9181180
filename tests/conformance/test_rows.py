"""Rows of the services' own tables leave any engine and come into any other as they were."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from modelzoo.errors import NotFound
from support.artifact_fake import running_artifact_fake
from support.catalog_service import running_catalog
from zoo.iam.v1 import iam_service_pb2 as iam_pb
from zoo_catalog.main import MIGRATIONS
from zoo_catalog.schema import models
from zoo_store.migration import make_anew, migrate_within
from zoo_store.rows import count_rows, delete_rows, export_rows, import_rows, revision_of
from zoo_store.sql import open_database, read_snapshot


@pytest.fixture(params=["sqlite", "postgresql"])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/other/zoo.db"
    server = request.getfixturevalue("postgresql_shared")
    return server.url(f"other_{abs(hash(str(tmp_path)))}")


async def test_rows_come_back_as_they_were_on_any_engine(database_url: str, other_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        artifact = await stack.enter_async_context(running_artifact_fake())
        async with running_catalog(tmp_path, database_url, artifact) as zoo:
            await zoo.published("team/bert", 2)
            await zoo.admin.set_alias("team/bert", "prod", {1: 1, 2: 3})
            await zoo.admin.iam.CreateKey(iam_pb.CreateKeyRequest(key={"subject": "app"}))
            async with read_snapshot(database_url) as connection:
                revision = await revision_of(connection)
                lines = [line async for line in export_rows(connection)]
        assert revision
        async with open_database(other_url) as other:
            async with other.change_schema() as connection:
                await make_anew(connection, MIGRATIONS, revision)
                counts = await import_rows(connection, lines)
                await migrate_within(connection, MIGRATIONS)
                assert await count_rows(connection) == counts
            async with read_snapshot(other_url) as connection:
                assert [line async for line in export_rows(connection)] == lines
        # Numbers go on after those that came, words are found, and what JSON was is JSON.
        async with running_catalog(tmp_path, other_url, artifact) as zoo:
            await zoo.published("more/bert")
            async with zoo.database.read() as connection:
                assert await connection.scalar(select(func.count()).select_from(models)) == 2
            assert (await zoo.admin.get("team/bert@2")).version == 2


async def test_rows_of_an_older_revision_end_in_todays_tables(database_url: str) -> None:
    old = [
        b'{"rows":1,"revision":"0001"}\n',
        b'{"table":"namespaces","columns":["key","name","description","create_time","delete_time"]}\n',
        b'["team","Team","",1,null]\n',
    ]
    async with open_database(database_url) as database:
        for _ in range(2):  # the second time over what the first left
            async with database.change_schema() as connection:
                await delete_rows(connection)
                await make_anew(connection, MIGRATIONS, "0001")
                assert await import_rows(connection, old) == {"namespaces": 1}
                await migrate_within(connection, MIGRATIONS)
        async with database.read() as connection:
            assert (await connection.execute(text("SELECT name, etag FROM namespaces"))).one() == ("Team", 0)


async def test_a_snapshot_sees_one_state_while_others_write_and_makes_nothing(database_url: str) -> None:
    async with open_database(database_url) as database:
        async with database.change_schema() as connection:
            await migrate_within(connection, MIGRATIONS)
        async with read_snapshot(database_url) as connection:
            before = await count_rows(connection)
            async with database.write() as writing:
                await writing.execute(
                    text("INSERT INTO namespaces (key, name, description, create_time) VALUES ('a', 'a', '', 1)")
                )
            assert await count_rows(connection) == before
    nowhere = database_url.replace("zoo.db", "nowhere.db").replace("schema=", "schema=nowhere_")
    with pytest.raises(NotFound):
        async with read_snapshot(nowhere):
            pass
    with pytest.raises(NotFound):
        async with read_snapshot(nowhere):
            pass
