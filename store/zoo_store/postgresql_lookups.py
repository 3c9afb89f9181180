"""Single queries on PostgreSQL, prepared, without SQLAlchemy around each: that takes four times as long."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import asyncpg
from sqlalchemy import Dialect, Row, Select
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.types import TypeEngine

from zoo_store.postgresql_connection import Server, compare_widely

__all__ = ["Lookups"]

CONNECTIONS = 4
QUERIES_REMEMBERED = 256

_DIALECT: Dialect = PGDialect_asyncpg()
compare_widely(_DIALECT)
_Process = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Query:
    """`arguments` are names of values, in the order of the SQL's placeholders, with what stands for those not given
    and how they are sent; `columns` is how each is read."""

    sql: str
    arguments: tuple[tuple[str, object, _Process], ...]
    columns: tuple[_Process, ...]
    names: SimpleResultMetaData

    def values(self, given: Mapping[str, object]) -> Iterable[Any]:
        return (send(given.get(name, constant)) for name, constant, send in self.arguments)

    def rows(self, records: Iterable[Iterable[Any]]) -> Sequence[Row[Any]]:
        read = (tuple(process(v) for process, v in zip(self.columns, r, strict=True)) for r in records)
        return IteratorResult[Any](self.names, read).all()


class Lookups:
    """A few connections, made when they are needed, each for one query at a time."""

    def __init__(self, server: Server, settings: Mapping[str, str], answer_s: float | None) -> None:
        self._server = server
        self._settings = {**settings, "default_transaction_read_only": "on"}
        self._answer_s = answer_s
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[Any] = []

    async def fetch(self, query: Select[Any], values: Mapping[str, object]) -> Sequence[Row[Any]]:
        """A single query sees one state of the database by itself."""
        prepared = _prepare(query)
        async with self._turns:
            while self._idle:
                try:
                    return await self._ask(self._idle.pop(), prepared, values)
                except DBAPIError as error:
                    # The server went while nobody looked; asking again changes nothing.
                    if not error.connection_invalidated:
                        raise
            return await self._ask(await self._connect(), prepared, values)

    async def close(self) -> None:
        for connection in self._idle:
            connection.terminate()

    async def _connect(self) -> Any:
        connection = await self._server.connect(self._settings, self._answer_s)
        await connection.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        return connection

    async def _ask(self, connection: Any, query: _Query, values: Mapping[str, object]) -> Sequence[Row[Any]]:
        try:
            records = await connection.fetch(query.sql, *query.values(values))
        except asyncpg.PostgresError as error:
            self._keep(connection)
            raise DBAPIError(query.sql, None, error, connection_invalidated=connection.is_closed()) from error
        except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            connection.terminate()
            # Without an answer in time there is none on the next connection either.
            raise OperationalError(
                query.sql, None, error, connection_invalidated=not isinstance(error, TimeoutError)
            ) from error
        except asyncio.CancelledError:
            connection.terminate()
            raise
        self._keep(connection)
        return query.rows(records)

    def _keep(self, connection: Any) -> None:
        if not connection.is_closed():
            self._idle.append(connection)


@lru_cache(QUERIES_REMEMBERED)
def _prepare(query: Select[Any]) -> _Query:
    compiled = query.compile(dialect=_DIALECT)
    # Lists of IN become placeholders of their own, with the values that the query was built with.
    expanded = compiled.construct_expanded_state({name: None for name, b in compiled.binds.items() if b.required})
    columns = query.exported_columns.values()
    return _Query(
        expanded.statement,
        tuple(
            (
                name,
                expanded.parameters[name],
                _sending(compiled.binds[name].type) if name in compiled.binds else _unchanged,
            )
            for name in expanded.positiontup or ()
        ),
        tuple(_reading(column.type) for column in columns),
        SimpleResultMetaData([str(column.key) for column in columns]),
    )


def _sending(kind: TypeEngine[Any]) -> _Process:
    return kind.dialect_impl(_DIALECT).bind_processor(_DIALECT) or _unchanged


def _reading(kind: TypeEngine[Any]) -> _Process:
    return kind.dialect_impl(_DIALECT).result_processor(_DIALECT, None) or _unchanged


def _unchanged(value: Any) -> Any:
    return value
