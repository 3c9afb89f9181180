"""What namespaces take."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from modelzoo.manifest import Manifest
from zoo_artifact.schema import namespace_policies
from zoo_store.sql import Database

__all__ = ["OPAQUE", "Policies", "Policy"]

OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class Policy:
    """`allow_opaque`: files that could run code where they are loaded may be stored in manifests of format `opaque`."""

    allow_opaque: bool = False

    def takes_danger(self, manifest: Manifest) -> bool:
        """Whether dangerous files may be in this manifest. No worker loads the format, whatever is in it."""
        return self.allow_opaque and manifest.format == OPAQUE


class Policies:
    """By namespace, which comes as a key (`names.namespace_key`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, namespace: str) -> Policy:
        """The namespace's, or the default."""
        query = select(namespace_policies.c.allow_opaque).where(namespace_policies.c.namespace == namespace)
        async with self._database.read() as connection:
            allowed = await connection.scalar(query)
        return Policy(bool(allowed))

    async def set(self, namespace: str, policy: Policy) -> None:
        """The policy holds for what is put from now on."""
        row = {"namespace": namespace, "allow_opaque": policy.allow_opaque}
        upsert = insert(namespace_policies).values(row)
        async with self._database.write() as connection:
            await connection.execute(upsert.on_conflict_do_update(index_elements=["namespace"], set_=row))
