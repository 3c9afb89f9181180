"""Quarantine: a manifest whose bytes go to the admins of a namespace alone, in that namespace.

Its blobs no longer count as the namespace's own, so that nobody can read them by naming them in another manifest; who
sends one again has its bytes anyway. Manifests that share blobs with it keep them: reading goes by manifest.
"""

from typing import Any

from sqlalchemy import Select, delete, literal, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from modelzoo.errors import FailedPrecondition
from zoo_artifact.keys import Visible
from zoo_artifact.schema import STORED, manifest_blobs, namespace_blobs, namespace_manifests, quarantines
from zoo_artifact.storage import Quarantine
from zoo_server.principal import Principal, Role
from zoo_store.sql import Database, now

__all__ = ["Quarantines"]

PAGE = 1000


class Quarantines:
    """Namespaces come as keys (`names.namespace_key`). Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_readable(self, namespace: str, digest: str, reader: Principal) -> bool:
        """Whether the manifest is visible in the namespace: the one place that decides who may have its bytes.

        Raises MANIFEST_QUARANTINED where it is, for all but the namespace's admins.
        """
        visible = namespace_manifests
        held = (quarantines.c.namespace == visible.c.namespace) & (quarantines.c.digest == visible.c.digest)
        query = (
            select(quarantines.c.reason)
            .select_from(visible.outerjoin(quarantines, held))
            .where(visible.c.namespace == namespace, visible.c.digest == digest, visible.c.state == STORED)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is not None and row.reason is not None and not reader.has(Role.ADMIN, namespace):
            raise _quarantined(namespace, digest, row.reason)
        return row is not None

    async def check_usable(self, namespace: str, digest: str) -> None:
        """Return unless the manifest is quarantined there, visible or not; MANIFEST_QUARANTINED for admins, too."""
        query = select(quarantines.c.reason).where(quarantines.c.namespace == namespace, quarantines.c.digest == digest)
        async with self._database.read() as connection:
            reason = await connection.scalar(query)
        if reason is not None:
            raise _quarantined(namespace, digest, reason)

    async def get(self, visible: Visible) -> Quarantine | None:
        """The manifest's quarantine, if there is one."""
        query = select(quarantines.c.reason, quarantines.c.subject).where(
            quarantines.c.namespace == visible.namespace, quarantines.c.digest == visible.digest
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Quarantine(row.reason, row.subject)

    async def list(self, after: Visible) -> list[Visible]:
        """The next ones after that, by namespace and digest."""
        own = tuple_(quarantines.c.namespace, quarantines.c.digest)
        query = (
            select(quarantines.c.namespace, quarantines.c.digest)
            .where(own > (after.namespace, after.digest))
            .order_by(quarantines.c.namespace, quarantines.c.digest)
            .limit(PAGE)
        )
        async with self._database.read() as connection:
            return [Visible(*row) for row in await connection.execute(query)]

    async def put(self, visible: Visible, quarantine: Quarantine) -> None:
        """Quarantine the manifest; the reason of an earlier quarantine is replaced."""
        said = {"reason": quarantine.reason, "subject": quarantine.subject}
        own = namespace_blobs.c.namespace == visible.namespace
        async with self._database.write() as connection:
            await connection.execute(
                insert(quarantines)
                .values(namespace=visible.namespace, digest=visible.digest, **said, create_time=now())
                .on_conflict_do_update(
                    index_elements=list(quarantines.primary_key), set_={**said, "create_time": now()}
                )
            )
            named = _blobs_of(visible.digest)
            await connection.execute(delete(namespace_blobs).where(own, namespace_blobs.c.digest.in_(named)))

    async def end(self, visible: Visible) -> None:
        """End the quarantine, if there is one; the blobs are the namespace's own again, where the manifest is."""
        ended = delete(quarantines).where(
            quarantines.c.namespace == visible.namespace, quarantines.c.digest == visible.digest
        )
        seen = select(namespace_manifests.c.digest).where(
            namespace_manifests.c.namespace == visible.namespace,
            namespace_manifests.c.digest == visible.digest,
            namespace_manifests.c.state == STORED,
        )
        async with self._database.write() as connection:
            if await connection.scalar(ended.returning(quarantines.c.digest)) is None:
                return
            if await connection.scalar(seen) is None:
                return
            rows = _blobs_of(visible.digest, namespace=visible.namespace)
            again = insert(namespace_blobs).from_select(["digest", "namespace"], rows)
            await connection.execute(again.on_conflict_do_nothing())


def _quarantined(namespace: str, digest: str, reason: str) -> FailedPrecondition:
    return FailedPrecondition(
        "MANIFEST_QUARANTINED",
        f"manifest sha256:{digest} is quarantined in namespace {namespace!a} ({reason}): use another version, or ask "
        "an admin of the namespace",
        metadata={"namespace": namespace, "manifest_digest": digest, "quarantine_reason": reason},
    )


def _blobs_of(digest: str, *, namespace: str | None = None) -> Select[Any]:
    """The blobs that the manifest names, each beside the namespace if there is one."""
    columns = [manifest_blobs.c.blob] if namespace is None else [manifest_blobs.c.blob, literal(namespace)]
    return select(*columns).where(manifest_blobs.c.manifest == digest)
