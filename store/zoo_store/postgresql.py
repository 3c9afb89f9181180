"""What is PostgreSQL's own: transactions, limits of waiting, and the lock that puts writers in a row.

Writers take one advisory lock for the database and schema and hold it until their commit. So a transaction that reads
and then writes needs no retries, and a log's order is the order of commits, with any number of processes. Nobody waits
for ever: the server ends who idles in a transaction before those who wait for it give up.
"""

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import BigInteger, NullPool, Row, Select, bindparam, event, func, select
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from modelzoo.errors import NotFound
from zoo_store.postgresql_connection import Server, broken, compare_widely, server_at, sqlstate
from zoo_store.postgresql_lookups import Lookups

__all__ = [
    "LIMITS",
    "NEXT_NUMBER",
    "NOW_MICROSECONDS",
    "Limits",
    "PostgresqlDriver",
    "is_disk_full",
    "is_out_of_reach",
    "is_value_refused",
    "open_driver",
    "open_snapshot",
]

# Connections of one process. Two that write: one begins while the other commits.
WRITERS = 2
READERS = 4

# The statement's own time, the same throughout it, so that an index can be searched by it.
NOW_MICROSECONDS = "CAST(extract(epoch FROM statement_timestamp()) * 1000000 AS BIGINT)"
# Not from a PostgreSQL sequence: that does not take a number back when a transaction is rolled back.
NEXT_NUMBER = "(SELECT coalesce(max({column}), 0) + 1 FROM {table})"

# https://www.postgresql.org/docs/current/errcodes-appendix.html, codes or their beginnings.
_DISK_FULL = "53100"
_READ_ONLY = "25006"
_OUT_OF_REACH = (
    "08",  # the connection broke
    "25P",  # who idled in a transaction, or was too long in one, was ended
    "28",  # the password is another now
    "40",  # deadlock
    "53",  # too many connections, too little memory
    "55P03",  # waited for a lock, in vain
    "57",  # a statement took too long; the server ends, starts, or crashed
    "58",  # the server's disk failed
)
# Too long, too large, U+0000; the last is asyncpg's own, of a value that it does not even send.
_VALUE_REFUSED = ("22001", "22003", "22021", "22000")

_TAKE_LOCK = select(func.pg_advisory_xact_lock(bindparam("key", type_=BigInteger)))


@dataclass(frozen=True, slots=True)
class Limits:
    """Who idles in a transaction is ended while others still wait for its lock; a wait for a lock ends before any
    other statement; and where no answer comes at all, we hang up. 0, or None: never."""

    idle_s: float = 8
    lock_s: float = 10
    statement_s: float = 15
    answer_s: float | None = 20

    def settings(self) -> dict[str, str]:
        limits_s = {
            "idle_in_transaction_session_timeout": self.idle_s,
            "lock_timeout": self.lock_s,
            "statement_timeout": self.statement_s,
        }
        return {"application_name": "zoo", **{name: f"{limit_s * 1000:.0f}ms" for name, limit_s in limits_s.items()}}


LIMITS = Limits()
# A replica that starts beside the one that migrates waits for it.
MIGRATION_LIMITS = Limits(idle_s=60, lock_s=120, statement_s=0, answer_s=None)


@dataclass(frozen=True, slots=True)
class PostgresqlDriver:
    """The Driver of one schema of one database."""

    reader: AsyncEngine
    writer: AsyncEngine
    migrator: AsyncEngine
    lookups: Lookups
    lock_key: int

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        async with self.reader.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        async with self.writer.begin() as connection, self._in_a_row(connection):
            yield connection

    @asynccontextmanager
    async def change_schema(self) -> AsyncGenerator[AsyncConnection]:
        # References are checked at once, also while tables change: there is nothing to look for at the end.
        async with self.migrator.begin() as connection, self._in_a_row(connection):
            yield connection

    async def fetch(self, query: Select[Any], values: Mapping[str, object]) -> Sequence[Row[Any]]:
        return await self.lookups.fetch(query, values)

    @asynccontextmanager
    async def _in_a_row(self, connection: AsyncConnection) -> AsyncGenerator[None]:
        try:
            # READ COMMITTED: the statements that follow see what was committed while this one waited.
            await connection.execute(_TAKE_LOCK, {"key": self.lock_key})
            yield
        except DBAPIError as error:
            if sqlstate(error) != _READ_ONLY:
                raise
            # The server is a standby by now: a new connection finds the one that is not.
            await connection.invalidate()
            raise broken(error) from error


