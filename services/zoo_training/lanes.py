"""Lanes: what the queue knows of the jobs of one namespace in one resource class. See ranks.py.

A lane stands in the queue under its namespace, at its rank, as long as one of its jobs may start now: it is QUEUED, its
time has come, and the namespace has room for one more. What a lane says is written in the transaction of whatever
changes it; the queue hears of it after the commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_store.sql import now
from zoo_training.job import JobState
from zoo_training.policy import Policy
from zoo_training.ranks import finish_tag, rank, start_tag
from zoo_training.schema import classes, jobs, lanes

__all__ = ["Lane", "Offer", "first_job", "lanes_and_first", "lanes_of", "refresh", "standing"]

_QUEUED = JobState.QUEUED.value


@dataclass(frozen=True, slots=True)
class Lane:
    resource_class: str
    namespace_key: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What the queue is told: the lane's rank, or None where nothing of it may start now."""

    lane: Lane
    rank: float | None


def is_due() -> ColumnElement[bool]:
    return and_(jobs.c.state == _QUEUED, jobs.c.run_after <= now())


def first_job(lane: Lane, *conditions: ColumnElement[bool]) -> Select[Any]:
    """The job of the lane that comes next, of those that fulfil the conditions."""
    mine = (jobs.c.resource_class == lane.resource_class, jobs.c.namespace_key == lane.namespace_key)
    return (
        select(jobs, now().label("now")).where(*mine, is_due(), *conditions).order_by(jobs.c.place, jobs.c.id).limit(1)
    )


def lanes_and_first() -> Select[Any]:
    """Lanes with the `virtual` time of their class, what is `running_in_namespace`, and as `first_priority` that of
    their first job, None where no job is due."""
    others = lanes.alias("others")
    first_priority = (
        select(jobs.c.priority)
        .where(jobs.c.resource_class == lanes.c.resource_class, jobs.c.namespace_key == lanes.c.namespace_key, is_due())
        .order_by(jobs.c.place, jobs.c.id)
        .limit(1)
        .scalar_subquery()
    )
    running = select(func.sum(others.c.running)).where(others.c.namespace_key == lanes.c.namespace_key)
    virtual = select(classes.c.virtual).where(classes.c.resource_class == lanes.c.resource_class)
    return select(
        lanes,
        func.coalesce(virtual.scalar_subquery(), 0.0).label("virtual"),
        running.scalar_subquery().label("running_in_namespace"),
        first_priority.label("first_priority"),
    )


_LANE = lanes_and_first().where(
    lanes.c.resource_class == bindparam("of_class"), lanes.c.namespace_key == bindparam("of_namespace")
)


async def lanes_of(connection: AsyncConnection, namespace_key: str) -> Sequence[Lane]:
    rows = await connection.execute(select(lanes).where(lanes.c.namespace_key == namespace_key))
    return [Lane(row.resource_class, row.namespace_key) for row in rows]


async def refresh(
    connection: AsyncConnection, lane: Lane, policy: Policy, *, queued: int = 0, running: int = 0, started: bool = False
) -> Offer:
    """Let the lane say what is true after a change of its jobs, by which it has so many more of each kind; `started`:
    its first one was started."""
    row = await _row(connection, lane)
    if row is None:
        # Whatever stands in the queue, a lane begins with a job.
        if not queued:
            return Offer(lane, None)
        row = await _made(connection, lane)
    start, finish = row.start, row.finish
    if started:
        begun = start_tag(row.virtual, finish) if start is None else start
        start = finish = finish_tag(begun, policy.weight(lane.namespace_key))
        await _advance(connection, lane.resource_class, max(row.virtual, begun))
    standing_now = standing(row, policy, running=running, start=start)
    said = {
        "start": None if standing_now is None else standing_now[0],
        "rank": None if standing_now is None else standing_now[1],
        "finish": finish,
        "queued": row.queued + queued,
        "running": row.running + running,
    }
    if any(getattr(row, name) != value for name, value in said.items()):
        mine = (lanes.c.resource_class == lane.resource_class, lanes.c.namespace_key == lane.namespace_key)
        await connection.execute(update(lanes).where(*mine).values(said))
    return Offer(lane, said["rank"])


def standing(
    row: Row[Any], policy: Policy, *, running: int = 0, start: float | None = None
) -> tuple[float, float] | None:
    """Start tag and rank of the lane's first job, None where none may start; `running` more run than the row says."""
    has_room = not policy.running_most or row.running_in_namespace + running < policy.running_most
    if row.first_priority is None or not has_room:
        return None
    tag = start_tag(row.virtual, row.finish) if start is None else start
    return tag, rank(tag, row.first_priority)


async def _row(connection: AsyncConnection, lane: Lane) -> Row[Any] | None:
    named = {"of_class": lane.resource_class, "of_namespace": lane.namespace_key}
    return (await connection.execute(_LANE, named)).one_or_none()


async def _made(connection: AsyncConnection, lane: Lane) -> Row[Any]:
    key = {"resource_class": lane.resource_class, "namespace_key": lane.namespace_key}
    await connection.execute(insert(lanes).values(**key, finish=0.0, queued=0, running=0))
    row = await _row(connection, lane)
    if row is None:
        raise AssertionError("what was just written is not there")
    return row


async def _advance(connection: AsyncConnection, resource_class: str, virtual: float) -> None:
    later = insert(classes).values(resource_class=resource_class, virtual=virtual)
    await connection.execute(
        later.on_conflict_do_update(index_elements=[classes.c.resource_class], set_={"virtual": virtual})
    )
