"""What holds for every model of a namespace, as its admins set it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_catalog.schema import namespaces

__all__ = ["Policy", "PolicyEdit", "policy_from_json", "policy_of", "policy_to_json"]

UNDELETE_DAYS = 30
# One to go on from, and one before it should the last prove bad.
KEEP_CHECKPOINTS = 2


@dataclass(frozen=True, slots=True)
class Policy:
    """`keep_versions` 0: all are kept. `allow_opaque` is enforced by the artifact service, which is told of it, and
    `keep_checkpoints` by whoever pins checkpoints, which reads it here.
    """

    allow_opaque: bool = False
    undelete_days: int = UNDELETE_DAYS
    keep_versions: int = 0
    keep_checkpoints: int = KEEP_CHECKPOINTS

    @property
    def undelete(self) -> timedelta:
        """For how long what was deleted can be undeleted."""
        return timedelta(days=self.undelete_days)


@dataclass(frozen=True, slots=True)
class PolicyEdit:
    """What is to become of a policy; None: as it is."""

    allow_opaque: bool | None = None
    undelete_days: int | None = None
    keep_versions: int | None = None
    keep_checkpoints: int | None = None

    def apply(self, policy: Policy) -> Policy:
        given = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        return replace(policy, **given)


async def policy_of(connection: AsyncConnection, namespace_key: str) -> Policy:
    """Of an existing namespace."""
    query = select(namespaces.c.policy).where(namespaces.c.key == namespace_key)
    return policy_from_json((await connection.execute(query)).scalar_one())


def policy_to_json(policy: Policy) -> dict[str, Any]:
    return asdict(policy)


def policy_from_json(value: Mapping[str, Any]) -> Policy:
    """Fields that the row lacks, because it is older than they are, have their defaults; others are passed over."""
    names = {field.name for field in fields(Policy)}
    known: dict[str, Any] = {name: each for name, each in value.items() if name in names}
    return Policy(**known)
