"""What `sql.Database` needs of a SQL engine: each engine has a module that is an `Engine`, and gives `Driver`s."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from sqlalchemy import Row, Select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Conflict", "Driver", "Engine"]


class Conflict(Exception):
    """A write broke a constraint of the database; the message names it. The caller knows what it means, and says so."""


class Driver(Protocol):
    """The ways into one open database. All of them raise SQLAlchemy's errors."""

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that sees one state of the database, and cannot write."""
        ...

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction, committed at the end of the block or rolled back. No two of one database overlap, whichever
        processes have them: what one reads stays true until its commit, and the next one sees what it wrote."""
        ...

    def change_schema(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """As `write`, with as much time as a migration needs. Conflict if a row refers to nothing at the end."""
        ...

    async def fetch(self, query: Select[Any], values: Mapping[str, object]) -> Sequence[Row[Any]]:
        """As `Database.fetch`."""
        ...


class Engine(Protocol):
    """A module. Of an error that comes of a wrong statement none of the last three is true."""

    def open_driver(self, url: URL) -> AbstractAsyncContextManager[Driver]:
        """Raises ValueError for a URL that names no database of this engine."""
        ...

    def open_snapshot(self, url: URL) -> AbstractAsyncContextManager[AsyncConnection]:
        """As `sql.read_snapshot`."""
        ...

    def is_disk_full(self, error: DBAPIError) -> bool: ...

    def is_out_of_reach(self, error: DBAPIError) -> bool:
        """Whether trying again may help, later or on another connection."""
        ...

    def is_value_refused(self, error: DBAPIError) -> bool:
        """Whether there is no place for a value, whatever else the tables hold."""
        ...
