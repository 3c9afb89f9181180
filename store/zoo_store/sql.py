"""SQL databases by URL: transactions, the database's clock, and logs whose order is the order of commits.

Statements are SQLAlchemy Core, written by the services; what differs between engines is in a module per engine.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Dialect, Row, Select, Table, insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, TimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.types import TypeDecorator

from modelzoo.errors import ResourceExhausted, Unavailable
from zoo_store import sqlite

__all__ = ["Conflict", "Database", "UtcTime", "now", "open_database", "ordered_append"]

RETRY_AFTER_S = 1.0

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Conflict(Exception):
    """A write broke a constraint of the database; the message names it. The caller knows what it means, and says so."""


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, stored as whole microseconds since 1970 in UTC: it sorts and compares as a number."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone says nothing: {value}")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class now(ColumnElement[datetime]):
    """The database's time when the statement runs, as UtcTime. Whatever is stamped or expires is measured by it."""

    type = UtcTime()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_in_sqlite(element: now, compiler: SQLCompiler, **_: Any) -> str:
    return sqlite.NOW_MICROSECONDS


class Database:
    """Transactions in one database.

    A statement that fails for what the database holds raises Conflict, one that fails because the database cannot be
    reached or is stuck Unavailable DEPENDENCY_UNAVAILABLE, a full disk ResourceExhausted DISK_FULL: all of them leave
    the `async with` block, and nothing that was written in it remains. A wrong statement raises what SQLAlchemy says.
    """

    def __init__(self, engines: sqlite.Engines) -> None:
        self._reader = engines.reader
        self._writer = engines.writer
        self._lookups = engines.lookups
        self._on_commit: list[Callable[[], None]] = []

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that sees one state of the database, and cannot write."""
        with _translated():
            async with self._reader.connect() as connection:
                yield connection

    async def fetch(self, query: Select[Any], values: Mapping[str, object]) -> Sequence[Row[Any]]:
        """The rows of one query with these values for its parameters: several times as fast as by `read`."""
        with _translated():
            return await self._lookups.fetch(query, values)

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction, committed at the end of the block and rolled back if that raises or is cancelled.

        Once the block is left, what was written survives the loss of the process and of the machine's power. Others
        who write wait until then, so that the block holds nothing slow.
        """
        with _translated():
            async with self._writer.begin() as connection:
                yield connection
        for listener in self._on_commit:
            listener()

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every commit of a `write` from now on; it neither waits nor raises."""
        self._on_commit.append(listener)

    @asynccontextmanager
    async def change_schema(self) -> AsyncGenerator[AsyncConnection]:
        """As `write`, for migrations: tables may be made anew under the rows that refer to them.

        Conflict if a row refers to nothing at the end.
        """
        with _translated():
            async with (
                self._writer.connect() as connection,
                sqlite.foreign_keys_off(connection),
                connection.begin(),
            ):
                yield connection
                dangling = await sqlite.dangling_references(connection)
                if dangling:
                    raise Conflict(f"after the migration, rows refer to nothing: {dangling}")


@asynccontextmanager
async def open_database(url: str) -> AsyncGenerator[Database]:
    """The database that `url` names: `sqlite:///relative/path` or `sqlite:////absolute/path`, made if missing.

    One process has a SQLite database at a time: the second gets sqlite.DatabaseInUse. Raises ValueError for a URL of
    another kind.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("a database URL is sqlite:///path, and this is no URL at all") from None
    if parsed.drivername != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise ValueError(f"a database URL is sqlite:///path, not {parsed.render_as_string(hide_password=True)}")
    with _translated():
        async with sqlite.open_engines(parsed.database) as engines:
            yield Database(engines)


async def ordered_append(connection: AsyncConnection, table: Table, row: Mapping[str, object]) -> int:
    """Append to a log and return the row's sequence, the table's one primary key.

    Sequences rise in the order of commits: whoever has seen a row has seen all that come before it, so that "greater
    than the last I saw" finds every row. It follows from writers coming one after another; an engine that lets them
    run side by side has to take a lock here, held until the commit.
    """
    statement = insert(table).values(**row).returning(*table.primary_key)
    return int((await connection.execute(statement)).scalar_one())


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(str(error.orig)) from error
    except DBAPIError as error:
        if sqlite.is_disk_full(error):
            raise ResourceExhausted("DISK_FULL", "the database's disk is full: make room and repeat") from error
        if error.connection_invalidated or sqlite.is_out_of_reach(error):
            raise _unavailable() from error
        raise
    except TimeoutError as error:
        raise _unavailable() from error


def _unavailable() -> Unavailable:
    return Unavailable("DEPENDENCY_UNAVAILABLE", "the database does not answer; try again", retry_after_s=RETRY_AFTER_S)
