"""A job in the hands of whoever asked for it."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from modelzoo.errors import FailedPrecondition
from modelzoo.job_stream import JobStream
from modelzoo.records import Version
from modelzoo.training_records import Job, JobEvent

if TYPE_CHECKING:
    from modelzoo.training import Jobs

__all__ = ["TrainingJob"]


class TrainingJob:
    """`for event in job:` gives all of its events from the first one until it is final; `result` waits for the version.

    `record` is the job as it was last seen. The job goes on whatever becomes of this object: `Client.jobs.open` finds
    it again by its name.
    """

    def __init__(self, jobs: "Jobs", version: Callable[[str], Version], record: Job) -> None:
        self.record = record
        self._jobs = jobs
        self._version = version

    @property
    def name(self) -> str:
        """`job_...`."""
        return self.record.name

    def __iter__(self) -> Iterator[JobEvent]:
        return self.watch()

    def watch(self, after: int = 0) -> JobStream:
        """Its events after the cursor, until it is final; it may be closed before."""
        return self._jobs.watch(self.name, after)

    def refresh(self) -> Job:
        """Look at it again."""
        self.record = self._jobs.get(self.name)
        return self.record

    def result(self) -> Version:
        """Wait until it is final; the version that it made.

        Raises FailedPrecondition: with JOB_FINAL where somebody cancelled it, and with the job's own reason, such as
        LOSS_NOT_FINITE or ATTEMPTS_EXHAUSTED, where it failed.
        """
        while not self.refresh().is_final:
            for _ in self.watch(self.record.last_sequence):
                pass
        about = {"job": self.name, "state": self.record.state}
        match self.record.state:
            case "SUCCEEDED":
                return self._version(self.record.result)
            case "CANCELLED":
                raise FailedPrecondition("JOB_FINAL", f"The job {self.name} was cancelled.", metadata=about)
            case _:
                said = self.record.message or "it does not say why"
                message = f"The job {self.name} failed: {said}"
                raise FailedPrecondition(self.record.reason or "JOB_FINAL", message, metadata=about)

    def cancel(self) -> Job:
        """Ask for its end."""
        self.record = self._jobs.cancel(self.name)
        return self.record

    def pause(self) -> Job:
        """Ask it to wait after a checkpoint."""
        self.record = self._jobs.pause(self.name)
        return self.record

    def resume(self) -> Job:
        """Let it go on."""
        self.record = self._jobs.resume(self.name)
        return self.record

    def __repr__(self) -> str:
        return f"TrainingJob({self.name}, {self.record.state})"
