"""Letting go of the bytes of what was deleted, once it can no longer be undeleted.

In this order, so that a crash anywhere loses nothing and is made up for by the next round: marked as purged, from when
on nothing brings it back; unpinned, unless another version of the model has the same manifest; marked as released.
"""

import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import FailedPrecondition
from zoo_catalog import changes
from zoo_catalog.artifacts import Artifacts
from zoo_catalog.holders import holder_of, purges
from zoo_catalog.models import model_row
from zoo_catalog.names import namespace_of, parse_model
from zoo_catalog.schema import access_requests, cards, models, versions
from zoo_catalog.versions import Version, VersionState, get_version
from zoo_server.background import beside, repeat
from zoo_store.sql import Database, now

__all__ = ["Purger"]

log = logging.getLogger(__name__)

ACTOR = "service:catalog"
# Marked in one transaction, and released between two looks.
BATCH = 100


@dataclass(frozen=True, slots=True)
class _Letting:
    """Purged versions of one model with the same manifest that were not released yet."""

    model_id: int
    model: str
    manifest_digest: str
    numbers: tuple[int, ...]


class Purger:
    """Any number of processes may do this at once."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts

    def running(self, interval_s: float) -> AbstractAsyncContextManager[None]:
        """Purge what is due, again and again, while the block runs."""
        return beside(repeat(self.round, "purging broke off and goes on later", interval_s), "purge")

    async def round(self) -> None:
        """Purge all that is due by the database's clock, and finish what was left undone.

        Raises what `Database` and `Artifacts` raise; the next round goes on from there.
        """
        while await self._mark_versions() or await self._mark_models():
            pass
        while lettings := await self._lettings():
            for letting in lettings:
                await self._release(letting)

    async def purge_version(self, model: str, number: int, actor: str) -> Version:
        """Purge a deleted version now. Raises REFERENCE_INVALID, MODEL_NOT_FOUND, VERSION_NOT_FOUND,
        VERSION_STATE_INVALID, and what `Artifacts` raises: then it is purged, and a later round releases it."""
        path = parse_model(model)
        async with self._database.write() as connection:
            row = await model_row(connection, path)
            version = await get_version(connection, row, number)
            if version.state is not VersionState.DELETED:
                raise FailedPrecondition(
                    "VERSION_STATE_INVALID",
                    f"{version.reference} is {version.state.value}: only what is deleted can be purged",
                    metadata={"state": version.state.value},
                )
            if not version.purged:
                await _mark_version(connection, row.id, version.reference, number, actor)
        for letting in await self._lettings(row.id):
            await self._release(letting)
        async with self._database.read() as connection:
            return await get_version(connection, row, number)

    async def _mark_versions(self) -> bool:
        """Mark some versions that are due; whether there were any."""
        query = (
            select(versions.c.model_id, versions.c.version, models.c.name)
            .join(models, models.c.id == versions.c.model_id)
            .where(versions.c.purge_time <= now(), versions.c.purged.is_(False))
            .limit(BATCH)
        )
        async with self._database.write() as connection:
            due = (await connection.execute(query)).all()
            for row in due:
                await _mark_version(connection, row.model_id, f"{row.name}@{row.version}", row.version, ACTOR)
        return bool(due)

    async def _mark_models(self) -> bool:
        """Mark one model that is due, with all that it has; whether there was any."""
        query = select(models).where(models.c.purge_time <= now(), models.c.purged.is_(False)).limit(1)
        async with self._database.write() as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is not None:
                await _mark_model(connection, row)
        return row is not None

    async def _lettings(self, model_id: int | None = None) -> Sequence[_Letting]:
        """Some of what is to be released, of one model or of all."""
        query = (
            select(versions.c.model_id, versions.c.version, versions.c.manifest_digest, models.c.name)
            .join(models, models.c.id == versions.c.model_id)
            .where(versions.c.purged, versions.c.released.is_(False))
            .limit(BATCH)
        )
        if model_id is not None:
            query = query.where(versions.c.model_id == model_id)
        numbers: dict[tuple[int, str, str], list[int]] = {}
        async with self._database.read() as connection:
            for row in await connection.execute(query):
                numbers.setdefault((row.model_id, row.name, row.manifest_digest), []).append(row.version)
        return [_Letting(*key, numbers=tuple(found)) for key, found in numbers.items()]

    async def _release(self, letting: _Letting) -> None:
        of_files = versions.c.model_id == letting.model_id, versions.c.manifest_digest == letting.manifest_digest
        async with self._database.read() as connection:
            held = select(func.count()).where(*of_files, versions.c.purged.is_(False))
            is_held = (await connection.execute(held)).scalar_one() > 0
            generation = await purges(connection, letting.model_id, letting.manifest_digest)
        if not is_held:
            for earlier in range(generation):
                holder = holder_of(letting.model, earlier)
                await self._artifacts.unpin(namespace_of(letting.model), letting.manifest_digest, holder)
        async with self._database.write() as connection:
            # Those that were seen: one that was purged since has yet to be looked at.
            seen = versions.c.version.in_(letting.numbers)
            await connection.execute(update(versions).where(*of_files, seen).values(released=True))


async def _mark_version(connection: AsyncConnection, model_id: int, reference: str, number: int, actor: str) -> None:
    change = await changes.append(
        connection, actor, "PurgeVersion", reference, before={"state": VersionState.DELETED.value}
    )
    own = versions.c.model_id == model_id, versions.c.version == number
    stamps = {"purge_time": change.time, "update_time": change.time, "etag": change.sequence}
    await connection.execute(update(versions).where(*own).values(purged=True, **stamps))
    await connection.execute(delete(cards).where(cards.c.model_id == model_id, cards.c.version == number))


async def _mark_model(connection: AsyncConnection, model: Row[Any]) -> None:
    change = await changes.append(connection, ACTOR, "PurgeModel", model.name, before={"name": model.name})
    stamps = {"update_time": change.time, "etag": change.sequence}
    await connection.execute(update(models).where(models.c.id == model.id).values(purged=True, card="", **stamps))
    await connection.execute(
        update(versions)
        .where(versions.c.model_id == model.id, versions.c.purged.is_(False))
        .values(state=VersionState.DELETED.value, purged=True, purge_time=change.time, **stamps)
    )
    for table in (cards, access_requests):
        await connection.execute(delete(table).where(table.c.model_id == model.id))
