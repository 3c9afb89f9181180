"""What may go, in SQL: claimed (`deleting`) before the objects are deleted, forgotten after.

Every claim is one UPDATE whose condition is what makes the thing garbage, so that whoever touches, pins or publishes
first wins, on however many replicas. What was claimed and not forgotten is offered again. Every method is one
transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from modelzoo.manifest import Blob
from zoo_artifact.index import DAMAGED
from zoo_artifact.keys import Visible
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

__all__ = ["BATCH", "Estimate", "SweepIndex"]

# What one step deletes: so many requests end well within a sweeper's lease.
BATCH = 50


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sweep of the index would delete."""

    expired_pins: int
    hidden_manifests: int
    deleted_manifests: int
    deleted_blobs: int
    deleted_bytes: int


class SweepIndex:
    def __init__(self, database: Database, grace: timedelta) -> None:
        self._database = database
        self._grace = grace

    async def cutoff(self) -> datetime:
        """What was touched before is old enough to go."""
        async with self._database.read() as connection:
            time: datetime = (await connection.execute(select(now()))).scalar_one()
        return time - self._grace

    async def expire_pins(self) -> int:
        """End the pins whose time has come; how many."""
        async with self._database.write() as connection:
            ended = delete(pins).where(pins.c.expire_time <= now()).returning(pins.c.digest)
            return len((await connection.execute(ended)).all())

    # Visibility

    async def claim_unheld(self, cutoff: datetime, after: Visible | None) -> list[Visible]:
        """The next manifests in namespaces that nothing keeps there; from now on they are visible no more."""
        visible = namespace_manifests
        condition = or_(visible.c.state == DELETING, _is_unheld(cutoff))
        query = select(visible.c.namespace, visible.c.digest).where(condition)
        if after is not None:
            query = query.where(
                or_(
                    visible.c.namespace > after.namespace,
                    and_(visible.c.namespace == after.namespace, visible.c.digest > after.digest),
                )
            )
        query = query.order_by(visible.c.namespace, visible.c.digest).limit(BATCH)
        async with self._database.write() as connection:
            found = [tuple(row) for row in await connection.execute(query)]
            rows = tuple_(visible.c.namespace, visible.c.digest).in_(found)
            # Whoever pins or puts one of them holds its row until it has done so: then the claim below sees it.
            await connection.execute(
                select(manifests.c.digest)
                .where(manifests.c.digest.in_([digest for _, digest in found]))
                .with_for_update()
            )
            await connection.execute(select(visible.c.digest).where(rows).with_for_update())
            claim = update(visible).where(rows, condition).values(state=DELETING)
            claimed = await connection.execute(claim.returning(visible.c.namespace, visible.c.digest))
            return sorted(Visible(row.namespace, row.digest) for row in claimed)

    async def forget_unheld(self, gone: Sequence[Visible], cutoff: datetime) -> None:
        """Their marks are deleted. With a manifest goes the namespace's right to use blobs that nothing else gives it,
        except such as somebody was just told are there."""
        visible, rights = namespace_manifests, namespace_blobs
        async with self._database.write() as connection:
            for each in gone:
                row = and_(
                    visible.c.namespace == each.namespace,
                    visible.c.digest == each.digest,
                    visible.c.state == DELETING,
                )
                await connection.execute(delete(visible).where(row))
                named = select(manifest_blobs.c.blob).where(manifest_blobs.c.manifest == each.digest)
                old = select(blobs.c.digest).where(blobs.c.digest.in_(named), blobs.c.touch_time < cutoff)
                other = (
                    select(manifest_blobs.c.blob)
                    .join(visible, visible.c.digest == manifest_blobs.c.manifest)
                    .where(visible.c.namespace == each.namespace, manifest_blobs.c.blob == rights.c.digest)
                )
                await connection.execute(
                    delete(rights).where(
                        rights.c.namespace == each.namespace,
                        rights.c.digest.in_(old),
                        ~other.correlate(rights).exists(),
                    )
                )

    # Manifests

    async def claim_manifests(self, cutoff: datetime, after: str) -> list[str]:
        """The next manifests that are visible nowhere; from now on they name no blob."""
        condition = or_(manifests.c.state == DELETING, _is_nowhere(cutoff))
        query = select(manifests.c.digest).where(manifests.c.digest > after, condition)
        async with self._database.write() as connection:
            # One at a time: it may name thousands of blobs, and others wait for this transaction.
            found = (await connection.scalars(query.order_by(manifests.c.digest).limit(1).with_for_update())).all()
            claim = update(manifests).where(manifests.c.digest.in_(found), condition).values(state=DELETING)
            claimed = list((await connection.scalars(claim.returning(manifests.c.digest))).all())
            named = manifest_blobs.c.manifest.in_(claimed)
            of_blob = select(func.count()).where(named, manifest_blobs.c.blob == blobs.c.digest).scalar_subquery()
            await connection.execute(
                update(blobs)
                .where(blobs.c.digest.in_(select(manifest_blobs.c.blob).where(named)))
                .values(reference_count=blobs.c.reference_count - of_blob)
            )
            await connection.execute(delete(manifest_blobs).where(named))
            return claimed

    async def forget_manifests(self, gone: Sequence[str]) -> None:
        """Their objects are deleted."""
        async with self._database.write() as connection:
            rows = delete(manifests).where(manifests.c.digest.in_(gone), manifests.c.state == DELETING)
            await connection.execute(rows)

    # Blobs

    async def claim_blobs(self, cutoff: datetime, after: str) -> list[Blob]:
        """The next blobs that no manifest names; from now on whoever sends one waits."""
        condition = or_(blobs.c.state == DELETING, _is_unused(cutoff))
        query = select(blobs.c.digest).where(blobs.c.digest > after, condition)
        async with self._database.write() as connection:
            found = (await connection.scalars(query.order_by(blobs.c.digest).limit(BATCH))).all()
            claim = update(blobs).where(blobs.c.digest.in_(found), condition).values(state=DELETING)
            rows = await connection.execute(claim.returning(blobs.c.digest, blobs.c.size_bytes))
            return sorted((Blob(row.digest, row.size_bytes) for row in rows), key=lambda blob: blob.digest)

    async def forget_blobs(self, gone: Sequence[str]) -> None:
        """Their objects are deleted."""
        async with self._database.write() as connection:
            deleting = select(blobs.c.digest).where(blobs.c.digest.in_(gone), blobs.c.state == DELETING)
            await connection.execute(delete(namespace_blobs).where(namespace_blobs.c.digest.in_(deleting)))
            await connection.execute(delete(blobs).where(blobs.c.digest.in_(gone), blobs.c.state == DELETING))

    # Objects without a row

    async def claim_unknown_blobs(self, found: Sequence[Blob]) -> list[str]:
        """Those that have no row: they have one now, on its way out."""
        rows = [
            {"digest": blob.digest, "size_bytes": blob.size, "state": DELETING, "reference_count": 0} for blob in found
        ]
        async with self._database.write() as connection:
            new = insert(blobs).values([{**row, "touch_time": now()} for row in rows]).on_conflict_do_nothing()
            return list((await connection.scalars(new.returning(blobs.c.digest))).all())

    async def claim_unknown_manifest(self, digest: str) -> bool:
        """Whether it has no row; then it has one now, on its way out."""
        row = {"digest": digest, "size_bytes": 0, "state": DELETING}
        async with self._database.write() as connection:
            new = insert(manifests).values(**row, create_time=now(), touch_time=now()).on_conflict_do_nothing()
            return await connection.scalar(new.returning(manifests.c.digest)) is not None

    async def unknown_marks(self, found: Sequence[Visible]) -> list[Visible]:
        """Those that say of a manifest that it is visible where the index does not, in whatever state."""
        rows = tuple_(namespace_manifests.c.namespace, namespace_manifests.c.digest)
        query = select(namespace_manifests.c.namespace, namespace_manifests.c.digest)
        async with self._database.read() as connection:
            known = await connection.execute(query.where(rows.in_([(each.namespace, each.digest) for each in found])))
            return sorted(set(found) - {Visible(row.namespace, row.digest) for row in known})

    async def unknown_manifests(self, found: Sequence[str]) -> list[str]:
        """Those that have no row, in whatever state."""
        async with self._database.read() as connection:
            known = await connection.scalars(select(manifests.c.digest).where(manifests.c.digest.in_(found)))
            return sorted(set(found) - set(known))

    # Dry runs

    async def estimate(self) -> Estimate:
        """What a sweep would delete now, seen all at once."""
        cutoff = await self.cutoff()
        visible = namespace_manifests
        held = visible.c.state != DELETING, ~_is_unheld(cutoff, unexpired=True)
        kept = select(visible.c.digest).where(*held, visible.c.digest == manifests.c.digest)
        going = (
            select(manifests.c.digest)
            .where(or_(manifests.c.state == DELETING, manifests.c.touch_time < cutoff))
            .where(~kept.correlate(manifests).exists())
        )
        # Of a manifest in the state `deleting` the references are gone.
        lost = select(func.count()).where(manifest_blobs.c.blob == blobs.c.digest, manifest_blobs.c.manifest.in_(going))
        unused = or_(
            blobs.c.state == DELETING,
            and_(blobs.c.touch_time < cutoff, blobs.c.reference_count == lost.correlate(blobs).scalar_subquery()),
        )
        async with self._database.read() as connection:
            freed = await connection.execute(
                select(func.count(), func.coalesce(func.sum(blobs.c.size_bytes), 0)).where(unused)
            )
            blob_count, blob_bytes = freed.one()
            return Estimate(
                expired_pins=await connection.scalar(select(func.count()).where(pins.c.expire_time <= now())) or 0,
                hidden_manifests=await connection.scalar(
                    select(func.count()).select_from(visible).where(or_(visible.c.state == DELETING, ~and_(*held)))
                )
                or 0,
                deleted_manifests=await connection.scalar(select(func.count()).select_from(going.subquery())) or 0,
                deleted_blobs=blob_count,
                deleted_bytes=int(blob_bytes),
            )


