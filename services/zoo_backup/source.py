"""What is backed up beside the bucket: one entry for each service that has a database. Another service is one more.

They are read in the order of SOURCES, which is the reverse of that in which a job or a publish writes (bytes, index,
catalog, job): what is read later holds everything that something read earlier names, unless it was deleted in between.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

import zoo_artifact.main
import zoo_artifact.upkeep_state
import zoo_catalog.main
import zoo_training.main
from zoo_artifact.keys import Visible
from zoo_artifact.schema import pins
from zoo_catalog.names import namespace_of
from zoo_catalog.schema import models, versions
from zoo_training.schema import pins as job_pins

__all__ = ["ARTIFACT", "BUCKET", "CATALOG", "PARTS", "SOURCES", "TRAINING", "Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """A service's database. `precious` tables have rows only where somebody stored something: a restore does not
    replace them without being told to. `held` gives the manifests that rows name, whose bytes a backup must have.
    `settle` makes restored rows fit the moment."""

    name: str
    versions: Path
    precious: tuple[str, ...]
    held: Callable[[AsyncConnection], Awaitable[set[Visible]]]
    settle: Callable[[AsyncConnection], Awaitable[None]]


async def _of_versions(connection: AsyncConnection) -> set[Visible]:
    query = (
        select(models.c.key, versions.c.manifest_digest)
        .join(models, models.c.id == versions.c.model_id)
        .where(versions.c.purged.is_(False))
    )
    return {Visible(namespace_of(row.key), row.manifest_digest) for row in await connection.execute(query)}


async def _of_pins(connection: AsyncConnection) -> set[Visible]:
    """Those that never expire: uploads in progress may come to nothing."""
    query = select(pins.c.namespace, pins.c.digest).where(pins.c.expire_time.is_(None))
    return {Visible(row.namespace, row.digest) for row in await connection.execute(query)}


async def _of_jobs(connection: AsyncConnection) -> set[Visible]:
    query = select(job_pins.c.namespace, job_pins.c.manifest_digest).where(job_pins.c.wanted.is_(True))
    return {Visible(row.namespace.casefold(), row.manifest_digest) for row in await connection.execute(query)}


async def _nothing(connection: AsyncConnection) -> None:
    """Rows are right at any time."""


ARTIFACT = Source(
    "artifact",
    zoo_artifact.main.VERSIONS,
    ("manifests", "namespace_policies"),
    _of_pins,
    zoo_artifact.upkeep_state.begin_restore,
)
CATALOG = Source("catalog", zoo_catalog.main.MIGRATIONS, ("models",), _of_versions, _nothing)
# Jobs that ran when they were read are leased again: their leases have lapsed.
TRAINING = Source("training", zoo_training.main.MIGRATIONS, ("jobs",), _of_jobs, _nothing)

# The index last: whatever a holder names was in it before.
SOURCES = (TRAINING, CATALOG, ARTIFACT)

# What a restore can be confined to. The bucket is completed in any case; alone, it leaves all rows as they are.
BUCKET = "bucket"
PARTS = (*(source.name for source in SOURCES), BUCKET)
