"""Lets go of models that may no longer be run: quarantined, deleted, or no longer signed by anybody trusted."""

import asyncio
import logging
from typing import Any

from modelzoo.errors import FailedPrecondition, NotFound, ZooError
from zoo_inference.catalog import Catalog
from zoo_inference.residency import Residency

__all__ = ["Patrol"]

log = logging.getLogger(__name__)

EVERY_S = 2.0


class Patrol:
    """Asks the catalog again about every version in memory. Requests that run already are finished."""

    def __init__(self, catalog: Catalog, residency: Residency[Any]) -> None:
        self._catalog = catalog
        self._residency = residency

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Let go of what may not be run now. While the catalog is away everything stays."""
        for resident in self._residency.residents:
            version = resident.version
            try:
                now = await self._catalog.version(version.reference)
            except (FailedPrecondition, NotFound) as error:
                log.warning("unloading %s, which must not be run: %s", version.reference, error.message)
                await self._residency.drop(version.key)
            except ZooError as error:
                # Nobody says that it must not be run.
                log.warning("whether %s may be run cannot be seen now: %s", version.reference, error.message)
                return
            else:
                if now.key != version.key:
                    log.warning("unloading %s, whose lineage names another base now", version.reference)
                    await self._residency.drop(version.key)
