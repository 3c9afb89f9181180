"""What must hold of every job, whatever was done to it: checked from its events and rows alone.

sequences without gaps · moves along the graph · one final state, and nothing behind it · epochs never decrease
each lease has an epoch of its own · each checkpoint goes beyond the last · published at most once
the row says what its events say · lanes count what is there
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, func, select

from zoo_store.sql import Database
from zoo_training.events import Event, StateChange, event_from_row
from zoo_training.job import Checkpoint
from zoo_training.schema import events, jobs, lanes

# Written down a second time on purpose: the service's own is what is checked.
GRAPH = {
    "": {"QUEUED"},
    "QUEUED": {"RUNNING", "PAUSED", "FAILED", "CANCELLED"},
    "RUNNING": {"RUNNING", "QUEUED", "PAUSED", "SUCCEEDED", "FAILED", "CANCELLED"},
    "PAUSED": {"QUEUED", "FAILED", "CANCELLED"},
}
FINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}


async def check_job_log(database: Database, published: Mapping[str, Sequence[str]] | None = None) -> int:
    """AssertionError where a job did what none may; else how many events there are. `published` are the versions made,
    by job."""
    async with database.read() as connection:
        rows = (await connection.execute(select(jobs))).all()
        logged = (await connection.execute(select(events).order_by(events.c.job_id, events.c.sequence))).all()
        counted = (await connection.execute(select(lanes))).all()
        held = select(jobs.c.resource_class, jobs.c.namespace_key, jobs.c.state, func.count()).group_by(
            jobs.c.resource_class, jobs.c.namespace_key, jobs.c.state
        )
        counts = {tuple(row[:3]): row[3] for row in await connection.execute(held)}
    by_job: defaultdict[int, list[Event]] = defaultdict(list)
    for event in logged:
        by_job[event.job_id].append(event_from_row(event))
    for row in rows:
        check_job(row, by_job[row.id])
    for lane in counted:
        check_lane(lane, counts)
    for name, versions in (published or {}).items():
        assert len(versions) <= 1, f"{name} was published {len(versions)} times"
    for row in rows:
        assert (row.state == "SUCCEEDED") == bool(row.result), f"{row.name} is {row.state} with version {row.result!r}"
        assert published is None or not row.result or published.get(row.name) == [row.result], f"{row.name}: no version"
    return len(logged)


def check_job(row: Row[Any], log: Sequence[Event]) -> None:
    name = row.name
    assert [event.sequence for event in log] == list(range(1, row.last_sequence + 1)), f"{name}: sequences have gaps"
    assert log, f"{name}: has no events"
    state, epoch, step, time = "", 0, -1, log[0].time
    for event in log:
        where = f"{name}, event {event.sequence}"
        assert state not in FINAL, f"{where}: comes behind {state}"
        assert event.epoch >= epoch, f"{where}: epoch {event.epoch} after {epoch}"
        assert event.time >= time, f"{where}: is older than the one before"
        if isinstance(event.body, StateChange):
            now = event.body.state.value
            # What waits may be told something, such as that its recipe is described anew.
            is_told = now == state == "QUEUED" and event.body.message
            assert now in GRAPH[state] or is_told, f"{where}: {state} became {now}"
            begins = now == "RUNNING" and state == "QUEUED"
            assert event.epoch == epoch + begins, f"{where}: epoch {event.epoch} after {epoch}"
            state = now
        else:
            assert state == "RUNNING", f"{where}: a report while it is {state}"
            assert event.epoch == epoch, f"{where}: a report of epoch {event.epoch} in {epoch}"
        if isinstance(event.body, Checkpoint):
            assert event.body.step > step, f"{where}: step {event.body.step} after {step}"
            step = event.body.step
        epoch, time = event.epoch, event.time
    changes = [event.body for event in log if isinstance(event.body, StateChange)]
    said = (changes[-1].state.value, changes[-1].wanted.value)
    assert (row.state, row.wanted) == said, f"{name}: its row and its events differ"
    assert row.epoch == epoch, f"{name}: epoch {row.epoch}, and its events end with {epoch}"
    check_row(row)


def check_row(row: Row[Any]) -> None:
    name = row.name
    assert (row.state in FINAL) == (row.end_time is not None), f"{name}: {row.state}, ended {row.end_time}"
    assert 0 <= row.tries <= row.epoch, f"{name}: {row.tries} of {row.epoch} attempts count"
    assert row.tries <= row.max_attempts, f"{name}: tried {row.tries} times, {row.max_attempts} are allowed"
    if row.state == "RUNNING":
        assert (row.lease_expires is None) == (row.made is not None), f"{name}: runs, and nobody is to end it"
    else:
        assert row.lease_expires is None, f"{name}: {row.state} with a lease"
    if row.state in ("QUEUED", "PAUSED"):
        wanted = {"QUEUED": "RUN", "PAUSED": "PAUSE"}[row.state]
        assert row.wanted == wanted, f"{name}: {row.state}, and {row.wanted} is wanted"


def check_lane(lane: Row[Any], counts: Mapping[tuple[Any, ...], int]) -> None:
    def count(*states: str) -> int:
        return sum(counts.get((lane.resource_class, lane.namespace_key, state), 0) for state in states)

    where = f"lane {lane.namespace_key} in {lane.resource_class}"
    assert lane.queued == count("QUEUED", "PAUSED"), f"{where}: says {lane.queued} queued"
    assert lane.running == count("RUNNING"), f"{where}: says {lane.running} running"
    assert (lane.start is None) == (lane.rank is None), f"{where}: start {lane.start}, rank {lane.rank}"
    assert lane.rank is None or count("QUEUED"), f"{where}: offers what it has not"
