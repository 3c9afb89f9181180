"""Everything that the catalog holds is pinned in the artifact service, whatever that service has forgotten.

The artifact service asks nobody: an index made anew from its bucket knows no pins, and sweeps nothing until its holders
say that theirs are there; nor does it know what namespaces allow, and refuses that. So the catalog looks for a new
index every minute, and tells and pins everything again when there is one, and now and then without.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from sqlalchemy import select, tuple_

from modelzoo.errors import NotFound
from zoo_catalog.artifacts import Artifacts
from zoo_catalog.holders import holder_of, purges
from zoo_catalog.names import namespace_of
from zoo_catalog.namespace_edits import NamespaceEdits
from zoo_catalog.schema import models, versions
from zoo_server.background import beside, repeat
from zoo_store.sql import Database

__all__ = ["PinKeeper"]

LOOK_S = 60.0
AGAIN_S = 5.0
PAGE = 500
PINNING_AT_ONCE = 8
PINS_PER_S = 200.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A manifest of some version; `model` is the model's name as it was created."""

    model_id: int
    model: str
    manifest_digest: str


class PinKeeper:
    """Tells policies and pins everything again after `interval_s`, or when the artifact service has another index."""

    def __init__(
        self, database: Database, artifacts: Artifacts, namespace_edits: NamespaceEdits, interval_s: float
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._namespace_edits = namespace_edits
        self._interval_s = interval_s
        self._pinned_in = ""
        self._pinned_at = 0.0

    def running(self) -> AbstractAsyncContextManager[None]:
        """Keep everything pinned while the block runs."""
        return beside(repeat(self.look, "pins are not confirmed", LOOK_S, AGAIN_S), "pin")

    async def look(self) -> None:
        """Tell policies, pin everything and confirm it, if that is due. Raises DEPENDENCY_UNAVAILABLE; nothing is
        confirmed then."""
        index_id = await self._artifacts.index_id()
        if index_id == self._pinned_in and time.monotonic() < self._pinned_at + self._interval_s:
            return
        # First, because it is soon done and somebody may wait for it.
        await self._namespace_edits.tell_all()
        started, count = time.monotonic(), 0
        async for page in self._held():
            for at in range(0, len(page), PINNING_AT_ONCE):
                some = page[at : at + PINNING_AT_ONCE]
                await asyncio.gather(*map(self._pin, some))
                count += len(some)
                await asyncio.sleep(max(0.0, started + count / PINS_PER_S - time.monotonic()))
        await self._artifacts.confirm_pins(index_id)
        self._pinned_in, self._pinned_at = index_id, time.monotonic()
        log.info("%d manifests are pinned", count)

    async def _pin(self, held: Held) -> None:
        async with self._database.read() as connection:
            generation = await purges(connection, held.model_id, held.manifest_digest)
        namespace, holder = namespace_of(held.model), holder_of(held.model, generation)
        try:
            await self._artifacts.pin(namespace, held.manifest_digest, holder)
        except NotFound:
            log.error("%s: its manifest sha256:%s is lost; push it again", held.model, held.manifest_digest)
            return
        # It may have been purged since it was read, and then its pin was ended before it was set again.
        if not await self._is_held(held):
            await self._artifacts.unpin(namespace, held.manifest_digest, holder)

    async def _held(self) -> AsyncGenerator[list[Held]]:
        """The manifests of all versions that are not purged, deleted ones too; each once a model."""
        row = tuple_(versions.c.model_id, versions.c.manifest_digest)
        query = (
            select(versions.c.model_id, models.c.name, versions.c.manifest_digest)
            .join(models, models.c.id == versions.c.model_id)
            .where(versions.c.purged.is_(False))
            .distinct()
            .order_by(versions.c.model_id, versions.c.manifest_digest)
            .limit(PAGE)
        )
        after = (0, "")
        while True:
            async with self._database.read() as connection:
                page = [Held(*found) for found in await connection.execute(query.where(row > after))]
            if not page:
                return
            yield page
            after = (page[-1].model_id, page[-1].manifest_digest)

    async def _is_held(self, held: Held) -> bool:
        version = select(versions.c.version).where(
            versions.c.model_id == held.model_id,
            versions.c.manifest_digest == held.manifest_digest,
            versions.c.purged.is_(False),
        )
        async with self._database.read() as connection:
            return await connection.scalar(version.limit(1)) is not None
