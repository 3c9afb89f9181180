"""What was trained and is to become a version: who is waiting, and how it ends. Publishing itself is another part's."""

from collections.abc import Sequence

from sqlalchemy import select

from modelzoo.errors import Aborted
from zoo_training.job import Job, JobState, job_from_row
from zoo_training.schema import jobs
from zoo_training.states import States, job_row, unraced

__all__ = ["Results"]

ACTOR = "publisher"
AT_ONCE = 100


class Results:
    def __init__(self, states: States) -> None:
        self._states = states

    async def waiting(self) -> Sequence[Job]:
        """Jobs that have a result and no version yet, those that came first before others; some of them, where they are
        many."""
        made = (jobs.c.state == JobState.RUNNING.value, jobs.c.lease_expires.is_(None))
        async with self._states.database.read() as connection:
            rows = await connection.execute(select(jobs).where(*made).order_by(jobs.c.id).limit(AT_ONCE))
            return [job_from_row(row) for row in rows]

    async def succeed(self, name: str, epoch: int, version: str, message: str = "") -> Job:
        """The result of this epoch is the version `namespace/name@number`, READY: the job is SUCCEEDED. Saying it again
        changes nothing. Raises JOB_NOT_FOUND and JOB_LEASE_LOST."""
        return await self._end(name, epoch, JobState.SUCCEEDED, "", message, version)

    async def fail(self, name: str, epoch: int, reason: str, message: str) -> Job:
        """The result can never be published: the job is FAILED. Raises as `succeed`."""
        return await self._end(name, epoch, JobState.FAILED, reason, message, "")

    async def _end(self, name: str, epoch: int, state: JobState, reason: str, message: str, version: str) -> Job:
        async with self._states.changing() as change:
            row = await job_row(change.connection, name)
            if (row.state, row.epoch, row.result) == (state.value, epoch, version):
                return job_from_row(row)
            if (row.state, row.epoch) != (JobState.RUNNING.value, epoch) or row.made is None:
                raise Aborted(
                    "JOB_LEASE_LOST",
                    f"{row.name} is {row.state} with epoch {row.epoch}, and has no result of epoch {epoch} to publish",
                    metadata={"job": row.name, "epoch": str(epoch)},
                )
            ended = await change.move(row, state, ACTOR, reason=reason, message=message, result=version)
            return job_from_row(unraced(ended))
