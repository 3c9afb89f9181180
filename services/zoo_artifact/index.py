"""What the object store holds and who may use it, in SQL. Every method is one transaction.

Namespaces come as keys (`names.namespace_key`). A row in the state `stored` means that its object is in the bucket. Who
is about to store one says so first (`storing`, or a touch), so that no sweep takes the old one away from under the new;
a sweeper marks a row `deleting` before it removes the object, and the row after it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, delete, exists, select, true, update

# Its ON CONFLICT is SQLite's too, and compiles for both.
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import FailedPrecondition, Unavailable
from modelzoo.manifest import Blob, Manifest
from zoo_artifact.schema import (
    DELETING,
    STORED,
    STORING,
    blobs,
    manifest_blobs,
    manifests,
    namespace_blobs,
    namespace_manifests,
    pins,
)
from zoo_store.sql import Database, now

__all__ = ["DAMAGED", "BeingDeleted", "Index", "Pin", "batches", "blobs_missing"]

# Rows that one statement names at most; SQLite and PostgreSQL both take 32,766 parameters.
BATCH = 1000
DAMAGED = "damaged"
BEING_DELETED_RETRY_S = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pin:
    """`subject` keeps a manifest, as `holder`, until `expire_time`; None: for ever."""

    subject: str
    holder: str
    expire_time: datetime | None


class Index:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def now(self) -> datetime:
        """The database's time."""
        async with self.database.read() as connection:
            return (await connection.execute(select(now()))).scalar_one()

    async def claim_blob(self, namespace: str, blob: Blob) -> bool:
        """Whether the blob is stored already; if so, the namespace may use it from now on, and it was touched.

        Where it is not, the caller may store it, and then records it: until then no sweep removes the object. Only for
        who has shown that it has the bytes. Raises Unavailable while the blob is being deleted.
        """
        async with self.database.write() as connection:
            row = {"digest": blob.digest, "size_bytes": blob.size, "state": STORING, "reference_count": 0}
            touched = (
                insert(blobs)
                .values(**row, touch_time=now())
                .on_conflict_do_update(
                    index_elements=[blobs.c.digest], set_={"touch_time": now()}, where=blobs.c.state != DELETING
                )
                .returning(blobs.c.state)
            )
            state = await connection.scalar(touched)
            if state is None:
                raise BeingDeleted(f"blob {blob.digest}")
            if state == STORED:
                await _allow_blobs(connection, namespace, [blob.digest])
            return state == STORED

    async def record_blob(self, namespace: str, blob: Blob) -> None:
        """The blob is stored, and the namespace may use it. Raises Unavailable while it is being deleted."""
        async with self.database.write() as connection:
            row = {"digest": blob.digest, "size_bytes": blob.size, "state": STORED, "reference_count": 0}
            upsert = (
                insert(blobs)
                .values(**row, touch_time=now())
                .on_conflict_do_update(
                    index_elements=[blobs.c.digest],
                    set_={"state": STORED, "touch_time": now()},
                    where=blobs.c.state != DELETING,
                )
                .returning(blobs.c.digest)
            )
            if await connection.scalar(upsert) is None:
                raise BeingDeleted(f"blob {blob.digest}")
            await _allow_blobs(connection, namespace, [blob.digest])

    async def mark_damaged(self, digest: str) -> None:
        """The blob counts as missing until it is sent again."""
        async with self.database.write() as connection:
            damaged = update(blobs).where(blobs.c.digest == digest, blobs.c.state == STORED).values(state=DAMAGED)
            await connection.execute(damaged)

    async def find_blobs(self, namespace: str, digests: Sequence[str], readable: Collection[str]) -> dict[str, int]:
        """Sizes in bytes of those that are there, which means stored, and for the namespace or in `readable`.

        They were touched: no sweep takes them for its grace period.
        """
        async with self.database.write() as connection:
            return await _touch_usable(connection, namespace, digests, readable)

    async def known_blobs(self, digests: Sequence[str]) -> set[str]:
        """Those that have a row, in whatever state."""
        found: set[str] = set()
        async with self.database.read() as connection:
            for some in batches(digests):
                found.update(await connection.scalars(select(blobs.c.digest).where(blobs.c.digest.in_(some))))
        return found

    async def has_manifest(self, namespace: str, digest: str) -> bool:
        """Whether the manifest is visible in the namespace."""
        async with self.database.read() as connection:
            return await _is_visible(connection, namespace, digest)

    async def knows_manifest(self, digest: str) -> bool:
        """Whether any namespace has it: then its content was admitted once."""
        async with self.database.read() as connection:
            known = select(manifests.c.digest).where(manifests.c.digest == digest, manifests.c.state == STORED)
            return await connection.scalar(known) is not None

    async def announce(self, namespace: str, digest: str, manifest: Manifest) -> None:
        """The caller is about to store the manifest's objects: until it publishes, no sweep removes them.

        Raises Unavailable while one of them is being deleted.
        """
        async with self.database.write() as connection:
            await _touch_manifest(connection, digest, manifest)
            await _require_not_hiding(connection, namespace, digest)

    async def publish(
        self,
        namespace: str,
        digest: str,
        manifest: Manifest,
        readable: Collection[str],
        pin: Pin,
    ) -> None:
        """Make the manifest visible in the namespace, counted in its blobs and pinned: all of it or nothing.

        Raises BLOBS_MISSING where `find_blobs` would not find them all, Unavailable while it is being deleted.
        """
        named = manifest.unique_blobs()
        async with self.database.write() as connection:
            found = await _touch_usable(connection, namespace, list(named), readable)
            if len(found) < len(named):
                raise blobs_missing(len(named) - len(found))
            await _make_visible(connection, namespace, digest, manifest)
            await _allow_blobs(connection, namespace, [blob for blob in named if blob in readable])
            await _put_pin(connection, namespace, digest, pin)

    async def adopt(self, namespace: str, digest: str, manifest: Manifest, states: Mapping[str, str]) -> None:
        """Make visible a manifest that was put once, as the object store shows; `states` are those of its blobs there.

        Blobs that are in the index already stay as they are. Raises Unavailable while it is being deleted.
        """
        named = manifest.unique_blobs()
        async with self.database.write() as connection:
            for some in batches(list(named)):
                rows = [
                    {"digest": blob, "size_bytes": named[blob], "state": states.get(blob, STORED), "reference_count": 0}
                    for blob in some
                ]
                await connection.execute(
                    insert(blobs).values([{**row, "touch_time": now()} for row in rows]).on_conflict_do_nothing()
                )
                leaving = select(blobs.c.digest).where(blobs.c.digest.in_(some), blobs.c.state == DELETING)
                if (digest_leaving := await connection.scalar(leaving.limit(1).with_for_update())) is not None:
                    raise BeingDeleted(f"blob {digest_leaving}")
            await _make_visible(connection, namespace, digest, manifest)
            await _allow_blobs(connection, namespace, list(named))

    async def pin(self, namespace: str, digest: str, pin: Pin) -> bool:
        """Set the pin, or move its expiry. False where the namespace has no such manifest."""
        async with self.database.write() as connection:
            # Locked, so that a sweeper either sees the pin or has been faster.
            if not await _is_visible(connection, namespace, digest, lock=True):
                return False
            await _put_pin(connection, namespace, digest, pin)
            return True

    async def unpin(self, namespace: str, digest: str, subject: str, holder: str) -> None:
        """End the subject's pin, if there is one."""
        async with self.database.write() as connection:
            await connection.execute(
                delete(pins).where(
                    pins.c.namespace == namespace,
                    pins.c.digest == digest,
                    pins.c.subject == subject,
                    pins.c.holder == holder,
                )
            )