def _is_unheld(cutoff: datetime, *, unexpired: bool = False) -> ColumnElement[bool]:
    """Of a row of namespace_manifests. `unexpired`: pins whose time has come count as ended."""
    visible = namespace_manifests
    pin = exists().where(pins.c.namespace == visible.c.namespace, pins.c.digest == visible.c.digest)
    if unexpired:
        pin = pin.where(or_(pins.c.expire_time.is_(None), pins.c.expire_time > now()))
    old = exists().where(manifests.c.digest == visible.c.digest, manifests.c.touch_time < cutoff)
    return and_(~pin.correlate(visible), old.correlate(visible))


def _is_nowhere(cutoff: datetime) -> ColumnElement[bool]:
    """Of a row of manifests."""
    somewhere = exists().where(namespace_manifests.c.digest == manifests.c.digest)
    return and_(manifests.c.touch_time < cutoff, ~somewhere.correlate(manifests))


def _is_unused(cutoff: datetime) -> ColumnElement[bool]:
    """Of a row of blobs. The count alone should say it; what a wrong count would cost is not worth the trust."""
    named = exists().where(manifest_blobs.c.blob == blobs.c.digest)
    return and_(
        blobs.c.reference_count == 0,
        blobs.c.touch_time < cutoff,
        blobs.c.state.in_((STORING, STORED, DAMAGED)),
        ~named.correlate(blobs),
    )
