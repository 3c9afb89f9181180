"""Signatures of versions, verified before they are kept."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import FailedPrecondition
from modelzoo.signing.bundle import Bundle, sha256_of
from modelzoo.signing.keys import PublicKey
from zoo_catalog import changes
from zoo_catalog.artifacts import Artifacts
from zoo_catalog.models import model_row
from zoo_catalog.names import namespace_of
from zoo_catalog.schema import signatures
from zoo_catalog.signers import SigningPolicy, read_policy
from zoo_catalog.versions import Version, Versions, VersionState
from zoo_server.principal import Principal
from zoo_store.sql import Database

__all__ = ["SIGNERS_MAX", "Signature", "Signatures"]

SIGNERS_MAX = 16


@dataclass(frozen=True, slots=True)
class Signature:
    """`trusted_as` is what the namespace calls the key now; '' where it does not trust it."""

    key_id: str
    public_key: str
    bundle: bytes
    creator: str
    create_time: datetime
    trusted_as: str


class Signatures:
    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts
        self._versions = Versions(database)

    async def add(self, reference: str, bundle: bytes, public_key: str, signer: Principal) -> Signature:
        """Keep the signature, in the place of the signer's last one. Raises what AddSignature documents."""
        key = PublicKey.from_pem(public_key)
        version = await self._versions.resolve(reference, signer)
        _check_exists(version)
        manifest = await self._artifacts.manifest(namespace_of(version.model), version.manifest_digest)
        Bundle.from_bytes(bundle).check(sha256_of(manifest), key)
        async with self._database.write() as connection:
            model_id = (await model_row(connection, version.model)).id
            await _make_room(connection, model_id, version, key.key_id)
            resource, after = f"{version.model}@{version.number}", {"key_id": key.key_id}
            change = await changes.append(connection, signer.subject, "AddSignature", resource, after=after)
            row = {
                "model_id": model_id,
                "version": version.number,
                "key_id": key.key_id,
                "public_key": key.pem,
                "bundle": bundle,
                "creator": signer.subject,
                "create_time": change.time,
            }
            await connection.execute(insert(signatures).values(row))
            policy = await read_policy(connection, namespace_of(version.model))
        return Signature(key.key_id, key.pem, bundle, signer.subject, change.time, policy.name_of(key.key_id))

    async def list(self, reference: str, reader: Principal) -> list[Signature]:
        """By the key's id. Raises what resolving raises."""
        version = await self._versions.resolve(reference, reader)
        async with self._database.read() as connection:
            model_id = (await model_row(connection, version.model)).id
            policy = await read_policy(connection, namespace_of(version.model))
            query = select(signatures).where(*_of(model_id, version.number)).order_by(signatures.c.key_id)
            return [_from_row(row, policy) for row in (await connection.execute(query)).all()]


async def _make_room(connection: AsyncConnection, model_id: int, version: Version, key_id: str) -> None:
    """The signer has no signature there any more, and there is room for one more."""
    own = _of(model_id, version.number)
    await connection.execute(delete(signatures).where(*own, signatures.c.key_id == key_id))
    count = await connection.scalar(select(func.count()).select_from(signatures).where(*own))
    if (count or 0) >= SIGNERS_MAX:
        raise FailedPrecondition(
            "VERSION_STATE_INVALID",
            f"{version.model}@{version.number} has {SIGNERS_MAX} signers, the most that are kept",
            metadata={"state": version.state.value},
        )


def _check_exists(version: Version) -> None:
    if version.state is VersionState.DELETED:
        raise FailedPrecondition(
            "VERSION_STATE_INVALID",
            f"{version.model}@{version.number} is deleted: sign another version",
            metadata={"state": version.state.value},
        )


def _of(model_id: int, number: int) -> Any:
    return signatures.c.model_id == model_id, signatures.c.version == number


def _from_row(row: Row[Any], policy: SigningPolicy) -> Signature:
    trusted_as = policy.name_of(row.key_id)
    return Signature(row.key_id, row.public_key, row.bundle, row.creator, row.create_time, trusted_as)
