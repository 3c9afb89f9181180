"""SQL databases by URL: transactions, the database's clock, and logs whose order is the order of commits.

Statements are SQLAlchemy Core, written by the services; what differs between engines is in a module per engine.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, Row, Select, Table, insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, TimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from modelzoo.errors import InvalidArgument, ResourceExhausted, Unavailable
from zoo_store import postgresql, sqlite
from zoo_store.sql_driver import Conflict, Driver, Engine

__all__ = ["Conflict", "Database", "UtcTime", "now", "open_database", "ordered_append", "read_snapshot"]

log = logging.getLogger(__name__)

URLS = "sqlite:///path or postgresql://user:password@host:port/database"
RETRY_AFTER_S = 1.0

_ENGINES: dict[str, Engine] = {"sqlite": sqlite, "postgresql": postgresql}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


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


class now(FunctionElement[datetime]):
    """The database's time when the statement runs, as UtcTime. Whatever is stamped or expires is measured by it."""

    type = UtcTime()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_in_sqlite(element: now, compiler: SQLCompiler, **_: Any) -> str:
    return sqlite.NOW_MICROSECONDS


@compiles(now, "postgresql")
def _now_in_postgresql(element: now, compiler: SQLCompiler, **_: Any) -> str:
    return postgresql.NOW_MICROSECONDS


class Database:
    """Transactions in one database.

    A statement that fails for what the database holds raises Conflict, one that fails because the database cannot be
    reached or is stuck Unavailable DEPENDENCY_UNAVAILABLE, a full disk ResourceExhausted DISK_FULL, a value that has no
    place in the engine InvalidArgument FIELD_INVALID: all of them leave the `async with` block, and nothing that was
    written in it remains. A wrong statement raises what SQLAlchemy says.
    """

    def __init__(self, driver: Driver, engine: Engine) -> None:
        self._driver = driver
        self._engine = engine
        self._on_commit: list[Callable[[], None]] = []

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that sees one state of the database, and cannot write."""
        with _translated(self._engine):
            async with self._driver.read() as connection:
                yield connection

    async def fetch(self, query: Select[Any], values: Mapping[str, object]) -> Sequence[Row[Any]]:
        """The rows of one query with these values for its parameters: several times as fast as by `read`.

        For queries that are built once, and do not ask for the time: an engine may prepare them, remember them by their
        identity, and answer from memory as long as nothing was committed.
        """
        with _translated(self._engine):
            return await self._driver.fetch(query, values)

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction, committed at the end of the block and rolled back if that raises or is cancelled.

        Once the block is left, what was written survives the loss of the process and of the machine's power. Others
        who write, in whichever process, wait until then, so that the block holds nothing slow. Where the end of the
        block raises Unavailable, it may have been committed all the same: only its answer was lost.
        """
        with _translated(self._engine):
            async with self._driver.write() as connection:
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
        with _translated(self._engine):
            async with self._driver.change_schema() as connection:
                yield connection


@asynccontextmanager
async def open_database(url: str) -> AsyncGenerator[Database]:
    """The database that `url` names. Raises ValueError for a URL of another kind.

    `sqlite:///relative/path` or `sqlite:////absolute/path`, made if missing. One process has it at a time: the second
    gets sqlite.DatabaseInUse.

    `postgresql://user:password@host:port/database`, which any number of processes share. `?schema=` names the schema
    of the tables, made if missing; `sslmode=` and what else libpq knows is passed on.
    """
    parsed, engine = _parsed(url)
    with _translated(engine):
        async with engine.open_driver(parsed) as driver:
            yield Database(driver, engine)


@asynccontextmanager
async def read_snapshot(url: str) -> AsyncGenerator[AsyncConnection]:
    """A transaction that sees one state of a database, from its first statement on, and cannot write.

    Other processes use the database meanwhile, SQLite's too. Raises ValueError as `open_database` does, NotFound
    DATABASE_NOT_FOUND where there is none: nothing is made.
    """
    parsed, engine = _parsed(url)
    with _translated(engine):
        async with engine.open_snapshot(parsed) as connection:
            yield connection


def _parsed(url: str) -> tuple[URL, Engine]:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError(f"a database URL is {URLS}, and this is no URL at all") from None
    engine = _ENGINES.get(parsed.drivername)
    if engine is None:
        raise ValueError(f"a database URL is {URLS}, not {parsed.render_as_string(hide_password=True)}")
    return parsed, engine


async def ordered_append(connection: AsyncConnection, table: Table, row: Mapping[str, object]) -> int:
    """Append to a log, in a transaction of `write`, and return the row's sequence, the table's one primary key.

    Sequences have no gaps and rise in the order of commits: whoever has seen a row has seen all that come before it,
    so that "greater than the last I saw" finds every row. It follows from writers coming one after another. Whoever
    removes old rows leaves the newest: the next number comes from it.
    """
    (sequence,) = table.primary_key
    statement = insert(table).values({**row, sequence.name: _next(sequence)}).returning(sequence)
    return int((await connection.execute(statement)).scalar_one())


class _next(FunctionElement[int]):
    """The number after the highest of a column that is its table's one primary key."""

    type = Integer()
    inherit_cache = True


@compiles(_next, "sqlite")
def _next_in_sqlite(element: _next, compiler: SQLCompiler, **_: Any) -> str:
    return sqlite.NEXT_NUMBER


@compiles(_next, "postgresql")
def _next_in_postgresql(element: _next, compiler: SQLCompiler, **_: Any) -> str:
    column: Any
    (column,) = element.clauses
    names = compiler.preparer
    return postgresql.NEXT_NUMBER.format(column=names.format_column(column), table=names.format_table(column.table))


@contextmanager
def _translated(engine: Engine) -> Generator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(str(error.orig)) from error
    except DBAPIError as error:
        if engine.is_disk_full(error):
            raise ResourceExhausted("DISK_FULL", "the database's disk is full: make room and repeat") from error
        if engine.is_value_refused(error):
            raise InvalidArgument(
                "FIELD_INVALID", "a text has the character U+0000 in it, or a value is larger than its place: change it"
            ) from error
        if error.connection_invalidated or engine.is_out_of_reach(error):
            raise _unavailable(error.orig) from error
        raise
    except TimeoutError as error:
        raise _unavailable(error) from error


def _unavailable(cause: BaseException | None) -> Unavailable:
    log.warning("the database does not answer: %s", cause)
    return Unavailable("DEPENDENCY_UNAVAILABLE", "the database does not answer; try again", retry_after_s=RETRY_AFTER_S)
