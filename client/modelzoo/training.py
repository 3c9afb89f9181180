"""Jobs that train models: asking for them, deciding about them, watching them."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from modelzoo import training_wire as wire
from modelzoo.calls import building, paged, translated
from modelzoo.errors import InvalidArgument
from modelzoo.job_stream import JobStream, ResponseStream
from modelzoo.records import Version
from modelzoo.training_job import TrainingJob
from modelzoo.training_records import Choices, Job, JobSpec, Recipe, Sweep
from zoo.training.v1 import job_pb2
from zoo.training.v1 import training_service_pb2 as pb
from zoo.training.v1 import training_service_pb2_grpc as rpc

__all__ = ["Jobs"]


class Jobs:
    """A job is named `job_...`. Every method raises what the zoo refuses, JOB_NOT_FOUND among it; cancelling, pausing
    and resuming again changes nothing, JOB_FINAL where it is too late."""

    def __init__(self, channel: grpc.Channel, version: Callable[[str], Version]) -> None:
        self._version = version
        self._stub = rpc.TrainingServiceStub(channel)

    def create(
        self,
        spec: JobSpec,
        *,
        priority: int = 0,
        labels: Mapping[str, str] | None = None,
        retry_of: str = "",
        request_id: str = "",
    ) -> Job:
        """Queue a job. The same `request_id` again answers the job that was made with it."""
        request = self._create_request(spec, priority, labels or {}, retry_of)
        request.request_id = request_id or uuid.uuid4().hex
        with translated():
            return wire.job(self._stub.CreateJob(request).job)

    def check(self, spec: JobSpec, *, priority: int = 0) -> Job:
        """The job that `create` would make, with all that was left open filled in, and without a name: none is made."""
        request = self._create_request(spec, priority, {}, "")
        request.validate_only = True
        with translated():
            return wire.job(self._stub.CreateJob(request).job)

    def get(self, name: str) -> Job:
        """The job as it is now."""
        with translated():
            return wire.job(self._stub.GetJob(pb.GetJobRequest(name=name)).job)

    def open(self, name: str) -> TrainingJob:
        """The same in hand: to wait for its version, to go through its events."""
        return TrainingJob(self, self._version, self.get(name))

    def list(self, namespace: str = "", *, filter: str = "") -> Iterator[Job]:
        """Jobs of one namespace, or of all in which the caller has a role, newest first, asked for page by page.

        `filter` is such as `state = FAILED AND recipe = text-classification`. FILTER_INVALID.
        """

        def fetch(token: str) -> tuple[Sequence[Job], str]:
            page = self._stub.ListJobs(pb.ListJobsRequest(namespace=namespace, filter=filter, page_token=token))
            return [wire.job(job) for job in page.jobs], page.next_page_token

        return paged(fetch)

    def update(
        self, name: str, *, priority: int | None = None, labels: Mapping[str, str] | None = None, etag: str = ""
    ) -> Job:
        """Change its priority, or put other labels in place of all of its. With `etag`, only if it is still that."""
        given = {"priority": priority, "labels": labels}
        paths = [field for field, value in given.items() if value is not None]
        if not paths:
            raise InvalidArgument("FIELD_INVALID", "There is nothing to change: give a priority, or labels.")
        with building():
            job = job_pb2.Job(name=name, priority=priority or 0, labels=labels or {}, etag=etag)
            request = pb.UpdateJobRequest(job=job, update_mask=FieldMask(paths=paths))
        with translated():
            return wire.job(self._stub.UpdateJob(request).job)

    def cancel(self, name: str) -> Job:
        """Ask for its end. A running one ends at its trainer's next step."""
        with translated():
            return wire.job(self._stub.CancelJob(pb.CancelJobRequest(name=name)).job)

    def pause(self, name: str) -> Job:
        """Ask it to wait; a running one makes a checkpoint first."""
        with translated():
            return wire.job(self._stub.PauseJob(pb.PauseJobRequest(name=name)).job)

    def resume(self, name: str) -> Job:
        """Let it go on from its last checkpoint."""
        with translated():
            return wire.job(self._stub.ResumeJob(pb.ResumeJobRequest(name=name)).job)

    def watch(self, name: str, after: int = 0, *, follow: bool = True) -> JobStream:
        """Its events after the cursor: 0 from the first, else the `cursor` of an earlier stream. Nothing is asked
        before the first is wanted; CURSOR_INVALID if the job has no such event."""

        def start(cursor: int) -> ResponseStream:
            with building():
                request = pb.WatchJobRequest(name=name, after_sequence=cursor, follow=follow)
            return self._stub.WatchJob(request)

        return JobStream(start, lambda: self.get(name), after, follow=follow)

    def recipes(self, base_task: str = "") -> tuple[Recipe, ...]:
        """What trainers can do, by name; only those that start from models of a task, if one is given."""
        with translated():
            response = self._stub.ListRecipes(pb.ListRecipesRequest(base_task=base_task))
        return tuple(map(wire.recipe, response.recipes))

    def create_sweep(
        self, spec: JobSpec, choices: Mapping[str, Choices], *, trials: int = 0, request_id: str = ""
    ) -> Sweep:
        """Queue jobs that differ in these parameters: every combination, or with `trials` so many drawn at random. The
        promotion of `spec` is that of the best alone. SWEEP_INVALID."""
        request = _sweep_request(spec, choices, trials)
        request.request_id = request_id or uuid.uuid4().hex
        with translated():
            return wire.sweep(self._stub.CreateSweep(request).sweep)

    def check_sweep(self, spec: JobSpec, choices: Mapping[str, Choices], *, trials: int = 0) -> Sweep:
        """The sweep that `create_sweep` would make, without a name and jobs: none is made."""
        request = _sweep_request(spec, choices, trials)
        request.validate_only = True
        with translated():
            return wire.sweep(self._stub.CreateSweep(request).sweep)

    def sweep(self, name: str) -> Sweep:
        """The sweep as it is now. SWEEP_NOT_FOUND."""
        with translated():
            return wire.sweep(self._stub.GetSweep(pb.GetSweepRequest(name=name)).sweep)

    def _create_request(
        self, spec: JobSpec, priority: int, labels: Mapping[str, str], retry_of: str
    ) -> pb.CreateJobRequest:
        with building():
            job = job_pb2.Job(spec=wire.spec_to_pb(spec), priority=priority, labels=labels, retry_of=retry_of)
            return pb.CreateJobRequest(job=job)


def _sweep_request(spec: JobSpec, choices: Mapping[str, Choices], trials: int) -> pb.CreateSweepRequest:
    with building():
        sweep = wire.sweep_to_pb(spec, choices, "RANDOM" if trials else "GRID", trials)
        return pb.CreateSweepRequest(sweep=sweep)
