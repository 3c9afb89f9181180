"""Lineage: what a version was made from and what was made from it, step by step, as far as a caller may see."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_catalog.edges import EdgeKind
from zoo_catalog.namespaces import seen_by
from zoo_catalog.schema import edges, models, versions
from zoo_catalog.versions import VersionState, version_row
from zoo_server.principal import EVERYWHERE, Principal
from zoo_store.sql import Database

__all__ = ["Direction", "Lineage", "LineageReader", "Link", "Node"]

DEPTH_MAX = 16
NODES_MAX = 1000
LINKS_MAX = 4000

_Key = tuple[int, int]


class Direction(Enum):
    UP = "up"
    DOWN = "down"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Node:
    """A version, `namespace/name@version`; DELETED also where its model is. Hidden: all that is known is that it is."""

    reference: str
    state: VersionState
    task: str
    create_time: datetime
    hidden: bool


@dataclass(frozen=True, slots=True)
class Link:
    """An edge between two of the nodes, by their indices."""

    child: int
    parent: int
    kind: EdgeKind
    job: str
    dataset: str
    code: str
    create_time: datetime
    actor: str


@dataclass(slots=True)
class Lineage:
    """The version asked for is the first node. `truncated`: there is more."""

    nodes: list[Node] = field(default_factory=list[Node])
    links: list[Link] = field(default_factory=list[Link])
    truncated: bool = False


class LineageReader:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, reference: str, direction: Direction, depth: int, principal: Principal) -> Lineage:
        """Of at most `depth` steps, 0: as many as there may be. Hidden parents have no parents here, and children that
        are hidden are not there. Raises REFERENCE_INVALID, MODEL_NOT_FOUND, VERSION_NOT_FOUND and ALIAS_NOT_FOUND.
        """
        async with self._database.read() as connection:
            root = await version_row(connection, reference)
            walk = _Walk(connection, principal)
            start = (root.model_id, root.version)
            await walk.begin(start)
            for way in (Direction.UP, Direction.DOWN):
                if direction in (way, Direction.BOTH):
                    await walk.go(start, way, depth or DEPTH_MAX)
        return walk.found


class _Walk:
    """One breadth-first walk: a query for each step, whatever the number of versions."""

    def __init__(self, connection: AsyncConnection, principal: Principal) -> None:
        self._connection = connection
        self._principal = principal
        self._index: dict[_Key, int] = {}
        self.found = Lineage()

    async def begin(self, start: _Key) -> None:
        query = _nodes().where(versions.c.model_id == start[0], versions.c.version == start[1])
        self._add(start, (await self._connection.execute(query)).one())

    async def go(self, start: _Key, way: Direction, depth: int) -> None:
        step = [start]
        for _ in range(depth):
            step = await self._step(step, way)
            if not step:
                return
        # Asked for the next step only: is there one?
        rows = await self._rows(step, way, limit=1) or (way is Direction.DOWN and await self._trained(step, limit=1))
        self.found.truncated |= bool(rows)

    async def _step(self, near: list[_Key], way: Direction) -> list[_Key]:
        """Add the edges of these versions, and the versions beyond them; those of them that are new and not hidden."""
        left = LINKS_MAX - len(self.found.links)
        rows = await self._rows(near, way, limit=left + 1)
        self.found.truncated |= len(rows) > left
        beyond: list[_Key] = []
        for row in rows[:left]:
            key = (row.model_id, row.version)
            if key not in self._index:
                if len(self._index) == NODES_MAX:
                    self.found.truncated = True
                    continue
                self._add(key, row)
                if not self.found.nodes[self._index[key]].hidden:
                    beyond.append(key)
            self._link(row)
        if way is Direction.DOWN:
            beyond += await self._step_to_trained(near)
        return beyond

    async def _step_to_trained(self, near: list[_Key]) -> list[_Key]:
        """Add what was trained with those of these versions that are datasets; what of it is new."""
        left = max(0, LINKS_MAX - len(self.found.links))
        rows = await self._trained(near, limit=left + 1)
        self.found.truncated |= len(rows) > left
        by_reference = {self.found.nodes[self._index[key]].reference: self._index[key] for key in near}
        linked: set[tuple[_Key, int]] = set()
        beyond: list[_Key] = []
        for row in rows[:left]:
            key, parent = (row.model_id, row.version), by_reference[row.dataset]
            # Made of several parents with the same data: told once.
            if (key, parent) in linked:
                continue
            if key not in self._index:
                if len(self._index) == NODES_MAX:
                    self.found.truncated = True
                    continue
                self._add(key, row)
                beyond.append(key)
            linked.add((key, parent))
            said = (row.job, "", row.code, row.create_time, row.actor)
            self.found.links.append(Link(self._index[key], parent, EdgeKind.TRAINED_ON, *said))
        return beyond

    async def _trained(self, near: Sequence[_Key], limit: int) -> Sequence[Row[Any]]:
        """Edges that name one of these versions as their dataset, each with its child, which may be seen."""
        references = [self.found.nodes[self._index[key]].reference for key in near]
        query = (
            _nodes(*_EDGE_COLUMNS)
            .join(edges, and_(versions.c.model_id == _CHILD[0], versions.c.version == _CHILD[1]))
            .where(edges.c.dataset.in_(references), seen_by(self._principal, models.c.namespace_key))
            .order_by(models.c.key, versions.c.version, edges.c.kind, *_PARENT)
            .limit(limit)
        )
        return (await self._connection.execute(query)).all()

    async def _rows(self, near: Sequence[_Key], way: Direction, limit: int) -> Sequence[Row[Any]]:
        """Edges from these versions, each with the version that it leads to."""
        here, there = (_CHILD, _PARENT) if way is Direction.UP else (_PARENT, _CHILD)
        query = (
            _nodes(*_EDGE_COLUMNS)
            .join(edges, and_(versions.c.model_id == there[0], versions.c.version == there[1]))
            .where(tuple_(*here).in_(near))
            .order_by(models.c.key, versions.c.version, edges.c.kind, *here)
            .limit(limit)
        )
        if way is Direction.DOWN:
            query = query.where(seen_by(self._principal, models.c.namespace_key))
        return (await self._connection.execute(query)).all()

    def _add(self, key: _Key, row: Row[Any]) -> None:
        self._index[key] = len(self.found.nodes)
        roles = self._principal.roles
        hidden = EVERYWHERE not in roles and self._principal.role_in(row.namespace_key) is None
        state = VersionState(row.state) if row.model_delete_time is None else VersionState.DELETED
        self.found.nodes.append(
            Node(f"{row.model}@{row.version}", state, row.task or "", row.version_create_time, hidden)
        )

    def _link(self, row: Row[Any]) -> None:
        child = self._index[row.child_model_id, row.child_version]
        parent = self._index[row.parent_model_id, row.parent_version]
        kind = EdgeKind(row.kind)
        self.found.links.append(Link(child, parent, kind, row.job, row.dataset, row.code, row.create_time, row.actor))


_CHILD = (edges.c.child_model_id, edges.c.child_version)
_PARENT = (edges.c.parent_model_id, edges.c.parent_version)
_EDGE_COLUMNS = tuple(edges.c)


def _nodes(*more: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    """Versions, of deleted models too, with what a node says."""
    return select(
        versions.c.model_id,
        versions.c.version,
        versions.c.state,
        versions.c.facts["task"].as_string().label("task"),
        versions.c.create_time.label("version_create_time"),
        models.c.name.label("model"),
        models.c.namespace_key,
        models.c.delete_time.label("model_delete_time"),
        *more,
    ).join(models, models.c.id == versions.c.model_id)
