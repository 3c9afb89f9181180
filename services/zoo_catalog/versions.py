"""Versions: what a reference means. `publish.py` makes them, `version_search.py` lists them."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Row, Select, bindparam, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo import reference as references
from modelzoo.errors import NotFound
from modelzoo.reference import Reference, parse
from zoo_catalog.facts import Facts, facts_from_json
from zoo_catalog.gates import may_use, not_granted
from zoo_catalog.metrics import Metric, metric_from_json
from zoo_catalog.models import model_row
from zoo_catalog.schema import alias_targets, cards, models, versions
from zoo_server.principal import Principal
from zoo_store.sql import Database

__all__ = [
    "USABLE",
    "Version",
    "VersionState",
    "Versions",
    "get_version",
    "version_from_row",
    "version_not_found",
    "version_query",
    "version_row",
]


class VersionState(Enum):
    """By the names of zoo.catalog.v1.VersionState."""

    READY = "READY"
    DEPRECATED = "DEPRECATED"
    QUARANTINED = "QUARANTINED"
    DELETED = "DELETED"


# The others are found by their number alone, so that their state can be seen.
USABLE = (VersionState.READY.value, VersionState.DEPRECATED.value)


@dataclass(frozen=True, slots=True)
class Version:
    """`model` is the model's name as it was created. `undelete_state` is what a deleted one was before; a `purged` one
    can no longer be undeleted."""

    model: str
    number: int
    manifest_digest: str
    state: VersionState
    state_reason: str
    facts: Facts
    labels: Mapping[str, str]
    metrics: tuple[Metric, ...]
    source: str
    creator: str
    on_behalf_of: str
    gated: bool
    etag: str
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None
    purge_time: datetime | None
    undelete_state: VersionState | None
    undelete_reason: str
    purged: bool

    @property
    def reference(self) -> str:
        """`namespace/name@number`."""
        return f"{self.model}@{self.number}"


class Versions:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def resolve(self, text: str, principal: Principal) -> Version:
        """What a reference means now, for `principal`; of an alias's targets one, by weight.

        Raises REFERENCE_INVALID, MODEL_NOT_FOUND, VERSION_NOT_FOUND and ALIAS_NOT_FOUND; ACCESS_NOT_GRANTED for a gated
        model.
        """
        reference = parse(text)
        query, wanted = _resolving(reference)
        values = {"model": reference.model.casefold(), "wanted": wanted}
        rows = await self._database.fetch(query, values)
        if not rows:
            async with self._database.read() as connection:
                raise await _nothing_for(connection, reference)
        weights = [row.weight for row in rows]
        row = random.choices(rows, weights)[0]  # noqa: S311 - shares of traffic, no secret
        if row.gated and not await may_use(self._database, row.model_id, row.model, principal):
            raise await not_granted(self._database, row.model_id, row.model, principal)
        return version_from_row(row)

    async def card(self, version: Version) -> str:
        """The Markdown of the version's own README.md, or ''."""
        query = (
            select(cards.c.text)
            .join(models, models.c.id == cards.c.model_id)
            .where(models.c.key == version.model.casefold(), cards.c.version == version.number)
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none() or ""


async def get_version(connection: AsyncConnection, model: Row[Any], number: int) -> Version:
    """One of the model's versions, in whatever state. Raises VERSION_NOT_FOUND."""
    query = version_query().where(versions.c.model_id == model.id, versions.c.version == number)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise version_not_found(model.name, f"version {number}")
    return version_from_row(row)


async def version_row(connection: AsyncConnection, text: str) -> Row[Any]:
    """The row of the version that a reference means now, with its model's name; of an alias's targets the one with the
    largest share. Raises REFERENCE_INVALID, MODEL_NOT_FOUND, VERSION_NOT_FOUND and ALIAS_NOT_FOUND.
    """
    reference = parse(text)
    query, wanted = _resolving(reference)
    rows = (await connection.execute(query, {"model": reference.model.casefold(), "wanted": wanted})).all()
    if not rows:
        raise await _nothing_for(connection, reference)
    return max(rows, key=lambda row: (row.weight, row.version))


def version_query() -> Select[Any]:
    """Versions of models that were not deleted, with their model's name."""
    return (
        select(versions, models.c.name.label("model"), models.c.gated)
        .join(models, models.c.id == versions.c.model_id)
        .where(models.c.delete_time.is_(None))
    )


def version_from_row(row: Row[Any]) -> Version:
    return Version(
        model=row.model,
        number=row.version,
        manifest_digest=row.manifest_digest,
        state=VersionState(row.state),
        state_reason=row.state_reason,
        facts=facts_from_json(row.facts),
        labels=row.labels,
        metrics=tuple(map(metric_from_json, row.metrics)),
        source=row.source,
        creator=row.creator,
        on_behalf_of=row.on_behalf_of,
        gated=row.gated,
        etag=str(row.etag),
        create_time=row.create_time,
        update_time=row.update_time,
        delete_time=row.delete_time,
        purge_time=row.purge_time,
        undelete_state=VersionState(row.undelete_state) if row.undelete_state else None,
        undelete_reason=row.undelete_reason,
        purged=row.purged,
    )


def version_not_found(model: str, what: str) -> NotFound:
    return NotFound(
        "VERSION_NOT_FOUND", f"the model '{model}' has no {what}: list its versions", metadata={"model": model}
    )


# Every request to run a model is resolved by one of these; built once, because building takes longer than running.
# All give the rows that are meant, with their weights, of the model with the key :model.
_OF_MODEL = version_query().where(models.c.key == bindparam("model"))
_ALONE = _OF_MODEL.add_columns(literal(1).label("weight"))
# Not IN: SQLAlchemy expands its list anew for every run.
_IS_USABLE = or_(*(versions.c.state == state for state in USABLE))
_LATEST = _ALONE.where(versions.c.version == models.c.latest_version)
_NUMBER = _ALONE.where(versions.c.version == bindparam("wanted"))
_DIGEST = (
    _ALONE.where(versions.c.manifest_digest == bindparam("wanted"), _IS_USABLE)
    .order_by(versions.c.version.desc())
    .limit(1)
)
_ALIAS = (
    _OF_MODEL.add_columns(alias_targets.c.weight)
    .join(
        alias_targets,
        (alias_targets.c.model_id == versions.c.model_id) & (alias_targets.c.version == versions.c.version),
    )
    .where(alias_targets.c.alias == bindparam("wanted"), alias_targets.c.weight > 0, _IS_USABLE)
)


def _resolving(reference: Reference) -> tuple[Select[Any], str | int | None]:
    """The query that finds what the selector means, and its :wanted."""
    match reference.selector:
        case None:
            return _LATEST, None
        case references.Version(number):
            return _NUMBER, number
        case references.Digest(sha256):
            return _DIGEST, sha256
        case references.Alias(name):
            return _ALIAS, name


async def _nothing_for(connection: AsyncConnection, reference: Reference) -> NotFound:
    """Why the reference means nothing."""
    row = await model_row(connection, reference.model)
    match reference.selector:
        case None:
            return version_not_found(reference.model, "version that is ready")
        case references.Version(number):
            return version_not_found(reference.model, f"version {number}")
        case references.Digest(sha256):
            return version_not_found(reference.model, f"usable version with the manifest {sha256}")
        case references.Alias(name):
            return await _nothing_for_alias(connection, reference.model, row.id, name)


async def _nothing_for_alias(connection: AsyncConnection, model: str, model_id: int, alias: str) -> NotFound:
    query = (
        select(versions.c.version, versions.c.state, versions.c.state_reason)
        .join(
            alias_targets,
            (alias_targets.c.model_id == versions.c.model_id) & (alias_targets.c.version == versions.c.version),
        )
        .where(alias_targets.c.model_id == model_id, alias_targets.c.alias == alias)
        .order_by(versions.c.version)
    )
    targets = (await connection.execute(query)).all()
    if not targets:
        return NotFound(
            "ALIAS_NOT_FOUND",
            f"the model '{model}' has no alias '{alias}': list its aliases",
            metadata={"model": model, "alias": alias},
        )
    return NotFound(
        "VERSION_NOT_FOUND",
        f"the model '{model}' has no usable version under the alias '{alias}': {', '.join(map(_standing, targets))}; "
        "move the alias",
        metadata={"model": model, "alias": alias},
    )


def _standing(target: Row[int, str, str]) -> str:
    why = f" ({target.state_reason})" if target.state_reason else ""
    share = " without a share of it" if target.state in USABLE else ""
    return f"version {target.version} is {target.state}{why}{share}"
