"""Who may do what, as gateways need to know it: snapshots of all keys and grants."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from zoo_catalog.feed import AccessFeed
from zoo_catalog.grants import Grant, all_grants
from zoo_catalog.keys import Key, current_keys
from zoo_store.sql import Database

__all__ = ["Access", "AccessSnapshots"]


@dataclass(frozen=True, slots=True)
class Access:
    """Every grant, and every key that was not revoked more than a day ago."""

    keys: list[Key]
    grants: list[Grant]


class AccessSnapshots:
    def __init__(self, database: Database, feed: AccessFeed) -> None:
        self._database = database
        self._feed = feed

    async def watch(self) -> AsyncIterator[Access]:
        """A snapshot at once, and one after every change. Ends with DRAINING when the feed is closed."""
        async for _ in self._feed.turns():
            async with self._database.read() as connection:
                access = Access(await current_keys(connection), await all_grants(connection))
            yield access
