"""Who may do what, as gateways need to know it: snapshots of all keys and grants."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import bindparam, exists, literal, or_, select

from zoo_catalog.feed import ChangeFeed
from zoo_catalog.grants import Grant, all_grants
from zoo_catalog.keys import Key, current_keys
from zoo_catalog.schema import changes
from zoo_server.principal import Role
from zoo_store.sql import Database

__all__ = ["Access", "AccessSnapshots"]

# Changes of models that every viewer sees are many, and concern no key and no grant; whatever else there is may.
_MAY_CONCERN = select(literal(1)).where(
    exists().where(
        changes.c.sequence > bindparam("after"),
        changes.c.sequence <= bindparam("end"),
        or_(changes.c.model_key.is_(None), changes.c.role > int(Role.VIEWER)),
    )
)


@dataclass(frozen=True, slots=True)
class Access:
    """Every grant, and every key that was not revoked more than a day ago."""

    keys: list[Key]
    grants: list[Grant]


class AccessSnapshots:
    def __init__(self, database: Database, feed: ChangeFeed) -> None:
        self._database = database
        self._feed = feed

    async def watch(self) -> AsyncIterator[Access]:
        """A snapshot at once, and one after every change; changes in quick succession make one.

        Ends with DRAINING when the feed is closed.
        """
        # Looked for before the reading: a change during it makes one more snapshot.
        end = await self._feed.look()
        yield await self._read()
        while await self._feed.beyond(end):
            after, end = end, self._feed.end
            if await self._database.fetch(_MAY_CONCERN, {"after": after, "end": end}):
                yield await self._read()

    async def _read(self) -> Access:
        async with self._database.read() as connection:
            return Access(await current_keys(connection), await all_grants(connection))
