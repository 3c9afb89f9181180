"""Zoos to back up and bring back: services in the test's process, blobs in memory, databases in a folder."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from modelzoo.client import Client
from support.crashes import Crashes, CrashingBlobs, CrashingDatabase
from support.tables import open_migrated
from support.zoo_in_process import zoo_in_process
from zoo_backup.folder import Folder
from zoo_backup.make import Made, make_backup
from zoo_backup.restore import Restored, Target, restore_backup
from zoo_backup.source import SOURCES, TRAINING
from zoo_store.blobs import BlobStore
from zoo_store.sql import open_database

__all__ = ["backed_up", "client_of", "database_urls", "opened_targets", "quiet", "restored", "start_training"]


def quiet(words: str) -> None:
    """Tells nobody."""


def database_urls(folder: Path) -> dict[str, str]:
    return {source.name: f"sqlite:///{folder}/{source.name}.db" for source in SOURCES}


async def start_training(folder: Path) -> None:
    """What the training service's first start leaves there; no test has it run."""
    async with open_migrated(database_urls(folder)[TRAINING.name], TRAINING.versions):
        pass


@contextmanager
def client_of(folder: Path, store: BlobStore) -> Iterator[Client]:
    """Services on what lies there, and their administrator."""
    folder.mkdir(exist_ok=True)
    with zoo_in_process(folder, store=store) as door, Client(door.url, "admin-key") as client:
        yield client


async def backed_up(zoo: Path, store: BlobStore, path: Path) -> Made:
    await start_training(zoo)
    return await make_backup(database_urls(zoo), store, Folder(path), quiet)


@asynccontextmanager
async def opened_targets(zoo: Path, crashes: Crashes | None = None) -> AsyncIterator[list[Target]]:
    zoo.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        targets: list[Target] = []
        for source in SOURCES:
            database = await stack.enter_async_context(open_database(database_urls(zoo)[source.name]))
            targets.append(Target(source, CrashingDatabase(database, crashes) if crashes else database))
        yield targets


async def restored(
    path: Path,
    zoo: Path,
    store: BlobStore,
    *,
    only: tuple[str, ...] = (),
    force: tuple[str, ...] = (),
    crashes: Crashes | None = None,
) -> Restored:
    async with opened_targets(zoo, crashes) as targets:
        blobs = CrashingBlobs(store, crashes) if crashes else store
        return await restore_backup(Folder(path), targets, blobs, quiet, only=only, force=force)
