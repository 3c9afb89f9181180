"""How many bytes namespaces use: as their files say, and as they are stored, each blob once."""

from dataclasses import dataclass

from sqlalchemy import Column, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_artifact.index import DAMAGED
from zoo_artifact.schema import STORED, blobs, manifest_blobs, manifests, namespace_manifests
from zoo_store.sql import Database

__all__ = ["NamespaceUsage", "StoreUsage", "Usages"]


@dataclass(frozen=True, slots=True)
class NamespaceUsage:
    """`exclusive_bytes` are of blobs that no other namespace uses."""

    namespace: str
    manifests: int
    logical_bytes: int
    blobs: int
    physical_bytes: int
    exclusive_bytes: int


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """`logical_bytes` counts a manifest in each namespace where it is visible."""

    manifests: int
    logical_bytes: int
    blobs: int
    physical_bytes: int
    unreferenced_bytes: int


class Usages:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_namespaces(self, namespace: str | None = None) -> list[NamespaceUsage]:
        """By name; of one namespace, if given, even where it has nothing."""
        async with self._database.read() as connection:
            found = [
                NamespaceUsage(name, count, logical, *stored)
                for name, count, logical in await _logical(connection, namespace)
                for stored in [await _physical(connection, name)]
            ]
        if namespace is not None and not found:
            return [NamespaceUsage(namespace, 0, 0, 0, 0, 0)]
        return found

    async def of_store(self) -> StoreUsage:
        is_stored = blobs.c.state.in_((STORED, DAMAGED))
        async with self._database.read() as connection:
            count, size_bytes = (await connection.execute(_sum(blobs.c.size_bytes).where(is_stored))).one()
            unused = _sum(blobs.c.size_bytes).where(is_stored, blobs.c.reference_count == 0)
            different = select(func.count()).select_from(manifests).where(manifests.c.state == STORED)
            return StoreUsage(
                manifests=await connection.scalar(different) or 0,
                logical_bytes=sum(logical for _, _, logical in await _logical(connection, None)),
                blobs=count,
                physical_bytes=int(size_bytes),
                unreferenced_bytes=int((await connection.execute(unused)).one()[1]),
            )


async def _logical(connection: AsyncConnection, namespace: str | None) -> list[tuple[str, int, int]]:
    """Namespace, manifests, bytes."""
    visible = namespace_manifests
    query = (
        _sum(manifests.c.size_bytes)
        .add_columns(visible.c.namespace)
        .join(visible, visible.c.digest == manifests.c.digest)
        .where(visible.c.state == STORED)
        .group_by(visible.c.namespace)
        .order_by(visible.c.namespace)
    )
    if namespace is not None:
        query = query.where(visible.c.namespace == namespace)
    return [(name, count, int(size_bytes)) for count, size_bytes, name in await connection.execute(query)]


async def _physical(connection: AsyncConnection, namespace: str) -> tuple[int, int, int]:
    """Blobs, their bytes, and the bytes of those that no other namespace uses."""
    visible = namespace_manifests
    used = (
        select(manifest_blobs.c.blob)
        .join(visible, visible.c.digest == manifest_blobs.c.manifest)
        .where(visible.c.state == STORED)
    )
    own = used.where(visible.c.namespace == namespace)
    others = used.where(visible.c.namespace != namespace, manifest_blobs.c.blob == blobs.c.digest)
    all_of_it = _sum(blobs.c.size_bytes).where(blobs.c.digest.in_(own))
    count, size_bytes = (await connection.execute(all_of_it)).one()
    exclusive = await connection.execute(all_of_it.where(~others.correlate(blobs).exists()))
    return count, int(size_bytes), int(exclusive.one()[1])


def _sum(column: Column[int]) -> Select[int, int]:
    """Number of rows, and the sum of a column, 0 of none."""
    return select(func.count(), func.coalesce(func.sum(column), 0))
