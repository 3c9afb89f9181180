"""Deleting models and versions, and bringing them back.

Deleting hides and promises: until `purge_time` all of it can be undeleted as it was, and its name or number is never
given again. `purge.py` lets go of the bytes afterwards.
"""

from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import FailedPrecondition
from zoo_catalog import changes
from zoo_catalog.etags import check_etag
from zoo_catalog.models import Model, model_from_row, model_row, model_state
from zoo_catalog.names import model_not_found, parse_model, stored_namespace
from zoo_catalog.policy import Policy, policy_of
from zoo_catalog.quota import within_quota
from zoo_catalog.schema import alias_targets, models, versions
from zoo_catalog.states import change_state
from zoo_catalog.versions import Version, VersionState, get_version
from zoo_store.sql import Database

__all__ = ["Deletions", "delete_version"]


class Deletions:
    """Every method may be repeated: what is done already is answered as it is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def delete_model(self, name: str, etag: str, actor: str) -> Model:
        """Raises REFERENCE_INVALID, MODEL_NOT_FOUND and ETAG_MISMATCH."""
        path = parse_model(name)
        async with self._database.write() as connection:
            row = await _any_model_row(connection, path)
            before = model_from_row(row)
            if before.delete_time is not None:
                return before
            check_etag(etag, before.etag, f"the model '{before.name}'")
            policy = await policy_of(connection, row.namespace_key)
            change = await changes.append(connection, actor, "DeleteModel", before.name, before=model_state(before))
            gone = {"delete_time": change.time, "purge_time": change.time + policy.undelete}
            await _stamp(connection, row.id, gone, change)
            return model_from_row(await _any_model_row(connection, path))

    async def undelete_model(self, name: str, actor: str) -> Model:
        """Raises REFERENCE_INVALID, MODEL_NOT_FOUND, NAMESPACE_NOT_FOUND, MODEL_PURGED and QUOTA_EXCEEDED."""
        path = parse_model(name)
        async with self._database.write() as connection:
            row = await _any_model_row(connection, path)
            before = model_from_row(row)
            if before.delete_time is None:
                return before
            await stored_namespace(connection, row.namespace_key)
            if row.purged:
                raise FailedPrecondition(
                    "MODEL_PURGED", f"the model '{before.name}' was purged and cannot be brought back: publish it anew"
                )
            async with within_quota(connection, row.namespace_key):
                change = await changes.append(
                    connection, actor, "UndeleteModel", before.name, after=model_state(before)
                )
                await _stamp(connection, row.id, {"delete_time": None, "purge_time": None}, change)
            return model_from_row(await model_row(connection, path))

    async def delete_version(self, model: str, number: int, etag: str, actor: str) -> Version:
        """Raises REFERENCE_INVALID, MODEL_NOT_FOUND, VERSION_NOT_FOUND, ETAG_MISMATCH and VERSION_IN_USE."""
        path = parse_model(model)
        async with self._database.write() as connection:
            row = await model_row(connection, path)
            version = await get_version(connection, row, number)
            if version.state is VersionState.DELETED:
                return version
            check_etag(etag, version.etag, version.reference)
            await _require_unused(connection, row, number)
            policy = await policy_of(connection, row.namespace_key)
            await delete_version(connection, row, version, policy, "", actor)
            return await get_version(connection, row, number)

    async def undelete_version(self, model: str, number: int, actor: str) -> Version:
        """Raises REFERENCE_INVALID, MODEL_NOT_FOUND, VERSION_NOT_FOUND, VERSION_PURGED and QUOTA_EXCEEDED."""
        path = parse_model(model)
        async with self._database.write() as connection:
            row = await model_row(connection, path)
            version = await get_version(connection, row, number)
            if version.state is not VersionState.DELETED:
                return version
            if version.purged or version.undelete_state is None:
                raise FailedPrecondition(
                    "VERSION_PURGED", f"{version.reference} was purged and cannot be brought back: publish it anew"
                )
            async with within_quota(connection, row.namespace_key):
                await change_state(
                    connection,
                    row,
                    version,
                    # A version that was quarantined does not come back as anything else.
                    version.undelete_state,
                    version.undelete_reason,
                    actor=actor,
                    action="UndeleteVersion",
                )
            back = {"delete_time": None, "purge_time": None, "undelete_state": "", "undelete_reason": ""}
            await _set(connection, row.id, number, back)
            return await get_version(connection, row, number)


async def delete_version(
    connection: AsyncConnection, model: Row[Any], version: Version, policy: Policy, reason: str, actor: str
) -> None:
    """Delete a version that no alias targets."""
    change = await change_state(
        connection, model, version, VersionState.DELETED, reason, actor=actor, action="DeleteVersion"
    )
    gone = {
        "delete_time": change.time,
        "purge_time": change.time + policy.undelete,
        "undelete_state": version.state.value,
        "undelete_reason": version.state_reason,
    }
    await _set(connection, model.id, version.number, gone)


async def _require_unused(connection: AsyncConnection, model: Row[Any], number: int) -> None:
    query = select(alias_targets.c.alias).where(alias_targets.c.model_id == model.id, alias_targets.c.version == number)
    names = sorted((await connection.execute(query)).scalars())
    if names:
        raise FailedPrecondition(
            "VERSION_IN_USE",
            f"{model.name}@{number} is a target of the aliases {', '.join(names)}: move or delete them first",
            metadata={"aliases": ",".join(names)},
        )


async def _any_model_row(connection: AsyncConnection, name: str) -> Row[Any]:
    """As `model_row`, of deleted ones too."""
    row = (await connection.execute(select(models).where(models.c.key == name.casefold()))).one_or_none()
    if row is None:
        raise model_not_found(name)
    return row


async def _set(connection: AsyncConnection, model_id: int, number: int, values: dict[str, Any]) -> None:
    own = versions.c.model_id == model_id, versions.c.version == number
    await connection.execute(update(versions).where(*own).values(values))


async def _stamp(connection: AsyncConnection, model_id: int, values: dict[str, Any], change: changes.Change) -> None:
    stamps = {"etag": change.sequence, "update_time": change.time}
    await connection.execute(update(models).where(models.c.id == model_id).values({**values, **stamps}))
