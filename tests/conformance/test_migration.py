"""A schema moves to the newest revision or stays what it was."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.util import CommandError
from sqlalchemy import inspect, text

from zoo_store.migration import migrate, migrate_back
from zoo_store.sql import Conflict, Database, open_database

REVISION = '''
"""{name}"""
import sqlalchemy as sa
from alembic import op
revision = "{name}"
down_revision = {before!r}
def upgrade() -> None:
    {up}
def downgrade() -> None:
    {down}
'''

MODELS = 'op.create_table("models", sa.Column("name", sa.Text, primary_key=True))'
VERSIONS = 'op.create_table("versions", sa.Column("model", sa.Text, sa.ForeignKey("models.name", ondelete="CASCADE")))'
REMAKE_MODELS = """
    with op.batch_alter_table("models") as models:  # which SQLite makes anew, because of the type
        models.add_column(sa.Column("task", sa.Text))
        models.alter_column("name", type_=sa.String(96))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "versions"
    folder.mkdir()
    add(folder, "0001", None, f"{MODELS}; {VERSIONS}", 'op.drop_table("versions"); op.drop_table("models")')
    return folder


def add(folder: Path, name: str, before: str | None, up: str, down: str = "pass") -> None:
    (folder / f"{name}.py").write_text(REVISION.format(name=name, before=before, up=up, down=down))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as database:
        yield database


async def tables(database: Database) -> set[str]:
    async with database.read() as connection:
        found = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    return set(found) - {"alembic_version"}


async def test_migrating_twice_ends_in_the_newest_schema(database: Database, folder: Path) -> None:
    await migrate(database, folder)
    await migrate(database, folder)
    assert await tables(database) == {"models", "versions"}


async def test_migrating_back_removes_what_was_added(database: Database, folder: Path) -> None:
    await migrate(database, folder)
    await migrate_back(database, folder, "base")
    assert await tables(database) == set()
    await migrate(database, folder)
    assert await tables(database) == {"models", "versions"}


async def test_a_failing_migration_leaves_the_schema_as_it_was(database: Database, folder: Path) -> None:
    add(folder, "0002", "0001", 'op.create_table("keys", sa.Column("a", sa.Text)); raise KeyError("stop")')
    with pytest.raises(KeyError):
        await migrate(database, folder)
    assert await tables(database) == set()


async def test_making_a_table_anew_keeps_the_rows_that_refer_to_it(database: Database, folder: Path) -> None:
    await migrate(database, folder)
    async with database.write() as connection:
        await connection.execute(text("INSERT INTO models VALUES ('a')"))
        await connection.execute(text("INSERT INTO versions VALUES ('a')"))
    add(folder, "0002", "0001", REMAKE_MODELS.strip())
    await migrate(database, folder)
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT * FROM models"))).all() == [("a", None)]
        assert (await connection.execute(text("SELECT * FROM versions"))).all() == [("a",)]


async def test_a_migration_that_leaves_references_to_nothing_is_refused(database: Database, folder: Path) -> None:
    await migrate(database, folder)
    add(folder, "0002", "0001", "op.execute(\"INSERT INTO versions VALUES ('none')\")")
    with pytest.raises(Conflict, match="versions"):
        await migrate(database, folder)


async def test_after_a_migration_references_are_checked_again(database: Database, folder: Path) -> None:
    await migrate(database, folder)
    with pytest.raises(Conflict):
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO versions VALUES ('none')"))


async def test_a_database_newer_than_the_code_is_refused(database: Database, folder: Path) -> None:
    add(folder, "0002", "0001", "pass")
    await migrate(database, folder)
    (folder / "0002.py").unlink()
    with pytest.raises(CommandError, match="0002"):
        await migrate(database, folder)
