"""Under which names the catalog pins manifests in the artifact service.

All versions of a model that have the same manifest share one pin, `catalog:namespace/name`: a retry, and a later
version of the same files, find it there. When a version is purged, the name for new ones changes (`...#1`, `...#2`):
whoever publishes the same files again while the old pins are being let go of holds a pin that nobody lets go of. That
the name is still the current one is checked in the transaction that records the version.
"""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_catalog.schema import versions

__all__ = ["holder_of", "purges"]


def holder_of(model: str, generation: int) -> str:
    """The holder of a model's manifests after so many of its versions with that manifest were purged."""
    return f"catalog:{model}#{generation}" if generation else f"catalog:{model}"


async def purges(connection: AsyncConnection, model_id: int, manifest_digest: str) -> int:
    """How many versions of the model with this manifest were purged."""
    query = select(func.count()).where(
        versions.c.model_id == model_id, versions.c.manifest_digest == manifest_digest, versions.c.purged
    )
    return (await connection.execute(query)).scalar_one()
