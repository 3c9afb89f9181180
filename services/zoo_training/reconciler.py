"""Whatever was left half done is brought to its end: leases that lapsed, deadlines that passed, jobs that the queue has
not heard of, results that are not published.

Every round does all of it again from what the tables say, so that nothing depends on the round before, and several
replicas may do it at once; they take turns.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import prometheus_client
from sqlalchemy import Row, Select, insert, select, tuple_, update

from modelzoo.errors import ZooError
from zoo_server.background import beside
from zoo_store.sql import now
from zoo_training.job import Job, JobState
from zoo_training.lanes import Lane, Offer, lanes_and_first, standing
from zoo_training.leases import Release, end_attempt
from zoo_training.outcomes import Outcome
from zoo_training.results import Results
from zoo_training.schema import jobs, lanes, rounds
from zoo_training.states import States, job_row

__all__ = ["Reconciler"]

log = logging.getLogger(__name__)

ACTOR = "reconciler"
NAME = "reconciler"
PAGE = 100
LANES_PAGE = 500
# A replica's round is early by so much of it at most, and is not another's too.
TURN = 0.8

_LAPSED = prometheus_client.Counter("zoo_training_leases_lapsed_total", "Leases that lapsed and were ended.")
_OVERDUE = prometheus_client.Counter("zoo_training_deadlines_passed_total", "Jobs that failed by their deadline.")
_ROUNDS = prometheus_client.Counter("zoo_training_rounds_total", "Rounds of the reconciler.")

_has_lapsed = (jobs.c.state == JobState.RUNNING.value, jobs.c.lease_expires <= now())
# What has its result is only waiting to be published.
_is_overdue = (jobs.c.end_time.is_(None), jobs.c.deadline <= now(), jobs.c.made.is_(None))

Publish = Callable[[Job], Awaitable[None]]


class Reconciler:
    """`publish` makes a version of a job's result and says so to `results`; doing it again finds what was done. Where
    it raises, it is asked again in the next round."""

    def __init__(
        self,
        states: States,
        results: Results,
        publish: Publish,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._states = states
        self._database = states.database
        self._results = results
        self._publish = publish
        self._draw = draw
        self._made = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Rounds come, and results are published, while the block runs."""
        async with (
            beside(self._repeat(self.round, asyncio.Event()), "reconcile"),
            beside(self._repeat(self.publish, self._made), "publish"),
        ):
            yield

    def publish_soon(self) -> None:
        """There is a result: it need not wait for the next round."""
        self._made.set()

    async def round(self) -> bool:
        """One round, or False where another replica has just made one."""
        if not await self._take_turn():
            return False
        await self.end_overdue()
        if await self._may_expire():
            await self.end_lapsed()
        await self.offer_all()
        _ROUNDS.inc()
        return True

    async def publish(self) -> None:
        """Publish every result that waits."""
        for job in await self._results.waiting():
            try:
                await self._publish(job)
            except ZooError as error:
                log.warning("the result of %s is not published yet: %s", job.name, error.message)
            except Exception:  # one that cannot be published is not in the way of others
                log.exception("the result of %s is not published", job.name)

    async def end_lapsed(self) -> None:
        """End every lease that has lapsed."""
        async for row in self._pages(select(jobs).where(*_has_lapsed)):
            await self.expire(row.name, row.epoch)

    async def expire(self, name: str, epoch: int) -> bool:
        """End the lease of this epoch if it has lapsed; False where it has not, or is over."""
        async with self._states.changing() as change:
            row = await job_row(change.connection, name)
            if row.epoch != epoch or row.state != JobState.RUNNING.value:
                return False
            lapsed = Release(
                Outcome.LAPSED, "TRAINER_CRASHED", f"{row.trainer} on {row.host} was not heard of any more"
            )
            ended = await end_attempt(change, row, lapsed, self._states, self._draw(), ACTOR, *_has_lapsed)
        if ended is not None:
            log.warning("the lease of %s, epoch %d, has lapsed: it is %s", name, epoch, ended.state)
            _LAPSED.inc()
        return ended is not None

    async def end_overdue(self) -> None:
        """Fail every job whose deadline has passed."""
        async for found in self._pages(select(jobs).where(*_is_overdue)):
            async with self._states.changing() as change:
                row = await job_row(change.connection, found.name)
                if row.end_time is None:
                    message = f"it was not done by its deadline, {row.deadline:%Y-%m-%d %H:%M:%S} UTC"
                    failed = await change.move(
                        row, JobState.FAILED, ACTOR, *_is_overdue, reason="DEADLINE_PASSED", message=message
                    )
                    _OVERDUE.inc(failed is not None)

    async def offer_all(self) -> None:
        """Tell the queue of every lane that has something to start now."""
        after = ("", "")
        while True:
            async with self._database.read() as connection:
                page = lanes_and_first().where(tuple_(lanes.c.resource_class, lanes.c.namespace_key) > after)
                page = page.order_by(lanes.c.resource_class, lanes.c.namespace_key).limit(LANES_PAGE)
                rows = (await connection.execute(page)).all()
            await self._states.offer([await self._offer_of(row) for row in rows])
            if len(rows) < LANES_PAGE:
                return
            after = (rows[-1].resource_class, rows[-1].namespace_key)

    async def _offer_of(self, row: Row[Any]) -> Offer:
        """The lane's, written first where it does not say what is true: time has passed, and a job has become due."""
        lane = Lane(row.resource_class, row.namespace_key)
        place = standing(row, self._states.policy, start=row.start)
        if (None if place is None else place[1]) == row.rank:
            return Offer(lane, row.rank)
        async with self._states.changing() as change:
            await change.refresh(lane)
        return change.offers[lane]

    async def _take_turn(self) -> bool:
        """Whether it is time. Where rounds were missing for as long as a lease, the database was away, or all of us:
        trainers could not renew, and get the time of one more lease before any lapses."""
        policy = self._states.policy
        async with self._database.write() as connection:
            query = select(rounds, now().label("now")).where(rounds.c.name == NAME)
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                time = (await connection.execute(select(now()))).scalar_one()
                first = {"name": NAME, "last_time": time, "expire_after": time}
                await connection.execute(insert(rounds).values(first))
                return True
            since = row.now - row.last_time
            if since < policy.round * TURN:
                return False
            expire_after = row.now + policy.lease if since > policy.lease else row.expire_after
            said = {"last_time": row.now, "expire_after": expire_after}
            await connection.execute(update(rounds).where(rounds.c.name == NAME).values(said))
            return True

    async def _may_expire(self) -> bool:
        query = select(rounds.c.name).where(rounds.c.name == NAME, rounds.c.expire_after <= now())
        async with self._database.read() as connection:
            return (await connection.execute(query)).first() is not None

    async def _pages(self, query: Select[Any]) -> AsyncGenerator[Row[Any]]:
        """The rows of a query over jobs, each once, whatever becomes of them meanwhile."""
        after = 0
        while True:
            async with self._database.read() as connection:
                page = query.where(jobs.c.id > after).order_by(jobs.c.id).limit(PAGE)
                rows = (await connection.execute(page)).all()
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return
            after = rows[-1].id

    async def _repeat(self, work: Callable[[], Awaitable[object]], soon: asyncio.Event) -> None:
        while True:
            try:
                await work()
            except ZooError as error:
                log.warning("reconciling goes on later: %s", error.message)
            except Exception:  # whatever it is: without rounds nothing would ever be tried again
                log.exception("reconciling goes on later")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._states.policy.round.total_seconds() * random.uniform(0.9, 1.1)):  # noqa: S311 - apart, so that replicas take turns
                    await soon.wait()
            soon.clear()
