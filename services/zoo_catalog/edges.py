"""Edges: which version was made from which. They say what publishers say, and outlive the versions' deletion."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Row, delete, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import AlreadyExists, FailedPrecondition, NotFound
from modelzoo.reference import parse
from zoo_catalog import changes
from zoo_catalog.names import model_not_found
from zoo_catalog.schema import edges
from zoo_catalog.versions import version_row
from zoo_server.principal import Principal
from zoo_store.sql import Database

__all__ = ["Edge", "EdgeKind", "Edges", "Parent", "check_parents", "record_parents"]


class EdgeKind(Enum):
    """By the names of zoo.catalog.v1.EdgeKind."""

    FINE_TUNED = "FINE_TUNED"
    ADAPTER = "ADAPTER"
    MERGED = "MERGED"
    QUANTISED = "QUANTISED"
    DERIVED = "DERIVED"
    TRAINED_ON = "TRAINED_ON"


@dataclass(frozen=True, slots=True)
class Parent:
    """What a version is made from, and how: any reference. '' where nothing is said."""

    reference: str
    kind: EdgeKind
    job: str = ""
    dataset: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """`child` and `parent` are `namespace/name@version`."""

    child: str
    parent: str
    kind: EdgeKind
    job: str
    dataset: str
    code: str
    create_time: datetime
    actor: str


class Edges:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, child: str, parent: Parent, principal: Principal) -> Edge:
        """Make the edge; one that is there already is answered as it is.

        Raises REFERENCE_INVALID, MODEL_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND, EDGE_EXISTS, LINEAGE_CYCLE.
        """
        check_parents([parent], principal)
        async with self._database.write() as connection:
            return await _put(connection, await version_row(connection, child), parent, principal.subject)

    async def delete(self, child: str, parent: str, kind: EdgeKind, principal: Principal) -> None:
        """Raises REFERENCE_INVALID, MODEL_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND and EDGE_NOT_FOUND."""
        check_parents([Parent(parent, kind)], principal)
        async with self._database.write() as connection:
            made, source = await version_row(connection, child), await version_row(connection, parent)
            edge = await _find(connection, made, source, kind)
            if edge is None:
                raise NotFound(
                    "EDGE_NOT_FOUND",
                    f"{_name(made)} has no edge {kind.name.lower()} to {_name(source)}: read its lineage",
                )
            await changes.append(connection, principal.subject, "DeleteEdge", edge.child, before=_state(edge))
            await connection.execute(delete(edges).where(*_between(made, source, kind)))


def check_parents(parents: Iterable[Parent], principal: Principal) -> None:
    """Raise MODEL_NOT_FOUND where a parent is in no namespace of `principal`, and REFERENCE_INVALID for parents and
    data sets that are no references."""
    for parent in parents:
        reference = parse(parent.reference)
        if parent.dataset:
            parse(parent.dataset)
        if principal.role_in(reference.namespace) is None:
            raise model_not_found(reference.model)


async def record_parents(connection: AsyncConnection, child: str, parents: Iterable[Parent], actor: str) -> None:
    """Make the edges of a version in the transaction that makes it. Raises what `Edges.create` does."""
    for parent in parents:
        await _put(connection, await version_row(connection, child), parent, actor)


async def _put(connection: AsyncConnection, child: Row[Any], parent: Parent, actor: str) -> Edge:
    source = await version_row(connection, parent.reference)
    said = {"job": parent.job, "dataset": parent.dataset, "code": parent.code}
    before = await _find(connection, child, source, parent.kind)
    if before is not None:
        if said != {"job": before.job, "dataset": before.dataset, "code": before.code}:
            raise AlreadyExists(
                "EDGE_EXISTS",
                f"{before.child} has the edge {parent.kind.name.lower()} to {before.parent} already, with another "
                "job, data set or code: delete it first",
            )
        return before
    state = {"parent": _name(source), "kind": parent.kind.value, **said}
    # First of all, for the log's lock: two who close a cycle from both sides come one after the other.
    change = await changes.append(connection, actor, "CreateEdge", _name(child), after=state)
    if await _descends(connection, source, child):
        raise FailedPrecondition(
            "LINEAGE_CYCLE",
            f"{_name(source)} was itself made from {_name(child)}: no version is made from itself",
        )
    await connection.execute(
        insert(edges).values(
            child_model_id=child.model_id,
            child_version=child.version,
            parent_model_id=source.model_id,
            parent_version=source.version,
            kind=parent.kind.value,
            **said,
            create_time=change.time,
            actor=actor,
        )
    )
    return Edge(_name(child), _name(source), parent.kind, **said, create_time=change.time, actor=actor)


async def _descends(connection: AsyncConnection, version: Row[Any], ancestor: Row[Any]) -> bool:
    """Whether `version` is `ancestor`, or was made from it over any number of steps."""
    above = select(literal(version.model_id).label("model_id"), literal(version.version).label("version")).cte(
        "above", recursive=True
    )
    # UNION, not UNION ALL: each version once, however many ways lead to it.
    above = above.union(
        select(edges.c.parent_model_id, edges.c.parent_version).join(
            above, (edges.c.child_model_id == above.c.model_id) & (edges.c.child_version == above.c.version)
        )
    )
    query = select(literal(1)).where(above.c.model_id == ancestor.model_id, above.c.version == ancestor.version)
    return (await connection.execute(query)).first() is not None


async def _find(connection: AsyncConnection, child: Row[Any], parent: Row[Any], kind: EdgeKind) -> Edge | None:
    row = (await connection.execute(select(edges).where(*_between(child, parent, kind)))).one_or_none()
    if row is None:
        return None
    return Edge(_name(child), _name(parent), kind, row.job, row.dataset, row.code, row.create_time, row.actor)


def _between(child: Row[Any], parent: Row[Any], kind: EdgeKind) -> Any:
    return (
        edges.c.child_model_id == child.model_id,
        edges.c.child_version == child.version,
        edges.c.parent_model_id == parent.model_id,
        edges.c.parent_version == parent.version,
        edges.c.kind == kind.value,
    )


def _name(version: Row[Any]) -> str:
    return f"{version.model}@{version.version}"


def _state(edge: Edge) -> changes.State:
    said = {"job": edge.job, "dataset": edge.dataset, "code": edge.code}
    return {"parent": edge.parent, "kind": edge.kind.value, **said}