def _allowed(namespace: str) -> ColumnElement[bool]:
    return exists().where(namespace_blobs.c.namespace == namespace, namespace_blobs.c.digest == blobs.c.digest)


async def _touch(connection: AsyncConnection, digests: Sequence[str], condition: ColumnElement[bool]) -> dict[str, int]:
    """Touch those that are stored and meet the condition; their sizes in bytes."""
    touched: dict[str, int] = {}
    for some in batches(digests):
        usable = update(blobs).where(blobs.c.digest.in_(some), blobs.c.state == STORED, condition)
        rows = await connection.execute(usable.values(touch_time=now()).returning(blobs.c.digest, blobs.c.size_bytes))
        touched |= {row.digest: row.size_bytes for row in rows}
    return touched


async def _touch_usable(
    connection: AsyncConnection, namespace: str, digests: Sequence[str], readable: Collection[str]
) -> dict[str, int]:
    """Touch those that the namespace may use, or that are in `readable`; their sizes in bytes."""
    found = await _touch(connection, [digest for digest in digests if digest in readable], true())
    return found | await _touch(connection, [d for d in digests if d not in readable], _allowed(namespace))


async def _allow_blobs(connection: AsyncConnection, namespace: str, digests: Sequence[str]) -> None:
    for some in batches(digests):
        rows = [{"namespace": namespace, "digest": digest} for digest in some]
        await connection.execute(insert(namespace_blobs).values(rows).on_conflict_do_nothing())


