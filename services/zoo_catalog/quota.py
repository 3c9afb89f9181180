"""How many bytes a namespace's versions have, and whether more fit into its quota.

Counted is what a user sees: the sizes of different manifests, each once, without what is deleted. That blobs are
stored once however many manifests name them makes no difference here.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import ResourceExhausted
from zoo_catalog.schema import models, namespaces, versions

__all__ = ["check_room", "used_bytes", "within_quota"]

DELETED = "DELETED"


async def used_bytes(connection: AsyncConnection, namespace_key: str) -> int:
    sizes = _manifests(namespace_key).subquery()
    query = select(func.coalesce(func.sum(sizes.c.size_bytes), 0))
    return int((await connection.execute(query)).scalar_one())


async def check_room(connection: AsyncConnection, namespace_key: str, manifest_digest: str, size_bytes: int) -> None:
    """Raise QUOTA_EXCEEDED where a version with this manifest would not fit."""
    quota = await _quota(connection, namespace_key)
    if not quota:
        return
    known = _manifests(namespace_key).where(versions.c.manifest_digest == manifest_digest)
    if (await connection.execute(known)).first() is not None:
        return
    used = await used_bytes(connection, namespace_key)
    if used + size_bytes > quota:
        raise _exceeded(namespace_key, used, size_bytes, quota)


@asynccontextmanager
async def within_quota(connection: AsyncConnection, namespace_key: str) -> AsyncGenerator[None]:
    """What the block adds must fit, or QUOTA_EXCEEDED leaves it; who adds nothing is never refused."""
    quota = await _quota(connection, namespace_key)
    before = await used_bytes(connection, namespace_key) if quota else 0
    yield
    if quota and (after := await used_bytes(connection, namespace_key)) > max(quota, before):
        raise _exceeded(namespace_key, before, after - before, quota)


def _manifests(namespace_key: str) -> Select[str, int]:
    """The different manifests of a namespace's versions, with their sizes."""
    return (
        select(versions.c.manifest_digest, func.max(versions.c.size_bytes).label("size_bytes"))
        .join(models, models.c.id == versions.c.model_id)
        .where(models.c.namespace_key == namespace_key, models.c.delete_time.is_(None), versions.c.state != DELETED)
        .group_by(versions.c.manifest_digest)
    )


async def _quota(connection: AsyncConnection, namespace_key: str) -> int:
    query = select(namespaces.c.quota_bytes).where(namespaces.c.key == namespace_key)
    return int((await connection.execute(query)).scalar_one())


def _exceeded(namespace: str, used: int, size_bytes: int, quota: int) -> ResourceExhausted:
    return ResourceExhausted(
        "QUOTA_EXCEEDED",
        f"the namespace '{namespace}' has {used:,} of the {quota:,} bytes of its quota, and this needs "
        f"{size_bytes:,} more: delete versions, or ask an admin of the cluster for a higher quota",
        metadata={"used_bytes": str(used), "size_bytes": str(size_bytes), "quota_bytes": str(quota)},
    )
