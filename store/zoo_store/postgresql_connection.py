"""Connections to PostgreSQL by asyncpg, which has no types: `Any` may stand here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from sqlalchemy import Dialect, Integer
from sqlalchemy.dialects.postgresql.asyncpg import AsyncpgBigInteger
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

__all__ = ["Server", "broken", "compare_widely", "server_at", "sqlstate"]

CONNECT_S = 5.0

# Needs no quotes in SQL, and is as long as PostgreSQL takes it.
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Server:
    """Where the tables are. `schema` '': where the server looks first."""

    dsn: str = field(repr=False)  # has the password in it
    schema: str

    async def connect(self, settings: Mapping[str, str], answer_s: float | None) -> Any:
        """A new connection to a server that takes writes; its session has these settings of PostgreSQL.

        What is asked on it raises TimeoutError after `answer_s`. Raises OperationalError where there is none to be had.
        """
        if self.schema:
            settings = {**settings, "search_path": self.schema}
        connect: Any = asyncpg.connect  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        try:
            return await connect(
                self.dsn,
                timeout=CONNECT_S,
                command_timeout=answer_s,
                server_settings=dict(settings),
                target_session_attrs="primary",
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError) as error:
            raise broken(error) from error


def server_at(url: URL) -> Server:
    """What `postgresql://...` names; all of it is for asyncpg, but `schema`. Raises ValueError for a wrong one."""
    shown = url.render_as_string(hide_password=True)
    schema = url.query.get("schema", "")
    if not url.database or not url.username:
        raise ValueError(f"a database URL is postgresql://user:password@host:port/database, not {shown}")
    if not isinstance(schema, str) or (schema and not _SCHEMA.fullmatch(schema)):
        raise ValueError(f"a schema is named with lower-case letters, digits and '_', not as in {shown}")
    return Server(url.difference_update_query(["schema"]).render_as_string(hide_password=False), schema)


def compare_widely(dialect: Dialect) -> None:
    """Let queries name numbers that their columns are too small for: nothing equals those, but much is below them."""
    dialect.colspecs = {**dialect.colspecs, Integer: AsyncpgBigInteger}


def broken(cause: Exception) -> OperationalError:
    """The error of a connection that is no use any more."""
    return OperationalError(None, None, cause, connection_invalidated=True)


def sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's code, '' where the error has none."""
    return getattr(error.orig, "sqlstate", None) or ""
