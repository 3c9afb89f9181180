"""Where a zoo keeps what is backed up, and both operations on it from their beginning to their end."""

from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from zoo_backup.folder import Folder
from zoo_backup.make import Made, Told, make_backup
from zoo_backup.restore import Restored, Target, restore_backup
from zoo_backup.source import SOURCES
from zoo_store.blobs import S3Credentials, open_blobs
from zoo_store.sql import open_database

__all__ = ["Place", "back_up", "restore"]


@dataclass(frozen=True, slots=True)
class Place:
    """`databases`: a URL for each of SOURCES, by its name. They are the services' own settings."""

    databases: Mapping[str, str] = field(repr=False)
    blobs_url: str
    credentials: S3Credentials


async def back_up(place: Place, path: Path, told: Told) -> Made:
    """As `make_backup`."""
    async with open_blobs(place.blobs_url, place.credentials) as store:
        return await make_backup(place.databases, store, Folder(path), told)


async def restore(
    place: Place, path: Path, told: Told, *, only: Collection[str] = (), force: Collection[str] = ()
) -> Restored:
    """As `restore_backup`. Raises sqlite.DatabaseInUse where a service runs on its SQLite file."""
    folder = Folder(path)
    folder.record()  # before anything is opened, and made
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_blobs(place.blobs_url, place.credentials))
        targets = [
            Target(source, await stack.enter_async_context(open_database(place.databases[source.name])))
            for source in SOURCES
        ]
        return await restore_backup(folder, targets, store, told, only=only, force=force)
