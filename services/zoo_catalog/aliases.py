"""Aliases: movable names of a model's versions, with a share of new requests for each of their targets.

Two who move an alias at once meet at its etag (AIP-154): who comes second with the etag of before is refused.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo import reference
from modelzoo.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from zoo_catalog import changes
from zoo_catalog.models import model_row
from zoo_catalog.names import parse_model
from zoo_catalog.schema import alias_targets, aliases, versions
from zoo_catalog.signers import check_signed
from zoo_catalog.versions import USABLE, version_not_found
from zoo_server.paging import Page, PageRequest, page_of
from zoo_store.sql import Database

__all__ = ["ABSENT", "Alias", "Aliases", "Serving", "Target"]

# The etag of an alias that does not exist.
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Target:
    """`weight` is a share in proportion to the others'; 0 gets nothing, but reads as 1 where it stands alone."""

    version: int
    weight: int


@dataclass(frozen=True, slots=True)
class Serving:
    """`max_workers` 0: no limit; `resource_class` '': any."""

    min_workers: int = 0
    max_workers: int = 0
    resource_class: str = ""
    pinned: bool = False
    options: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Alias:
    model: str
    name: str
    targets: tuple[Target, ...]
    update_time: datetime
    etag: str
    serving: Serving | None


class Aliases:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def set(
        self,
        model: str,
        name: str,
        targets: tuple[Target, ...],
        etag: str,
        actor: str,
        serving: Serving | None = None,
    ) -> Alias:
        """Move or make an alias; where `etag` is not '', only if it is the current one. `serving` None: as it was.

        Raises REFERENCE_INVALID, ALIAS_INVALID, FIELD_INVALID (targets that make no sense), MODEL_NOT_FOUND,
        VERSION_NOT_FOUND, VERSION_STATE_INVALID, SIGNATURE_REQUIRED and ETAG_MISMATCH.
        """
        _check_name(name)
        _check_serving(serving)
        targets = _checked(targets)
        path = parse_model(model)
        async with self._database.write() as connection:
            row = await model_row(connection, path)
            before = await _find(connection, row, name)
            _check_etag(etag, before, f"{row.name}@{name}")
            await _check_versions(connection, row, targets)
            await check_signed(connection, row.name, row.id, [target.version for target in targets])
            kept = serving if serving is not None or before is None else before.serving
            change = await changes.append(
                connection,
                actor,
                "SetAlias",
                f"{row.name}@{name}",
                before=before and _state(before.targets, before.serving),
                after=_state(targets, kept),
            )
            own = {"model_id": row.id, "alias": name}
            moved = {
                "etag": change.sequence,
                "update_time": change.time,
                "serving": None if kept is None else asdict(kept),
            }
            if before is None:
                await connection.execute(insert(aliases).values(**own, **moved))
            else:
                await connection.execute(update(aliases).where(*_is(aliases, row.id, name)).values(moved))
                await connection.execute(delete(alias_targets).where(*_is(alias_targets, row.id, name)))
            shares = [{**own, "version": target.version, "weight": target.weight} for target in targets]
            await connection.execute(insert(alias_targets), shares)
            return Alias(row.name, name, targets, change.time, str(change.sequence), kept)

    async def get(self, model: str, name: str) -> Alias:
        """Raises REFERENCE_INVALID, MODEL_NOT_FOUND and ALIAS_NOT_FOUND."""
        path = parse_model(model)
        async with self._database.read() as connection:
            row = await model_row(connection, path)
            alias = await _find(connection, row, name)
        if alias is None:
            raise _alias_not_found(row.name, name)
        return alias

    async def list(self, model: str, page: PageRequest) -> Page[Alias]:
        """A model's aliases, by name. Raises REFERENCE_INVALID, MODEL_NOT_FOUND and PAGE_TOKEN_INVALID."""
        path = parse_model(model)
        listing = f"aliases of {path.casefold()}"
        after = page.after(listing, str)
        async with self._database.read() as connection:
            row = await model_row(connection, path)
            query = select(aliases).where(aliases.c.model_id == row.id).order_by(aliases.c.alias)
            if after is not None:
                query = query.where(aliases.c.alias > after)
            found = (await connection.execute(query.limit(page.fetch))).all()
            targets = await _targets(connection, row.id, [alias.alias for alias in found])
        items = [_from_row(row.name, alias, targets[alias.alias]) for alias in found]
        return page_of(listing, items, page.size, lambda alias: alias.name)

    async def delete(self, model: str, name: str, etag: str, actor: str) -> None:
        """Raises REFERENCE_INVALID, MODEL_NOT_FOUND, ALIAS_NOT_FOUND and ETAG_MISMATCH."""
        path = parse_model(model)
        async with self._database.write() as connection:
            row = await model_row(connection, path)
            before = await _find(connection, row, name)
            if before is None:
                raise _alias_not_found(row.name, name)
            resource = f"{row.name}@{name}"
            _check_etag(etag, before, resource)
            await changes.append(
                connection, actor, "DeleteAlias", resource, before=_state(before.targets, before.serving)
            )
            await connection.execute(delete(alias_targets).where(*_is(alias_targets, row.id, name)))
            await connection.execute(delete(aliases).where(*_is(aliases, row.id, name)))


