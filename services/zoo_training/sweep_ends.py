"""Sweeps come to their end: when all jobs of one are final, the best is promoted, once, whatever dies on the way."""

import logging
from contextlib import AbstractAsyncContextManager

from sqlalchemy import exists, select, update

from modelzoo.errors import Aborted, DeadlineExceeded, Unavailable, ZooError
from zoo_server.background import beside, repeat
from zoo_server.behalf import acting_for
from zoo_server.principal import Behalf
from zoo_store.sql import Database, now
from zoo_training.job import FINAL, Job
from zoo_training.promotion import Candidate, Promoter
from zoo_training.schema import jobs, sweeps
from zoo_training.sweeps import Sweep, best_of, read_sweep, sweep_jobs

__all__ = ["SweepEnds"]

LOOK_S = 10.0
_PASSING = (Unavailable, DeadlineExceeded, Aborted)

log = logging.getLogger(__name__)


class SweepEnds:
    def __init__(self, database: Database, promoter: Promoter) -> None:
        self._database = database
        self._promoter = promoter

    def running(self) -> AbstractAsyncContextManager[None]:
        """End what can be ended while the block runs."""
        return beside(repeat(self.look, "no sweep is ended now", LOOK_S), "sweeps")

    async def look(self) -> None:
        """End every sweep whose jobs are all final. One that cannot be ended now is left for the next look."""
        final = [state.value for state in FINAL]
        at_work = exists().where(jobs.c.sweep == sweeps.c.name, jobs.c.state.not_in(final))
        async with self._database.read() as connection:
            over = select(sweeps.c.name).where(sweeps.c.end_time.is_(None), ~at_work).order_by(sweeps.c.create_time)
            names = (await connection.scalars(over)).all()
        for name in names:
            try:
                await self.end(name)
            except _PASSING as error:
                log.warning("%s is not ended yet: %s", name, error.message)

    async def end(self, name: str) -> None:
        """Promote the best, and say that it was. Raises what means that it is to be tried again."""
        async with self._database.read() as connection:
            sweep = await read_sweep(connection, name)
            made = await sweep_jobs(connection, name)
        best = best_of(made, sweep.metric, lower_is_better=sweep.lower_is_better)
        message = "" if best is None else await self._promote(sweep, best)
        log.info("%s: the best is %s; %s", name, best.name if best else "none", message)
        async with self._database.write() as connection:
            ended = update(sweeps).where(sweeps.c.name == name, sweeps.c.end_time.is_(None))
            await connection.execute(ended.values(end_time=now(), best=best.name if best else "", message=message))

    async def _promote(self, sweep: Sweep, best: Job) -> str:
        """What became of it, in a sentence."""
        candidate = Candidate(
            job=sweep.name,
            reference=best.result,
            promotion=sweep.spec.promotion,
            dataset=sweep.spec.dataset,
            metric=sweep.metric,
            lower_is_better=sweep.lower_is_better,
            base=sweep.spec.base,
            measured=best.made.measured if best.made else (),
        )
        try:
            with acting_for(Behalf(sweep.creator, sweep.name)):
                return await self._promoter.promote(candidate)
        except _PASSING:
            raise
        except ZooError as error:
            # Its model was deleted, for example: the trials are done all the same.
            return f"it is not promoted: {error.message}"
