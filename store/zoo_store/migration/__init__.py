"""Schemas move forward: each service has a folder of Alembic revisions, this has all the rest."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_store.sql import Database

__all__ = ["has_revision", "make_anew", "migrate", "migrate_back", "migrate_within"]

HERE = Path(__file__).parent


async def migrate(database: Database, versions: Path) -> None:
    """Bring the schema to the newest revision in the folder `versions`. All of it, or nothing if that fails.

    A database that is newer than the folder is refused with Alembic's CommandError.
    """
    await _run(database, versions, lambda config: command.upgrade(config, "head"))


async def migrate_back(database: Database, versions: Path, revision: str) -> None:
    """Take the schema back to `revision`, or to nothing with `base`. What later revisions added is lost."""
    await _run(database, versions, lambda config: command.downgrade(config, revision))


async def make_anew(connection: AsyncConnection, versions: Path, revision: str) -> None:
    """Within a transaction of `change_schema`: all tables, empty, as that revision has them. What they held is lost."""
    await _work(connection, versions, lambda config: command.downgrade(config, "base"))
    await _work(connection, versions, lambda config: command.upgrade(config, revision))


async def migrate_within(connection: AsyncConnection, versions: Path) -> None:
    """As `migrate`, within a transaction of `change_schema`."""
    await _work(connection, versions, lambda config: command.upgrade(config, "head"))


def has_revision(versions: Path, revision: str) -> bool:
    """Whether this release knows it."""
    scripts = ScriptDirectory.from_config(_config(versions))
    return any(script.revision == revision for script in scripts.walk_revisions())


async def _run(database: Database, versions: Path, work: Callable[[Config], None]) -> None:
    async with database.change_schema() as connection:
        await _work(connection, versions, work)


async def _work(connection: AsyncConnection, versions: Path, work: Callable[[Config], None]) -> None:
    config = _config(versions)

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        work(config)

    await connection.run_sync(run)


def _config(versions: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(versions))
    return config
