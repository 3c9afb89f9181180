"""Taking versions out of use, and putting them back.

What is quarantined are bytes: every version of the namespace with the same manifest goes with the one that is named,
deleted ones too, so that they do not come back as anything else. The artifact service is told first. If the catalog
dies in between, the bytes are kept from people already while the version still says READY, or are theirs again while it
still says QUARANTINED; repeating the call ends it either way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo import reference as references
from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.reference import parse
from zoo_catalog import changes
from zoo_catalog.artifacts import Artifacts
from zoo_catalog.models import model_row
from zoo_catalog.names import namespace_of
from zoo_catalog.schema import models, versions
from zoo_catalog.states import change_state
from zoo_catalog.versions import Version, VersionState, get_version, version_from_row, version_query
from zoo_store.sql import Database

__all__ = ["Quarantine", "check_not_quarantined"]

READY, QUARANTINED, DELETED = VersionState.READY, VersionState.QUARANTINED, VersionState.DELETED
USABLE = (READY, VersionState.DEPRECATED)


@dataclass(frozen=True, slots=True)
class _Move:
    """From any of the states `before` to `after`, for a reason ('': none)."""

    action: str
    before: tuple[VersionState, ...]
    after: VersionState
    reason: str


class Quarantine:
    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts

    async def put(self, reference: str, reason: str, actor: str) -> list[Version]:
        """Quarantine the version named by its number, and those with the same manifest in its namespace.

        Answers it first, then those that are not deleted. A reason that is given anew replaces the last one.
        Raises REFERENCE_INVALID, MODEL_NOT_FOUND, VERSION_NOT_FOUND, VERSION_STATE_INVALID, DEPENDENCY_UNAVAILABLE.
        """
        move = _Move("QuarantineVersion", (*USABLE, QUARANTINED), QUARANTINED, reason)
        version = await self._numbered(reference, move)
        await self._artifacts.quarantine(namespace_of(version.model), version.manifest_digest, reason)
        return await self._move(version, move, actor)

    async def release(self, reference: str, actor: str) -> list[Version]:
        """Put the version, and those with the same manifest in its namespace, back to READY. Raises as `put`."""
        move = _Move("ReleaseVersion", (QUARANTINED,), READY, "")
        version = await self._numbered(reference, move)
        await self._artifacts.release(namespace_of(version.model), version.manifest_digest)
        return await self._move(version, move, actor)

    async def _numbered(self, text: str, move: _Move) -> Version:
        """The version, which can be moved so."""
        reference = parse(text)
        if not isinstance(reference.selector, references.Version):
            raise InvalidArgument(
                "REFERENCE_INVALID",
                f"{text!a} does not name one version by its number: write namespace/name@7",
                field="reference",
            )
        async with self._database.read() as connection:
            row = await model_row(connection, reference.model)
            version = await get_version(connection, row, reference.selector.number)
        if version.state not in move.before:
            names = " or ".join(state.value for state in move.before)
            raise FailedPrecondition(
                "VERSION_STATE_INVALID",
                f"{version.reference} is {version.state.value}, and must be {names} for this",
                metadata={"state": version.state.value},
            )
        return version

    async def _move(self, version: Version, move: _Move, actor: str) -> list[Version]:
        moved: list[Version] = []
        async with self._database.write() as connection:
            for row in await _with_same_bytes(connection, version):
                before = version_from_row(row)
                model = await model_row(connection, before.model)
                if before.state in move.before:
                    await _move_one(connection, model, before, move, actor)
                    moved.append(await get_version(connection, model, before.number))
                elif before.state is DELETED and before.undelete_state in move.before:
                    await _move_deleted(connection, model, before, move, actor)
        return sorted(moved, key=lambda each: each.reference != version.reference)


async def check_not_quarantined(connection: AsyncConnection, namespace_key: str, manifest_digest: str) -> None:
    """Raise MANIFEST_QUARANTINED if a version of the namespace with these bytes is quarantined, a deleted one too."""
    held = or_(versions.c.state == QUARANTINED.value, versions.c.undelete_state == QUARANTINED.value)
    query = (
        select(models.c.name, versions.c.version)
        .join(versions, versions.c.model_id == models.c.id)
        .where(models.c.namespace_key == namespace_key, versions.c.manifest_digest == manifest_digest, held)
    )
    row = (await connection.execute(query.limit(1))).first()
    if row is not None:
        raise FailedPrecondition(
            "MANIFEST_QUARANTINED",
            f"these files are quarantined as {row.name}@{row.version}: an admin of the namespace releases them",
            metadata={"namespace": namespace_key, "manifest_digest": manifest_digest},
        )


async def _with_same_bytes(connection: AsyncConnection, version: Version) -> Sequence[Row[Any]]:
    query = version_query().where(
        models.c.namespace_key == namespace_of(version.model).casefold(),
        versions.c.manifest_digest == version.manifest_digest,
    )
    return (await connection.execute(query.order_by(models.c.key, versions.c.version))).all()


async def _move_one(connection: AsyncConnection, model: Row[Any], before: Version, move: _Move, actor: str) -> None:
    if before.state is not move.after:
        await change_state(connection, model, before, move.after, move.reason, actor=actor, action=move.action)
    elif before.state_reason != move.reason:
        values = {"state_reason": move.reason}
        await _write(connection, model, before, move, actor, {"state_reason": before.state_reason}, values)


async def _move_deleted(connection: AsyncConnection, model: Row[Any], before: Version, move: _Move, actor: str) -> None:
    """What it will be if it is undeleted."""
    state = before.undelete_state.value if before.undelete_state else ""
    was = {"undelete_state": state, "undelete_reason": before.undelete_reason}
    values = {"undelete_state": move.after.value, "undelete_reason": move.reason}
    if was != values:
        await _write(connection, model, before, move, actor, was, values)


async def _write(
    connection: AsyncConnection,
    model: Row[Any],
    version: Version,
    move: _Move,
    actor: str,
    was: changes.State,
    values: dict[str, str],
) -> None:
    change = await changes.append(connection, actor, move.action, version.reference, before=was, after=values)
    own = versions.c.model_id == model.id, versions.c.version == version.number
    stamps = {"etag": change.sequence, "update_time": change.time}
    await connection.execute(update(versions).where(*own).values({**values, **stamps}))
