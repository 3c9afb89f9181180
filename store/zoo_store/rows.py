"""Every row of a database as JSON lines that any engine reads, and back: for backups, and to move between engines.

    {"rows": 1, "revision": "0005"}
    {"table": "models", "columns": ["id", "key", ...]}
    [1, "team/bert", ...]

Tables come in an order in which rows refer only to earlier tables. Bytes are `{"base64": "..."}`, JSON columns the text
that is stored. What an engine keeps by itself, such as an index of words, is left out and made again.
"""

import base64
import json
from collections.abc import AsyncGenerator, Iterable
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Column, Connection, MetaData, Table
from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["FORMAT", "count_rows", "delete_rows", "export_rows", "import_rows", "revision_of"]

FORMAT = 1
REVISIONS = "alembic_version"
# Rows of one statement.
BATCH = 500


async def revision_of(connection: AsyncConnection) -> str | None:
    """The revision of the schema; None where there are no tables."""
    if REVISIONS not in await connection.run_sync(_table_names):
        return None
    revision: str | None = await connection.scalar(sa.text(f"SELECT version_num FROM {REVISIONS}"))  # noqa: S608
    return revision


async def count_rows(connection: AsyncConnection) -> dict[str, int]:
    """How many rows each table has."""
    tables = await connection.run_sync(_tables)
    return {t.name: await connection.scalar(sa.select(sa.func.count()).select_from(t)) or 0 for t in tables}


async def export_rows(connection: AsyncConnection) -> AsyncGenerator[bytes]:
    """The lines, each with its end; of one state of the database where the transaction sees one."""
    yield _line({"rows": FORMAT, "revision": await revision_of(connection)})
    for table in await connection.run_sync(_tables):
        columns = _columns(table)
        yield _line({"table": table.name, "columns": [column.name for column in columns]})
        read = [sa.cast(column, sa.Text) if _is_json(column) else column for column in columns]
        query = sa.select(*read).order_by(*table.primary_key)
        async for row in await connection.stream(query, execution_options={"yield_per": BATCH}):
            yield _line([_encoded(value) for value in row])


async def import_rows(connection: AsyncConnection, lines: Iterable[bytes]) -> dict[str, int]:
    """Put the rows into the tables, which are empty and of the same revision; how many there are in each table.

    Numbers that the database gives go on after the highest. Raises ValueError for lines of another kind.
    """
    tables = {table.name: table for table in await connection.run_sync(_tables)}
    iterator = iter(lines)
    header = json.loads(next(iterator, b"{}"))
    if header.get("rows") != FORMAT:
        raise ValueError("these are no rows, or rows of another release")
    counts: dict[str, int] = {}
    into: _Inserter | None = None
    for line in iterator:
        found: Any = json.loads(line)
        if isinstance(found, dict):
            if into is not None:
                await into.flush()
            named = cast(dict[str, Any], found)
            into = _Inserter(connection, tables[named["table"]], named["columns"])
            counts[named["table"]] = 0
        elif into is None:
            raise ValueError("a row comes before the name of its table")
        else:
            await into.add(found)
            counts[into.table.name] += 1
    if into is not None:
        await into.flush()
    if connection.dialect.name == "postgresql":
        for table in tables.values():
            await _go_on_counting(connection, table)
    return counts


async def delete_rows(connection: AsyncConnection) -> None:
    """Leave all tables empty."""
    for table in reversed(await connection.run_sync(_tables)):
        await connection.execute(sa.delete(table))


class _Inserter:
    def __init__(self, connection: AsyncConnection, table: Table, columns: list[str]) -> None:
        self.table = table
        self._connection = connection
        self._columns = columns
        self._waiting: list[dict[str, object]] = []
        self._insert = sa.insert(table).values({name: self._value(table.c[name]) for name in columns})

    async def add(self, row: list[object]) -> None:
        values = zip(self._columns, row, strict=True)
        self._waiting.append({f"value_{name}": _decoded(value) for name, value in values})
        if len(self._waiting) == BATCH:
            await self.flush()

    async def flush(self) -> None:
        if self._waiting:
            await self._connection.execute(self._insert, self._waiting)
        self._waiting = []

    def _value(self, column: Column[Any]) -> sa.ColumnElement[Any]:
        if not _is_json(column):
            return sa.bindparam(f"value_{column.name}", type_=column.type)
        text = sa.bindparam(f"value_{column.name}", type_=sa.Text())
        return sa.cast(text, column.type) if self._connection.dialect.name == "postgresql" else text


async def _go_on_counting(connection: AsyncConnection, table: Table) -> None:
    for column in table.c:
        sequence = sa.select(sa.func.pg_get_serial_sequence(table.name, column.name))
        if (name := await connection.scalar(sequence)) is not None:
            following = sa.func.coalesce(sa.func.max(column), 0) + 1
            await connection.execute(sa.select(sa.func.setval(name, following, sa.false())))


def _tables(connection: Connection) -> list[Table]:
    """The services' own tables, those that are referred to first."""
    metadata = MetaData()
    names = [name for name in _table_names(connection) if name != REVISIONS]
    metadata.reflect(connection, only=names)
    return list(metadata.sorted_tables)


def _table_names(connection: Connection) -> list[str]:
    if connection.dialect.name == "sqlite":
        # Not those in which an index of words keeps itself.
        own = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'"
        return [str(name) for name in connection.scalars(sa.text(own))]
    return sa.inspect(connection).get_table_names()


def _columns(table: Table) -> list[Column[Any]]:
    return [column for column in table.c if column.computed is None]


def _is_json(column: Column[Any]) -> bool:
    return isinstance(column.type, sa.JSON)


def _encoded(value: object) -> object:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _decoded(value: object) -> object:
    if isinstance(value, dict):
        return base64.b64decode(cast(dict[str, str], value)["base64"])
    return value


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