@asynccontextmanager
async def open_driver(url: URL, limits: Limits = LIMITS) -> AsyncGenerator[PostgresqlDriver]:
    """See sql.open_database; of the URL, `schema` is ours and all the rest asyncpg's."""
    server = server_at(url)
    schema = await _make_schema(server)
    async with AsyncExitStack() as stack:
        engines = [
            _engine(server, limits, isolation_level="REPEATABLE READ", pool_size=READERS),
            _engine(server, limits, isolation_level="READ COMMITTED", pool_size=WRITERS),
            _engine(server, MIGRATION_LIMITS, poolclass=NullPool),
        ]
        for engine in engines:
            stack.push_async_callback(engine.dispose)
        lookups = Lookups(server, limits.settings(), limits.answer_s)
        stack.push_async_callback(lookups.close)
        reader, writer, migrator = engines
        compare_widely(reader.sync_engine.dialect)
        reader = reader.execution_options(postgresql_readonly=True)
        yield PostgresqlDriver(reader, writer, migrator, lookups, _lock_key(schema))


@asynccontextmanager
async def open_snapshot(url: URL) -> AsyncGenerator[AsyncConnection]:
    """As `sql.read_snapshot`. It has as much time as a migration."""
    server = server_at(url)
    connection = await server.connect(LIMITS.settings(), LIMITS.answer_s)
    try:
        found = await connection.fetchval("SELECT current_schema()")
    finally:
        await connection.close(timeout=LIMITS.answer_s)
    if found is None:
        raise NotFound("DATABASE_NOT_FOUND", f"the database has no schema {server.schema}: was the service started?")
    engine = _engine(server, MIGRATION_LIMITS, isolation_level="REPEATABLE READ", poolclass=NullPool)
    try:
        async with engine.execution_options(postgresql_readonly=True).connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def _make_schema(server: Server) -> str:
    """The schema of the tables, which exists from now on."""
    connection = await server.connect(LIMITS.settings(), LIMITS.answer_s)
    try:
        if server.schema and await connection.fetchval("SELECT current_schema()") is None:
            await connection.execute(f"CREATE SCHEMA {server.schema}")
        return await connection.fetchval("SELECT current_schema()")
    except (asyncpg.UniqueViolationError, asyncpg.DuplicateSchemaError):  # another replica was faster
        return server.schema
    finally:
        await connection.close(timeout=LIMITS.answer_s)


def _lock_key(schema: str) -> int:
    return int.from_bytes(hashlib.sha256(f"zoo {schema}".encode()).digest()[:8], signed=True)


def _engine(server: Server, limits: Limits, **options: Any) -> AsyncEngine:
    if "pool_size" in options:
        options |= {"max_overflow": 0, "pool_timeout": limits.lock_s}

    async def connect() -> Any:
        return await server.connect(limits.settings(), limits.answer_s)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, **options)
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "handle_error", _hang_up)
    return engine


def _refuse_closed(connection: Any, *_: object) -> None:
    """The pool makes a new one where the server closed this one while it was idle."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _hang_up(context: ExceptionContext) -> None:
    """A connection without an answer in time, or that asyncpg is confused about, is not used again."""
    error = context.original_exception
    if isinstance(error, (OSError, AsyncAdapt_asyncpg_dbapi.InternalClientError)):
        context.is_disconnect = True
        raise broken(error) from error


def is_disk_full(error: DBAPIError) -> bool:
    return sqlstate(error) == _DISK_FULL


def is_out_of_reach(error: DBAPIError) -> bool:
    # A prepared statement is out of date after a migration; the next try prepares it anew.
    stale = AsyncAdapt_asyncpg_dbapi.InvalidCachedStatementError
    return sqlstate(error).startswith(_OUT_OF_REACH) or isinstance(error.orig, (OSError, stale))


def is_value_refused(error: DBAPIError) -> bool:
    return sqlstate(error) in _VALUE_REFUSED
