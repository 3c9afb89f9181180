"""What a namespace's policy keeps: the newest READY versions of each model, and whatever somebody holds on to."""

from typing import Any

from sqlalchemy import Row, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_catalog.deletion import delete_version
from zoo_catalog.policy import policy_of
from zoo_catalog.schema import alias_targets, versions
from zoo_catalog.versions import USABLE, VersionState, version_from_row, version_query

__all__ = ["PIN_LABEL", "retain"]

# A version with this label, whatever its value, is kept.
PIN_LABEL = "pin"
# Deleted at one publication; a longer backlog goes with the next ones.
DELETED_MOST = 100


async def retain(connection: AsyncConnection, model: Row[Any], actor: str) -> None:
    """Delete usable versions that are older than the newest `keep_versions` READY ones, unless an alias or label holds
    them. Quarantined ones are left to who looks into them."""
    policy = await policy_of(connection, model.namespace_key)
    if not policy.keep_versions:
        return
    ready = (
        select(versions.c.version)
        .where(versions.c.model_id == model.id, versions.c.state == VersionState.READY.value)
        .order_by(versions.c.version.desc())
    )
    oldest_kept = (await connection.execute(ready.offset(policy.keep_versions - 1).limit(1))).scalar_one_or_none()
    if oldest_kept is None:
        return
    aliased = exists().where(
        alias_targets.c.model_id == versions.c.model_id, alias_targets.c.version == versions.c.version
    )
    query = version_query().where(
        versions.c.model_id == model.id,
        versions.c.version < oldest_kept,
        versions.c.state.in_(USABLE),
        ~aliased,
    )
    rows = (await connection.execute(query.order_by(versions.c.version))).all()
    unheld = [version for version in map(version_from_row, rows) if PIN_LABEL not in version.labels]
    reason = f"the namespace keeps the newest {policy.keep_versions}"
    for version in unheld[:DELETED_MOST]:
        await delete_version(connection, model, version, policy, reason, actor)
