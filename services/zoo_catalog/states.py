"""How versions move from state to state, and what their model says afterwards. All that moves one does it here."""

from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import FailedPrecondition
from zoo_catalog import changes
from zoo_catalog.facts import Facts, facts_from_json
from zoo_catalog.schema import cards, model_tags, models, versions
from zoo_catalog.versions import Version, VersionState

__all__ = ["change_state", "refresh_model"]

_READY, _DEPRECATED = VersionState.READY, VersionState.DEPRECATED
_QUARANTINED, _DELETED = VersionState.QUARANTINED, VersionState.DELETED
_NEXT = {
    _READY: (_DEPRECATED, _QUARANTINED, _DELETED),
    _DEPRECATED: (_READY, _QUARANTINED, _DELETED),
    _QUARANTINED: (_READY, _DEPRECATED, _DELETED),
    _DELETED: (_READY, _DEPRECATED, _QUARANTINED),
}


async def change_state(
    connection: AsyncConnection,
    model: Row[Any],
    version: Version,
    state: VersionState,
    reason: str,
    *,
    actor: str,
    action: str,
) -> changes.Change:
    """Move a version of the model, record it as `action`, and let the model say what its latest version says now.

    Who may make which move, and what else must hold, is the caller's to check. Raises VERSION_STATE_INVALID where no
    such move exists, from a state to itself too.
    """
    if state not in _NEXT[version.state]:
        raise FailedPrecondition(
            "VERSION_STATE_INVALID",
            f"{version.reference} is {version.state.value} and cannot become {state.value}",
            metadata={"state": version.state.value},
        )
    change = await changes.append(
        connection,
        actor,
        action,
        version.reference,
        before={"state": version.state.value, "state_reason": version.state_reason},
        after={"state": state.value, "state_reason": reason},
    )
    moved = {"state": state.value, "state_reason": reason, "etag": change.sequence, "update_time": change.time}
    await connection.execute(
        update(versions).where(versions.c.model_id == model.id, versions.c.version == version.number).values(moved)
    )
    await refresh_model(connection, model.id, change)
    return change


async def refresh_model(connection: AsyncConnection, model_id: int, change: changes.Change) -> None:
    """Let `latest` be the highest READY version, and the model say what that one says.

    Where none is READY, it says what the highest that is not deleted says; where there is none, nothing.
    """
    ready = await _highest(connection, model_id, versions.c.state == _READY.value)
    shown = ready or await _highest(connection, model_id, versions.c.state != _DELETED.value)
    facts, card = Facts(), ""
    if shown is not None:
        facts = facts_from_json(shown.facts)
        query = select(cards.c.text).where(cards.c.model_id == model_id, cards.c.version == shown.version)
        card = (await connection.execute(query)).scalar_one_or_none() or ""
    said = {
        "task": facts.task,
        "licence": facts.licence,
        "tags": list(facts.tags),
        "card": card,
        "architecture": facts.architecture,
        "parameters": facts.parameters,
        "size_bytes": facts.size_bytes,
    }
    stamps = {"etag": change.sequence, "update_time": change.time}
    latest = {"latest_version": ready.version if ready else 0}
    await connection.execute(update(models).where(models.c.id == model_id).values({**said, **latest, **stamps}))
    await connection.execute(delete(model_tags).where(model_tags.c.model_id == model_id))
    if facts.tags:
        tags = [{"model_id": model_id, "tag": tag} for tag in sorted(set(facts.tags))]
        await connection.execute(insert(model_tags), tags)


async def _highest(connection: AsyncConnection, model_id: int, condition: Any) -> Row[Any, Any] | None:
    query = select(versions.c.version, versions.c.facts).where(versions.c.model_id == model_id, condition)
    return (await connection.execute(query.order_by(versions.c.version.desc()).limit(1))).one_or_none()
