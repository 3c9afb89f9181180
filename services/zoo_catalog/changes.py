"""The one log of everything that changed the catalog, in order: who did what, and what it was before and after.

It is written in the transaction of the change itself: what is not in it did not happen. No secret enters it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_catalog.schema import changes
from zoo_store.sql import now, ordered_append

__all__ = ["Change", "State", "append", "current_time"]

# What a resource said, as JSON.
State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """`sequence` is also the etag of the resource that changed, `time` its time, by the database's clock."""

    sequence: int
    time: datetime


async def append(
    connection: AsyncConnection,
    actor: str,
    action: str,
    resource: str,
    *,
    before: State | None = None,
    after: State | None = None,
) -> Change:
    """Record what the transaction changes. `before` None: it did not exist; `after` None: it no longer does."""
    time = await current_time(connection)
    row = {"time": time, "actor": actor, "action": action, "resource": resource, "before": before, "after": after}
    return Change(await ordered_append(connection, changes, row), time)


async def current_time(connection: AsyncConnection) -> datetime:
    """The database's."""
    return (await connection.execute(select(now()))).scalar_one()
