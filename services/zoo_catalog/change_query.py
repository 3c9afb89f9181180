"""Which rows of the log a caller asks for, which of them it may see, and what it is shown of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, false, func, or_

from modelzoo.reference import parse
from zoo_catalog.changes import State
from zoo_catalog.names import model_not_found, namespace_not_found, namespace_of, parse_model
from zoo_catalog.schema import changes
from zoo_server.principal import EVERYWHERE, Principal, Role

__all__ = ["ChangeFilter", "Entry", "check_visible", "entry_from_row", "matching", "visible_to"]

# Their states name a version that may lie in another namespace than the change: the parent.
_OF_EDGES = ("CreateEdge", "DeleteEdge")


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """What is wanted: '' and () leave everything through."""

    namespace: str = ""
    models: tuple[str, ...] = ()
    resource_prefix: str = ""
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the log, as its reader is shown it."""

    sequence: int
    time: datetime
    actor: str
    action: str
    resource: str
    before: State | None
    after: State | None
    on_behalf_of: str
    cause: str


def check_visible(principal: Principal, wanted: ChangeFilter) -> None:
    """Raise NAMESPACE_NOT_FOUND or MODEL_NOT_FOUND where the filter names what lies in no namespace of `principal`, and
    REFERENCE_INVALID: whoever watches nothing by mistake would wait for ever."""
    if wanted.namespace and principal.role_in(wanted.namespace) is None:
        raise namespace_not_found(wanted.namespace)
    for model in wanted.models:
        if principal.role_in(namespace_of(parse_model(model))) is None:
            raise model_not_found(parse_model(model))


def matching(wanted: ChangeFilter) -> list[ColumnElement[bool]]:
    """The conditions on a row. Raises REFERENCE_INVALID."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.namespace:
        conditions.append(changes.c.namespace_key == wanted.namespace.casefold())
    if wanted.models:
        conditions.append(changes.c.model_key.in_(sorted({parse_model(name).casefold() for name in wanted.models})))
    if wanted.resource_prefix:
        # Not LIKE: engines differ in what it does with capitals.
        start = func.substr(changes.c.resource, 1, len(wanted.resource_prefix))
        conditions.append(start == wanted.resource_prefix)
    if wanted.actions:
        conditions.append(changes.c.action.in_(sorted(set(wanted.actions))))
    return conditions


def visible_to(principal: Principal) -> list[ColumnElement[bool]]:
    """The conditions on a row that `principal` may see it."""
    everywhere = principal.roles.get(EVERYWHERE)
    if everywhere == Role.ADMIN:
        return []
    by_role: dict[Role, list[str]] = {}
    for name, role in principal.roles.items():
        if name != EVERYWHERE:
            by_role.setdefault(role, []).append(name.casefold())
    seen = [
        and_(changes.c.namespace_key.in_(sorted(names)), changes.c.role <= int(role)) for role, names in by_role.items()
    ]
    if everywhere is not None:
        seen.append(and_(changes.c.namespace_key.is_not(None), changes.c.role <= int(everywhere)))
    return [or_(false(), *seen)]


def entry_from_row(row: Row[Any], principal: Principal) -> Entry:
    return Entry(
        sequence=row.sequence,
        time=row.time,
        actor=row.actor,
        action=row.action,
        resource=row.resource,
        before=_without_hidden(row.before, principal) if row.action in _OF_EDGES else row.before,
        after=_without_hidden(row.after, principal) if row.action in _OF_EDGES else row.after,
        on_behalf_of=row.on_behalf_of,
        cause=row.cause,
    )


def _without_hidden(edge: State | None, principal: Principal) -> State | None:
    """The state of an edge, its parent None where `principal` has no role."""
    if edge is None or principal.role_in(parse(edge["parent"]).namespace) is not None:
        return edge
    return {**edge, "parent": None}
