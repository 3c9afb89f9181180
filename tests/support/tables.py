"""Databases whose tables are there at once: a service's migrations run once a process, others copy their file."""

import functools
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from zoo_store.migration import migrate
from zoo_store.sql import Database, open_database

__all__ = ["open_migrated"]

SQLITE = "sqlite:///"


@asynccontextmanager
async def open_migrated(url: str, versions: Path) -> AsyncIterator[Database]:
    """The database at the newest revision of the folder `versions`, with what it held before."""
    path = Path(url.removeprefix(SQLITE).partition("?")[0])
    if not url.startswith(SQLITE) or path.exists():
        async with open_database(url) as database:
            await migrate(database, versions)
            yield database
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(await _made(versions), path)
    _make_unique(path)
    async with open_database(url) as database:
        yield database


async def _made(versions: Path) -> Path:
    path = Path(_folder().name) / f"{versions.parent.parent.name}.db"
    if not path.exists():
        whole = path.with_suffix(f".{uuid.uuid4().hex}")  # another thread may make it, too
        async with open_database(f"{SQLITE}{whole}") as database:
            await migrate(database, versions)
        whole.rename(path)
    return path


def _make_unique(path: Path) -> None:
    """Two indexes of artifact services are never taken for one."""
    with closing(sqlite3.connect(path)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        if copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'upkeep'").fetchone():
            copy.execute("UPDATE upkeep SET index_id = ?", (uuid.uuid4().hex,))
            copy.commit()


@functools.cache
def _folder() -> "TemporaryDirectory[str]":
    """Gone with the process."""
    return TemporaryDirectory(prefix="zoo-tables-")
