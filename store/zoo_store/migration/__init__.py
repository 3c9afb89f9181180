"""Schemas move forward: each service has a folder of Alembic revisions, this has all the rest."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from zoo_store.sql import Database

__all__ = ["migrate", "migrate_back"]

HERE = Path(__file__).parent


async def migrate(database: Database, versions: Path) -> None:
    """Bring the schema to the newest revision in the folder `versions`. All of it, or nothing if that fails.

    A database that is newer than the folder is refused with Alembic's CommandError.
    """
    await _run(database, versions, lambda config: command.upgrade(config, "head"))


async def migrate_back(database: Database, versions: Path, revision: str) -> None:
    """Take the schema back to `revision`, or to nothing with `base`. What later revisions added is lost."""
    await _run(database, versions, lambda config: command.downgrade(config, revision))


async def _run(database: Database, versions: Path, work: Callable[[Config], None]) -> None:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(versions))

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        work(config)

    async with database.change_schema() as connection:
        await connection.run_sync(run)
