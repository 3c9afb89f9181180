"""What is SQLite's own: how its connections are set up, and the lock that keeps it to one process."""

import asyncio
import fcntl
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, Row, Select, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from modelzoo.errors import NotFound
from zoo_store.sql_driver import Conflict
from zoo_store.sqlite_transaction import Connections, begin

__all__ = [
    "NEXT_NUMBER",
    "NOW_MICROSECONDS",
    "DatabaseInUse",
    "SqliteDriver",
    "is_disk_full",
    "is_out_of_reach",
    "is_value_refused",
    "open_driver",
    "open_snapshot",
]

READERS = 4
# Of single queries, in memory.
ANSWERS_MOST = 1024
ROWS_REMEMBERED = 16
# Of each index, at every start; 1.3 s for a database of 100,000 models and a million versions (2026-11).
ROWS_MEASURED = 400
# How long a transaction waits for its turn.
WAIT_S = 10.0

# strftime's %f is SS.SSS, and 'now' is the same throughout a statement.
NOW_MICROSECONDS = (
    "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000 + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000)"
)
# Of an INTEGER PRIMARY KEY.
NEXT_NUMBER = "NULL"

_OUT_OF_REACH = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


class DatabaseInUse(Exception):
    """Another process has this database: two would not see each other's locks on logs, caches and queues."""


class Lookups:
    """Single queries, each in one change of thread; aiosqlite needs one for every step of a transaction.

    Answers are remembered until the next commit: this process is the only one that writes. What is asked again and
    again, such as what an alias means, then takes no thread and no SQL at all.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-lookup")
        self._answers: OrderedDict[tuple[object, ...], Sequence[Row[Any]]] = OrderedDict()
        self._commits = 0

    async def fetch(self, query: Select[Any], values: Mapping[str, object]) -> Sequence[Row[Any]]:
        asked = (query, *values.items())  # queries are equal where they are the same one
        if (known := self._answers.get(asked)) is not None:
            self._answers.move_to_end(asked)
            return known
        commits = self._commits
        rows = await asyncio.get_running_loop().run_in_executor(self._threads, self._fetch, query, values)
        # Whoever commits meanwhile forgets before it says so: an answer of before would outlive that.
        if commits == self._commits and len(rows) <= ROWS_REMEMBERED:
            self._answers[asked] = rows
            if len(self._answers) > ANSWERS_MOST:
                self._answers.popitem(last=False)
        return rows

    def forget(self) -> None:
        """Something was committed, or may have been."""
        self._commits += 1
        self._answers.clear()

    def _fetch(self, query: Select[Any], values: Mapping[str, object]) -> Sequence[Row[Any]]:
        with self._engine.connect() as connection:
            return connection.execute(query, values).all()

    def close(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()


@dataclass(frozen=True, slots=True)
class SqliteDriver:
    """The Driver of one file; of sql_driver."""

    readers: Connections
    writers: Connections
    lookups: Lookups

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        async with self.readers.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        try:
            async with self.writers.connect() as connection, begin(connection):
                yield connection
        finally:
            self.lookups.forget()

    @asynccontextmanager
    async def change_schema(self) -> AsyncGenerator[AsyncConnection]:
        async with self.writers.connect() as connection, _foreign_keys_off(connection), begin(connection):
            yield connection
            dangling = await _dangling_references(connection)
            if dangling:
                raise Conflict(f"after the migration, rows refer to nothing: {dangling}")
            self.lookups.forget()

    async def fetch(self, query: Select[Any], values: Mapping[str, object]) -> Sequence[Row[Any]]:
        return await self.lookups.fetch(query, values)


@asynccontextmanager
async def open_driver(url: URL) -> AsyncGenerator[SqliteDriver]:
    """The database `sqlite:///path`, its folder made if missing. Raises ValueError for another URL, DatabaseInUse."""
    path = _path(url)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with _locked(Path(f"{path}.lock")):
        # One connection: writers queue for it in order, instead of polling for SQLite's lock.
        writer = _engine(path, "BEGIN IMMEDIATE", connections=1, read_only=False)
        reader = _engine(path, "BEGIN", connections=READERS, read_only=True)
        driver = SqliteDriver(
            Connections(reader, READERS, WAIT_S), Connections(writer, 1, WAIT_S), Lookups(_lookup_engine(path))
        )
        try:
            async with driver.writers.connect() as connection:  # the first to connect makes the file and its mode
                await _measure(connection)
            yield driver
        finally:
            await driver.readers.close()
            await driver.writers.close()
            driver.lookups.close()


@asynccontextmanager
async def open_snapshot(url: URL) -> AsyncGenerator[AsyncConnection]:
    """As `sql.read_snapshot`: readers of a write-ahead log are in nobody's way, so that no lock is taken."""
    path = _path(url)
    if not Path(path).is_file():  # noqa: ASYNC240 - a look at a local file
        raise NotFound("DATABASE_NOT_FOUND", f"there is no database {path}: was the service ever started there?")
    engine = _engine(path, "BEGIN", connections=1, read_only=True)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


