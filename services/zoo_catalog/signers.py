"""Whose signatures a namespace takes, and whether it requires one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import Aborted, FailedPrecondition, InvalidArgument
from modelzoo.signing.keys import PublicKey
from zoo_catalog import changes
from zoo_catalog.names import namespace_of, stored_namespace
from zoo_catalog.schema import signatures, signing_policies, trusted_signers
from zoo_store.sql import Database

__all__ = ["Signer", "Signers", "SigningPolicy", "check_signed", "read_policy"]


@dataclass(frozen=True, slots=True)
class Signer:
    """A key and what a namespace calls it."""

    name: str
    public_key: PublicKey


@dataclass(frozen=True, slots=True)
class SigningPolicy:
    """`signers` by name; `is_required`: only versions signed by one of them are served. `etag` '0': nothing was set."""

    signers: tuple[Signer, ...]
    is_required: bool
    etag: str

    def name_of(self, key_id: str) -> str:
        """What the namespace calls the key; '' where it does not trust it."""
        return next((signer.name for signer in self.signers if signer.public_key.key_id == key_id), "")


class Signers:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, namespace: str) -> SigningPolicy:
        """Raises NAMESPACE_NOT_FOUND."""
        async with self._database.read() as connection:
            await stored_namespace(connection, namespace)
            return await read_policy(connection, namespace)

    async def set(self, namespace: str, wanted: SigningPolicy, actor: str) -> SigningPolicy:
        """Replace the whole; where `wanted.etag` is not '', only if it is the current one.

        Raises NAMESPACE_NOT_FOUND, FIELD_INVALID (a name or key twice, nobody trusted), ETAG_MISMATCH.
        """
        _check(wanted)
        key = namespace.casefold()
        async with self._database.write() as connection:
            name = await stored_namespace(connection, namespace)
            before = await read_policy(connection, namespace)
            if wanted.etag not in ("", before.etag):
                raise Aborted(
                    "ETAG_MISMATCH",
                    f"the trusted signers of {name} changed since they were read: read them again and repeat",
                    metadata={"etag": before.etag},
                )
            change = await changes.append(
                connection, actor, "SetTrustedSigners", name, before=_state(before), after=_state(wanted)
            )
            await connection.execute(delete(trusted_signers).where(trusted_signers.c.namespace_key == key))
            if wanted.signers:
                await connection.execute(insert(trusted_signers), [_row(key, signer) for signer in wanted.signers])
            await _put_policy(connection, key, {"require_signatures": wanted.is_required, "etag": change.sequence})
            return await read_policy(connection, namespace)


async def read_policy(connection: AsyncConnection, namespace: str) -> SigningPolicy:
    """The namespace's; nobody and nothing required where nothing was set."""
    key = namespace.casefold()
    query = select(trusted_signers).where(trusted_signers.c.namespace_key == key).order_by(trusted_signers.c.name)
    signers = tuple(
        Signer(row.name, PublicKey.from_pem(row.public_key)) for row in (await connection.execute(query)).all()
    )
    own = select(signing_policies).where(signing_policies.c.namespace_key == key)
    row = (await connection.execute(own)).one_or_none()
    return SigningPolicy(signers, row is not None and row.require_signatures, "0" if row is None else str(row.etag))


async def check_signed(connection: AsyncConnection, model: str, model_id: int, numbers: Sequence[int]) -> None:
    """Raise SIGNATURE_REQUIRED for the first version without a trusted signature, where the namespace requires them.

    The signatures were verified when they were stored.
    """
    policy = await read_policy(connection, namespace_of(model))
    if not policy.is_required:
        return
    trusted = [signer.public_key.key_id for signer in policy.signers]
    query = select(signatures.c.version).where(
        signatures.c.model_id == model_id, signatures.c.version.in_(numbers), signatures.c.key_id.in_(trusted)
    )
    signed = set((await connection.execute(query)).scalars())
    for number in numbers:
        if number not in signed:
            raise FailedPrecondition(
                "SIGNATURE_REQUIRED",
                f"{model}@{number} has no signature by a signer that its namespace trusts: `zoo sign` makes one",
                metadata={"version": str(number)},
            )


def _check(wanted: SigningPolicy) -> None:
    names = {signer.name for signer in wanted.signers}
    ids = {signer.public_key.key_id for signer in wanted.signers}
    if min(len(names), len(ids)) < len(wanted.signers):
        raise _invalid("signers", "lists a name or a key twice: give each once")
    if wanted.is_required and not wanted.signers:
        raise _invalid("require_signatures", "needs at least one trusted signer, or nothing could be served")


def _invalid(field: str, problem: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", f"{field} {problem}", field=field, metadata={"field": field})


def _row(namespace_key: str, signer: Signer) -> dict[str, Any]:
    key = signer.public_key
    return {"namespace_key": namespace_key, "name": signer.name, "key_id": key.key_id, "public_key": key.pem}


async def _put_policy(connection: AsyncConnection, namespace_key: str, values: dict[str, Any]) -> None:
    own = signing_policies.c.namespace_key == namespace_key
    updated = await connection.execute(update(signing_policies).where(own).values(values))
    if updated.rowcount == 0:
        await connection.execute(insert(signing_policies).values(namespace_key=namespace_key, **values))


def _state(policy: SigningPolicy) -> changes.State:
    signers = [{"name": signer.name, "key_id": signer.public_key.key_id} for signer in policy.signers]
    return {"signers": signers, "require_signatures": policy.is_required}