async def _is_visible(connection: AsyncConnection, namespace: str, digest: str, *, lock: bool = False) -> bool:
    visible = select(namespace_manifests.c.digest).where(
        namespace_manifests.c.namespace == namespace,
        namespace_manifests.c.digest == digest,
        namespace_manifests.c.state == STORED,
    )
    return await connection.scalar(visible.with_for_update() if lock else visible) is not None


async def _touch_manifest(connection: AsyncConnection, digest: str, manifest: Manifest) -> None:
    row = {"digest": digest, "size_bytes": manifest.size_bytes, "state": STORING}
    touched = (
        insert(manifests)
        .values(**row, create_time=now(), touch_time=now())
        .on_conflict_do_update(
            index_elements=[manifests.c.digest], set_={"touch_time": now()}, where=manifests.c.state != DELETING
        )
        .returning(manifests.c.digest)
    )
    if await connection.scalar(touched) is None:
        raise BeingDeleted(f"manifest {digest}")


async def _require_not_hiding(connection: AsyncConnection, namespace: str, digest: str) -> None:
    row = select(namespace_manifests.c.state).where(
        namespace_manifests.c.namespace == namespace, namespace_manifests.c.digest == digest
    )
    if await connection.scalar(row.with_for_update()) == DELETING:
        raise BeingDeleted(f"manifest {digest}")


async def _make_visible(connection: AsyncConnection, namespace: str, digest: str, manifest: Manifest) -> None:
    """In the namespace, and counted in its blobs, which are in the index."""
    await _touch_manifest(connection, digest, manifest)
    await _require_not_hiding(connection, namespace, digest)
    await connection.execute(update(manifests).where(manifests.c.digest == digest).values(state=STORED))
    for some in batches(list(manifest.unique_blobs())):
        rows = [{"manifest": digest, "blob": blob} for blob in some]
        new = insert(manifest_blobs).values(rows).on_conflict_do_nothing().returning(manifest_blobs.c.blob)
        counted = update(blobs).where(blobs.c.digest.in_((await connection.scalars(new)).all()))
        await connection.execute(counted.values(reference_count=blobs.c.reference_count + 1))
    visible = insert(namespace_manifests).values(namespace=namespace, digest=digest, state=STORED)
    await connection.execute(visible.on_conflict_do_nothing())


async def _put_pin(connection: AsyncConnection, namespace: str, digest: str, pin: Pin) -> None:
    row = {"namespace": namespace, "digest": digest, "subject": pin.subject, "holder": pin.holder}
    await connection.execute(
        insert(pins)
        .values(**row, expire_time=pin.expire_time)
        .on_conflict_do_update(index_elements=list(pins.primary_key), set_={"expire_time": pin.expire_time})
    )


def batches(digests: Sequence[T]) -> Iterator[Sequence[T]]:
    """In order, so many as one statement may name."""
    return (digests[start : start + BATCH] for start in range(0, len(digests), BATCH))


def blobs_missing(count: int) -> FailedPrecondition:
    return FailedPrecondition(
        "BLOBS_MISSING",
        f"{count} of the manifest's blobs are not stored, or not for this namespace: ask which with FindMissingBlobs, "
        "send them, then repeat",
        metadata={"missing": str(count)},
    )


class BeingDeleted(Unavailable):
    """A row is on its way out with its object: wait until it is gone."""

    def __init__(self, what: str) -> None:
        super().__init__(
            "STORAGE_UNAVAILABLE",
            f"{what} is being deleted at this moment: send it again",
            retry_after_s=BEING_DELETED_RETRY_S,
        )