def _path(url: URL) -> str:
    path = url.database
    if not path or path == ":memory:":
        raise ValueError(f"a database URL is sqlite:///path, not {url.render_as_string(hide_password=True)}")
    return path


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold the lock file; the kernel lets go of it when the process ends, however it ends."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseInUse(
                f"another process uses the database {str(path).removesuffix('.lock')}: SQLite serves one. Stop the "
                "other, or run one replica"
            ) from None
        yield


def _engine(path: str, begins: str, *, connections: int, read_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=path),
        pool_size=connections,
        max_overflow=0,
    )
    _set_up(engine.sync_engine, read_only=read_only)

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begins)

    event.listen(engine.sync_engine, "begin", start)
    return engine


def _lookup_engine(path: str) -> Engine:
    engine = create_engine(URL.create("sqlite", database=path), poolclass=QueuePool, pool_size=READERS, max_overflow=0)
    # No BEGIN: a single query sees one state of the database by itself.
    _set_up(engine, read_only=True)
    return engine


def _set_up(engine: Engine, *, read_only: bool) -> None:
    def set_up(connection: Any, _: object) -> None:
        # Our own BEGIN below, instead of the one that the sqlite3 module adds where it sees fit.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(WAIT_S * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # a commit is on the disk, not only with the kernel
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
        cursor.close()

    event.listen(engine, "connect", set_up)


@asynccontextmanager
async def _foreign_keys_off(connection: AsyncConnection) -> AsyncGenerator[None]:
    """While a table is made anew SQLite would delete its rows, and those that refer to them. No transaction is open."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        await driver.execute("PRAGMA foreign_keys = ON")


async def _measure(connection: AsyncConnection) -> None:
    """Let SQLite look how its indexes are filled: without that it takes each for one that leaves ten rows.

    A look at ROWS_MEASURED rows of each; what grows meanwhile is measured at the next start.
    """
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.execute(f"PRAGMA analysis_limit = {ROWS_MEASURED}")
    await driver.execute("ANALYZE")


async def _dangling_references(connection: AsyncConnection) -> list[str]:
    """Tables with rows that refer to rows that are not there."""
    rows = await connection.execute(text("PRAGMA foreign_key_check"))
    return sorted({str(row[0]) for row in rows})


def is_disk_full(error: DBAPIError) -> bool:
    return _primary_code(error) == sqlite3.SQLITE_FULL


def is_out_of_reach(error: DBAPIError) -> bool:
    return _primary_code(error) in _OUT_OF_REACH


def is_value_refused(error: DBAPIError) -> bool:
    return _primary_code(error) == sqlite3.SQLITE_TOOBIG


def _primary_code(error: DBAPIError) -> int | None:
    # The lowest byte of an extended code, https://www.sqlite.org/rescode.html
    code: int | None = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