def _check_name(name: str) -> None:
    try:
        reference.Alias(name)
    except InvalidArgument as error:
        raise InvalidArgument(
            "ALIAS_INVALID",
            f"{name[:80]!a} cannot be an alias: choose a lower-case letter, then lower-case letters, digits, '.', '_' "
            "or '-', and not 'latest', which always means the newest version",
            field="alias.alias",
        ) from error


def _checked(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """In the order of versions; the weight of a single one is at least 1."""
    if len({target.version for target in targets}) < len(targets):
        raise _targets_invalid("name a version twice: give each version once, with its whole weight")
    if len(targets) == 1:
        return (Target(targets[0].version, max(1, targets[0].weight)),)
    if not any(target.weight for target in targets):
        raise _targets_invalid("all have the weight 0: give at least one of them a share")
    return tuple(sorted(targets, key=lambda target: target.version))


def _targets_invalid(problem: str) -> InvalidArgument:
    field = "alias.targets"
    return InvalidArgument("FIELD_INVALID", f"{field} {problem}", field=field, metadata={"field": field})


def _check_serving(serving: Serving | None) -> None:
    if serving is None or not serving.max_workers or serving.min_workers <= serving.max_workers:
        return
    raise InvalidArgument(
        "FIELD_INVALID",
        f"alias.serving.min_workers is {serving.min_workers}, more than the {serving.max_workers} of max_workers",
        field="alias.serving.min_workers",
        metadata={"field": "alias.serving.min_workers"},
    )


def _check_etag(given: str, current: Alias | None, resource: str) -> None:
    etag = ABSENT if current is None else current.etag
    if given and given != etag:
        what = "does not exist" if current is None else "was moved since it was read"
        raise Aborted(
            "ETAG_MISMATCH", f"the alias {resource} {what}: read it again and repeat", metadata={"etag": etag}
        )


async def _check_versions(connection: AsyncConnection, model: Row[Any], targets: tuple[Target, ...]) -> None:
    numbers = [target.version for target in targets]
    query = select(versions.c.version, versions.c.state).where(
        versions.c.model_id == model.id, versions.c.version.in_(numbers)
    )
    states: dict[int, str] = {row.version: row.state for row in await connection.execute(query)}
    for number in numbers:
        if number not in states:
            raise version_not_found(model.name, f"version {number}")
        if states[number] not in USABLE:
            raise FailedPrecondition(
                "VERSION_STATE_INVALID",
                f"{model.name}@{number} is {states[number]}: an alias needs versions that may be used",
                metadata={"state": states[number]},
            )


async def _find(connection: AsyncConnection, model: Row[Any], name: str) -> Alias | None:
    row = (await connection.execute(select(aliases).where(*_is(aliases, model.id, name)))).one_or_none()
    if row is None:
        return None
    return _from_row(model.name, row, (await _targets(connection, model.id, [name]))[name])


async def _targets(connection: AsyncConnection, model_id: int, names: list[str]) -> dict[str, list[Target]]:
    """The targets of each of the aliases, in the order of versions."""
    query = select(alias_targets).where(alias_targets.c.model_id == model_id, alias_targets.c.alias.in_(names))
    targets: dict[str, list[Target]] = {name: [] for name in names}
    for row in await connection.execute(query.order_by(alias_targets.c.version)):
        targets[row.alias].append(Target(row.version, row.weight))
    return targets


def _is(table: Any, model_id: int, name: str) -> Any:
    return table.c.model_id == model_id, table.c.alias == name


def _alias_not_found(model: str, name: str) -> NotFound:
    return NotFound(
        "ALIAS_NOT_FOUND",
        f"the model '{model}' has no alias {name!a}: list its aliases",
        metadata={"model": model, "alias": name},
    )


def _state(targets: tuple[Target, ...], serving: Serving | None) -> changes.State:
    shares = [{"version": target.version, "weight": target.weight} for target in targets]
    return {"targets": shares} | ({} if serving is None else {"serving": asdict(serving)})


def _from_row(model: str, row: Row[Any], targets: list[Target]) -> Alias:
    serving = None if row.serving is None else Serving(**row.serving)
    return Alias(model, row.alias, tuple(targets), row.update_time, str(row.etag), serving)
